"""A container of an image, as an engine would run it, by runc alone: what the image says of user,
environment, entry point and health, in namespaces of its own, hardened as in compose.yaml."""

import json
import secrets
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from bakeoff.images.buildah import Buildah
from bakeoff.owner import Owner
from tests.running.rig import DEADLINE_S, until

_MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]


class Container(Owner):
    """It runs in the network namespace at `network`. `hosts` are names that it can look up;
    `volumes` are folders by where they are mounted, writable."""

    def __init__(
        self,
        buildah: Buildah,
        image: str,
        folder: Path,
        network: Path,
        environment: Mapping[str, str],
        hosts: Mapping[str, str],
        volumes: Mapping[str, Path],
    ) -> None:
        self._buildah = buildah
        self._image = image
        self._folder = folder / f"container-{secrets.token_hex(4)}"
        self._name = self._folder.name
        self._network = network
        self._environment = environment
        self._hosts = hosts
        self._volumes = volumes
        self.config = buildah.config(image)
        self.log = self._folder / "log"
        self.rootfs: Path
        self.process: subprocess.Popen[bytes]

    def _begin(self, stack: ExitStack) -> None:
        self._folder.mkdir()
        self.rootfs = stack.enter_context(self._buildah.mounted(self._image))
        lines = [f"{address} {name}\n" for name, address in self._hosts.items()]
        (self._folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        (self._folder / "config.json").write_text(json.dumps(self._specification()))
        stack.callback(self._runc, "delete", "--force", self._name)
        log = stack.enter_context(self.log.open("wb"))
        self.process = stack.enter_context(
            subprocess.Popen(
                [*self._command(), "run", "--bundle", str(self._folder), self._name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        )
        stack.callback(self.process.kill)

    @property
    def main(self) -> psutil.Process:
        """The process that the image is for."""
        state = json.loads(self._runc("state", self._name).stdout)
        return psutil.Process(state["pid"])

    def line(self, part: str) -> str:
        """Waits for a line of its output with this part."""

        def found() -> list[str]:
            return [line for line in self.log.read_text().splitlines() if part in line]

        until(lambda: bool(found()) or self.process.poll() is not None, why=part)
        assert found(), self.log.read_text()
        return found()[0]

    def health(self) -> subprocess.CompletedProcess[str]:
        """Asks as an engine does: the command of the image, run in the container."""
        kind, *command = self.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self._runc("exec", self._name, *command)

    def await_healthy(self) -> None:
        """Waits for its health."""
        until(
            lambda: self.process.poll() is not None or self.health().returncode == 0,
            why=f"health of {self._image}",
        )
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> int:
        """Sends SIGTERM, which runc hands on; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def _command(self) -> list[str]:
        return ["runc", "--root", str(self._folder / "state")]

    def _runc(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*self._command(), *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def _specification(self) -> dict[str, Any]:
        """The OCI runtime's: user and command as the image says, no capability, nothing writable
        but the volumes."""
        uid, gid = map(int, self.config["User"].split(":"))
        more = [f"{name}={value}" for name, value in self._environment.items()]
        spaces = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": uid, "gid": gid},
                "args": [*self.config["Entrypoint"], *(self.config["Cmd"] or ())],
                "env": [*self.config["Env"], *more],
                "cwd": self.config["WorkingDir"] or "/",
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.rootfs), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm"},
                _bound(self._folder / "hosts", "/etc/hosts", "ro"),
                *(_bound(folder, at, "rw") for at, folder in self._volumes.items()),
            ],
            "linux": {
                "namespaces": [*spaces, {"type": "network", "path": str(self._network)}],
                "maskedPaths": _MASKED,
            },
        }


def _bound(source: Path, destination: str, mode: str) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": "bind",
        "source": str(source),
        "options": ["bind", mode],
    }
