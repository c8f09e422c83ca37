"""A Locust master with its workers, started here and driven through its web API."""

import json
import secrets
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakeoff.errors import PartDiedError, RigError, StartError
from bakeoff.experiment import LOCAL, ROOT
from bakeoff.hosts.host import Host, HostProcess, ProcessSpec
from bakeoff.hosts.protocol import PYTHON
from bakeoff.owner import Owner
from bakeoff.rig.swarmclient import PhasePlan, Progress, SwarmClient

_START_DEADLINE_S = 30.0
_POLL_S = 0.1
# Each look costs the master about a millisecond of the generator's core.
_PROGRESS_S = 0.5
# All that they measured has been read by then, and Locust takes seconds to say good-bye.
_STOP_SIGNAL = signal.SIGKILL
# A phase is over when its last report is in; more than this beyond its end is a fault.
_LAST_REPORT_DEADLINE_S = 20.0


@dataclass(frozen=True)
class SwarmSettings:
    """Where the parts of a swarm stand and what they are given."""

    locustfile: Path
    folder: Path
    master_host: Host
    # The address that the master binds and that the workers reach it at.
    address: str
    worker_hosts: Sequence[Host]
    # The cores of master and workers; None: not pinned.
    cpus: frozenset[int] | None
    targets: Mapping[str, str]
    web_port: int = 0
    # More of Locust's arguments, those that the Locust file declares.
    arguments: Sequence[str] = ()
    # More of the environment, by host.
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Worker:
    """A worker and the name of its host."""

    host: str
    process: HostProcess


class Swarm(Owner):
    """A master and its workers, started here and ended here."""

    def __init__(self, settings: SwarmSettings) -> None:
        self._settings = settings
        self._token = secrets.token_urlsafe(24)
        self.client: SwarmClient
        self.master: HostProcess
        self.workers: list[Worker] = []

    def _begin(self, stack: ExitStack) -> None:
        self.master = stack.enter_context(self._start_master())
        ports = self._master_ports()
        address = self._settings.address
        self.client = SwarmClient(f"http://{address}:{ports['web_port']}", self._token)
        for index, host in enumerate(self._settings.worker_hosts):
            spec = self._worker_spec(host, index, ports["master_port"])
            self.workers.append(Worker(host.name, stack.enter_context(host.start(spec))))
        for worker in self.workers:
            self._announcement(worker.process, "worker")
        self._await_workers()

    @property
    def pids(self) -> list[int]:
        """The roots of master and workers; the engines are below the workers."""
        return [self.master.pid, *(worker.process.pid for worker in self.workers)]

    def check(self) -> None:
        """PartDiedError if the master or a worker is gone."""
        self.master.check()
        for worker in self.workers:
            worker.process.check()

    def run(self, plan: PhasePlan, watch: Callable[[Progress], None]) -> bytes:
        """Runs one phase to its last report and returns the measurement.

        `watch` is called with the progress twice a second and may raise to break off.
        RigError where the last report does not come.
        """
        self.client.start(plan)
        deadline = (
            time.monotonic()
            + plan.duration_s
            + plan.request_timeout_s
            + _START_DEADLINE_S
            + _LAST_REPORT_DEADLINE_S
        )
        try:
            while True:
                time.sleep(_PROGRESS_S)
                progress = self.client.progress()
                watch(progress)
                if progress.lost:
                    raise PartDiedError(
                        "locust worker",
                        f"worker {', '.join(progress.lost)} was lost in a phase of "
                        f"{plan.duration_s:g} s; see its log in {self._settings.folder}",
                    )
                if progress.failure is not None:
                    raise RigError(f"the load cannot go on: {progress.failure}")
                if progress.complete:
                    measurement = self.client.measurement()
                    self.client.stop()
                    return measurement
                if time.monotonic() > deadline:
                    raise PartDiedError(
                        "locust worker",
                        f"the load's last report did not come within {_LAST_REPORT_DEADLINE_S:g} s "
                        f"after a phase of {plan.duration_s:g} s; see {self._settings.folder}",
                    )
        except BaseException:
            # What went wrong matters more than a master that cannot be stopped any more.
            with suppress(RigError):
                self.client.stop()
            raise

    def _start_master(self) -> HostProcess:
        settings = self._settings
        argv = [
            *("--master", "--web-host", settings.address, "--web-port", str(settings.web_port)),
            *("--master-bind-host", settings.address, "--master-bind-port", "0"),
        ]
        host = settings.master_host
        return host.start(self._spec(host, "locust-master", argv))

    def _worker_spec(self, host: Host, index: int, master_port: int) -> ProcessSpec:
        argv = ["--worker", "--master-host", self._settings.address]
        argv += ["--master-port", str(master_port)]
        return self._spec(host, f"locust-worker-{index}", argv)

    def _spec(self, host: Host, name: str, argv: Sequence[str]) -> ProcessSpec:
        settings = self._settings
        is_here = host.name == LOCAL
        folder = settings.folder if is_here else Path(host.facts().folder)
        return ProcessSpec(
            name=name,
            argv=[
                *(PYTHON, "-m", "locust", "-f", str(settings.locustfile.relative_to(ROOT))),
                *argv,
                *settings.arguments,
            ],
            environment={
                **settings.environments.get(host.name, {}),
                "BAKEOFF_ANNOUNCE": "1",
                "BAKEOFF_RUN_TOKEN": self._token,
                "BAKEOFF_TARGETS": json.dumps(dict(settings.targets)),
                "BAKEOFF_ALLOWED_HOSTS": settings.address,
            },
            # The checkout there, to which the Locust file's path is relative.
            cwd=".",
            log=str(folder / f"{name}.log"),
            # The numbers of this machine's cores say nothing about another's.
            cpus=settings.cpus if is_here else None,
            stop_signal=_STOP_SIGNAL,
        )

    def _master_ports(self) -> dict[str, Any]:
        settings = self._settings
        try:
            return self._announcement(self.master, "master")
        except StartError as error:
            host, log = settings.master_host, self.master.spec.log
            said = host.read(log, 0, host.file_size(log))
            if settings.web_port and b"Address already in use" in said:
                raise StartError(
                    f"port {settings.web_port} of {settings.address} is taken, so Locust's page "
                    "cannot be served there: choose another with --web-port, or 0 for a free one"
                ) from error
            raise

    def _announcement(self, process: HostProcess, role: str) -> dict[str, Any]:
        line = process.wait_for_line(f'"role":"{role}"', _START_DEADLINE_S)
        found: dict[str, Any] = json.loads(line)
        return found

    def _await_workers(self) -> None:
        wanted = len(self.workers)
        deadline = time.monotonic() + _START_DEADLINE_S
        while (ready := self.client.ready_workers()) < wanted:
            if time.monotonic() > deadline:
                raise StartError(
                    f"{ready} of {wanted} Locust workers are connected after "
                    f"{_START_DEADLINE_S:g} s; can they reach {self._settings.address}? "
                    f"Their logs are in {self._settings.folder}"
                )
            time.sleep(_POLL_S)
