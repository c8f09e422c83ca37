"""Services as processes of their own: settings, signals and exit codes as a test wants them."""

import http.client
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bakeoff.hosts.host import HostProcess, ProcessSpec
from bakeoff.rig.service import ServiceSettings
from bakeoff.rig.tokens import Credentials
from tests.contract.api import Api, Rig, Target
from tests.contract.rig import Bench

# What the tests allow of a machine that is busy with other things.
SLACK = 10
DEADLINE_S = 60.0
_LISTENING = '"message":"listening"'


def until(what: Callable[[], bool], deadline_s: float = DEADLINE_S, *, why: str = "") -> float:
    """Waits for something to become true; how long that took, in seconds."""
    start_s = time.monotonic()
    while not what():
        assert time.monotonic() - start_s < deadline_s, f"not within {deadline_s:g} s: {why}"
        time.sleep(0.01)
    return time.monotonic() - start_s


@dataclass(frozen=True)
class Instance:
    """A service that was started, ready or not; its account is one without anything."""

    name: str
    base_url: str
    process: HostProcess
    api: Api
    log: Path

    @property
    def database_url(self) -> str:
        """Where its data is: not through anything that a test put in between."""
        return self.api.target.behind().database_url

    @property
    def usage(self) -> psutil.Process:
        """What it uses of the machine."""
        return psutil.Process(self.process.pid)

    def terminate(self) -> None:
        """Sends it SIGTERM."""
        os.kill(self.process.pid, signal.SIGTERM)

    def lines(self, message: str) -> list[dict[str, Any]]:
        """The lines of its log with this message."""
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in found if line["message"] == message]

    def readiness(self) -> tuple[int, dict[str, str]]:
        """What /readyz says now; status 0 where nobody answers."""
        return health(self.base_url, "/readyz")

    def await_ready(self, deadline_s: float = DEADLINE_S) -> float:
        """Waits till it is ready; how long that took, in seconds."""
        return until(lambda: self.readiness()[0] == 200, deadline_s, why="ready")


def health(base_url: str, path: str) -> tuple[int, dict[str, str]]:
    """Status and content of a health check on a connection of its own; 0 without an answer."""
    parts = urlsplit(base_url)
    assert parts.hostname is not None
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)) as asked:
        try:
            asked.request("GET", path)
            answer = asked.getresponse()
            content: dict[str, str] = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return 0, {}
        return answer.status, content


class Starter:
    """Starts instances of one service, which share a database and its credentials."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench = bench
        self.name = name
        self.manifest = bench.built(name)
        self.credentials = Credentials.fresh()
        self.database_url = bench.new_database(f"running_{name}_{secrets.token_hex(4)}")

    def environment(self, **changes: str) -> dict[str, str]:
        """Good settings, with changes."""
        settings = ServiceSettings(
            self.database_url, self.bench.stub.targets, self.credentials, worker_threads=2
        )
        return settings.environment() | changes

    def spec(self, environment: Mapping[str, str]) -> ProcessSpec:
        """A process of the service with logs of its own."""
        assert self.manifest.run is not None
        part = f"{self.name}-{secrets.token_hex(4)}"
        folder = self.bench.host.facts().folder
        return ProcessSpec(
            name=part,
            argv=self.manifest.run.command,
            environment={**environment, **self.manifest.run.environment},
            cwd=f"services/{self.name}",
            log=f"{folder}/{part}.log",
            error_log=f"{folder}/{part}-errors.log",
            grace_s=1.0,
        )

    @contextmanager
    def start(self, **changes: str) -> Iterator[Instance]:
        """An instance that listens. Whatever it went through, no secret is in its logs, and each
        line of them is JSON."""
        environment = self.environment(**changes)
        spec = self.spec(environment)
        with self.bench.host.start(spec) as process:
            line = json.loads(process.wait_for_line(_LISTENING, DEADLINE_S))
            base_url = f"http://{line['address']}"
            log = Path(spec.log)
            rig = Rig(
                self.database_url,
                self.credentials,
                self.bench.stub.control,
                self.bench.stub.targets,
                self.bench.ledger,
                log,
            )
            api = Target(self.name, base_url, {}, rig).new_account()
            yield Instance(self.name, base_url, process, api, log)
        assert spec.error_log is not None
        self._check_logs(log, Path(spec.error_log), environment, api.token)

    def _check_logs(
        self, log: Path, error_log: Path, environment: Mapping[str, str], token: str
    ) -> None:
        written = log.read_text()
        for line in written.splitlines():
            assert {"timestamp", "level", "message"} <= json.loads(line).keys()
        password = urlsplit(environment["DATABASE_URL"]).password
        assert password
        for secret in (password, environment["AUTH_JWT_SECRET"], token):
            assert secret not in written
            assert secret not in error_log.read_text()
