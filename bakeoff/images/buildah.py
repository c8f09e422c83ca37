"""Builds images without a daemon: buildah, with runc below it."""

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from bakeoff.errors import BuildError, MissingToolError
from bakeoff.experiment import ROOT
from bakeoff.owner import Owner

_BUILD_DEADLINE_S = 3600.0
_DEADLINE_S = 300.0
_END_S = 30.0
_TAIL_LINES = 20
PROGRAMS = ("buildah", "runc")
# Even where we are killed. Not by a preexec_fn: with one Python forks, and where gRPC is at work in
# this process, its handlers crash the child (grpc/grpc#43055).
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")


def require_buildah() -> None:
    """MissingToolError, with the line that installs it, where nothing could be built."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        raise MissingToolError(
            f"{' and '.join(missing)} not in PATH: apt-get install {' '.join(PROGRAMS)}"
        )
    if shutil.which(_ENDS_WITH_US[0]) is None:
        raise MissingToolError(f"{_ENDS_WITH_US[0]} not in PATH: apt-get install util-linux")


class Buildah(Owner):
    """Images in the user's own storage, or in one at `storage`, which goes at the end."""

    def __init__(self, storage: Path | None = None) -> None:
        require_buildah()
        self._storage = storage
        self._options: list[str] = []

    def _begin(self, stack: ExitStack) -> None:
        if self._storage is None:
            return
        root = self._storage / "root"
        self._options = ["--root", str(root), "--runroot", str(self._storage / "run")]
        stack.callback(_remove_storage, self._storage)

    def version(self) -> str:
        """Program and version, such as `buildah 1.28.2`."""
        return f"buildah {self._run('--version').split()[2]}"

    def build(self, container_file: Path, image: str, volumes: Sequence[str] = ()) -> None:
        """Builds an image from a container file, with the checkout for its context.

        Bases come from a registry unless they are in the storage. `volumes` are there while it
        runs a command, and in no image. BuildError has the end of what was said.
        """
        words = [f"--volume={volume}" for volume in volumes]
        # In Docker's format: that of OCI knows no health check. The network is this machine's, as
        # no bridge has to be made for it.
        self._run(
            *("build", "--isolation", "oci", "--runtime", "runc", "--network", "host"),
            *("--format", "docker", "--pull=false", *words),
            *("--file", str(container_file), "--tag", image, str(ROOT)),
            deadline_s=_BUILD_DEADLINE_S,
        )

    def commit(self, image: str, rootfs: Path, environment: Mapping[str, str]) -> None:
        """Makes an image of a folder's content."""
        with self._container("scratch") as container:
            self._run("add", "--quiet", container, str(rootfs), "/")
            words = [f"--env={name}={value}" for name, value in environment.items()]
            self._run("config", *words, container)
            self._run("commit", "--quiet", "--format", "docker", container, image)

    def config(self, image: str) -> dict[str, Any]:
        """What an image says of itself, in Docker's words: User, Env, Healthcheck, Entrypoint."""
        found = json.loads(self._run("inspect", "--type", "image", image))
        config: dict[str, Any] = found["Docker"]["config"]
        return config

    def size_bytes(self, image: str) -> int:
        """The size of an image's layers, not compressed."""
        with tempfile.TemporaryDirectory(prefix="bakeoff-image-") as folder:
            archive = Path(folder) / "image.tar"
            self._run("push", "--quiet", image, f"docker-archive:{archive}")
            with tarfile.open(archive) as content:
                manifest = content.extractfile("manifest.json")
                assert manifest is not None
                layers = set(json.load(manifest)[0]["Layers"])
                return sum(member.size for member in content if member.name in layers)

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """The files of a new container of an image, writable, gone at the end."""
        with self._container(image) as container:
            yield Path(self._run("mount", container).strip())

    @contextmanager
    def _container(self, image: str) -> Iterator[str]:
        container = self._run("from", "--pull-never", image).strip()
        try:
            yield container
        finally:
            self._run("rm", container)

    def _run(self, *words: str, deadline_s: float = _DEADLINE_S) -> str:
        command = [*_ENDS_WITH_US, "buildah", *self._options, *words]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            try:
                output, errors = process.communicate(timeout=deadline_s)
            except subprocess.TimeoutExpired:
                raise BuildError(f"buildah {words[0]} took over {deadline_s:g} s") from None
            finally:
                _end(process)
        if process.returncode != 0:
            tail = "\n".join((output + errors).splitlines()[-_TAIL_LINES:])
            raise BuildError(f"buildah {words[0]} failed with {process.returncode}:\n{tail}")
        return output


def _end(process: subprocess.Popen[str]) -> None:
    """Ends what has not ended by itself. On SIGTERM buildah ends what it runs, too."""
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _remove_storage(storage: Path) -> None:
    # The driver keeps its own folder mounted, and a build that was ended early its containers.
    below = [part.mountpoint for part in psutil.disk_partitions(all=True)]
    for mount in sorted(below, key=len, reverse=True):
        if Path(mount).is_relative_to(storage.resolve()):
            # Lazily, since what was ended may hold it a moment longer.
            command = ["umount", "--lazy", mount]
            subprocess.run(command, check=False, capture_output=True, timeout=60)
    shutil.rmtree(storage, ignore_errors=True)
