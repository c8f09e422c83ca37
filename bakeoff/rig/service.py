"""One service under test: started from its artifact, or one that already runs."""

import http.client
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from bakeoff.errors import HostError, PartDiedError, StartError
from bakeoff.hosts.host import Host, HostProcess, ProcessSpec
from bakeoff.manifest import ServiceManifest
from bakeoff.owner import Owner
from bakeoff.rig.tokens import Credentials

_LISTENING = '"message":"listening"'
_POLL_S = 0.02
_READY_TIMEOUT_S = 2.0
# The contract's own grace period, and a moment to exit.
_GRACE_S = 5
_SETTING = "start_deadline_s"


@dataclass(frozen=True)
class ServiceSettings:
    """What a service is given; the names are those of the contract's settings.

    `address` is what it binds, `cpus` the cores that it may use, `start_deadline_s` the time from
    its start to its first ready answer.
    """

    database_url: str
    payment_targets: Sequence[str]
    credentials: Credentials
    worker_threads: int
    database_max_connections: int = 16
    payment_timeout_ms: int = 1000
    address: str = "127.0.0.1"
    cpus: frozenset[int] | None = None
    start_deadline_s: float = 20.0

    def environment(self) -> dict[str, str]:
        """The settings as the contract names them."""
        return {
            "DATABASE_URL": self.database_url,
            "PAYMENT_TARGETS": ",".join(self.payment_targets),
            "AUTH_JWT_SECRET": self.credentials.secret,
            "AUTH_JWT_ISSUER": self.credentials.issuer,
            "AUTH_JWT_AUDIENCE": self.credentials.audience,
            "LISTEN_ADDR": f"{self.address}:0",
            "DATABASE_MAX_CONNECTIONS": str(self.database_max_connections),
            "PAYMENT_TIMEOUT_MS": str(self.payment_timeout_ms),
            "WORKER_THREADS": str(self.worker_threads),
            "LOG_LEVEL": "info",
            # Nobody sends anything any more when we stop it.
            "SHUTDOWN_DRAIN_SECONDS": "0",
            "SHUTDOWN_GRACE_SECONDS": str(_GRACE_S),
        }


class Service(Owner):
    """A service on `host`, ready from entry on. `part` is its name in errors.

    One whose manifest has a `url` is somebody else's: it is not started or stopped, and its
    `pids` and `log_path` are None.
    """

    def __init__(
        self, host: Host, manifest: ServiceManifest, settings: ServiceSettings, part: str = ""
    ) -> None:
        self.host = host
        self.part = part or manifest.name
        self._manifest = manifest
        self._settings = settings
        self._process: HostProcess | None = None
        self.base_url = ""
        self.log_path: str | None = None

    def _begin(self, stack: ExitStack) -> None:
        deadline_s = time.monotonic() + self._settings.start_deadline_s
        if self._manifest.url is not None:
            self.base_url = self._manifest.url.rstrip("/")
        else:
            self.base_url = self._start(stack)
        self._await_ready(deadline_s)

    @property
    def pids(self) -> list[int] | None:
        """The root of its processes, for the sampler."""
        return None if self._process is None else [self._process.pid]

    def check(self) -> None:
        """Raises PartDiedError, with how it ended and the end of its log, if it is gone."""
        if self._process is not None:
            self._process.check()

    def stop(self) -> int | None:
        """Ends it as an operator would, by SIGTERM, and SIGKILL after its grace period. Its exit
        code, minus the signal if one ended it; None for one that is not ours."""
        return None if self._process is None else self._process.stop()

    def _start(self, stack: ExitStack) -> str:
        run = self._manifest.run
        assert run is not None
        # At the far end, where it is no trouble to a disk of results; the round keeps a part.
        self.log_path = f"{self.host.facts().folder}/{self.part}.log"
        stack.callback(self._remove_log, self.log_path)
        spec = ProcessSpec(
            name=self.part,
            argv=run.command,
            environment=self._settings.environment() | run.environment,
            cwd=f"services/{self._manifest.folder.name}",
            log=self.log_path,
            cpus=self._settings.cpus,
            grace_s=_GRACE_S + 1,
        )
        self._process = stack.enter_context(self.host.start(spec))
        line = self._process.wait_for_line(_LISTENING, self._settings.start_deadline_s, _SETTING)
        return f"http://{self._address(line)}"

    def _address(self, line: str) -> str:
        try:
            address = json.loads(line)["address"]
            port = int(address.rpartition(":")[2])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StartError(
                f"{self.part} logs that it listens, but its `address` is not ip:port: {line}"
            ) from error
        # A service may say 0.0.0.0: the address that it was told to bind reaches it.
        return f"{self._settings.address}:{port}"

    def _await_ready(self, deadline_s: float) -> None:
        while True:
            answer = _readiness(self.base_url)
            if answer.startswith("200 "):
                return
            try:
                self.check()
            except PartDiedError as error:
                raise StartError(f"{self.part} died before it was ready: {error}") from error
            if time.monotonic() >= deadline_s:
                words = "" if self._process is None else self._process.last_words()
                raise StartError(
                    f"{self.part} listens at {self.base_url} but is not ready within "
                    f"{self._settings.start_deadline_s:g} s (setting `{_SETTING}`): GET /readyz "
                    f"says {answer!r}{words}"
                )
            time.sleep(_POLL_S)

    def _remove_log(self, path: str) -> None:
        # A host that is gone has taken it along.
        with suppress(HostError):
            self.host.remove_tree(path)


def _readiness(base_url: str) -> str:
    """Status and body of GET /readyz, or why there is no answer."""
    parts = urlsplit(base_url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_READY_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return f"{answer.status} {answer.read(500).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error}"
    finally:
        connection.close()
