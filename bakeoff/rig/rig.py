"""The rig of one comparison: Postgres, payment stub, swarm, and a service at a time.

Everything but the service stays up for the whole comparison. Where a part died, the rig is left
and a new one entered.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bakeoff.experiment import LOCAL, LOCUSTFILES, SERVICES, Experiment
from bakeoff.hosts.host import Host
from bakeoff.manifest import ServiceManifest
from bakeoff.rig.cores import CorePlan
from bakeoff.rig.payment_stub import PaymentStub
from bakeoff.rig.postgres import ExternalPostgres, Postgres
from bakeoff.rig.service import Service, ServiceSettings
from bakeoff.rig.swarm import Swarm, SwarmSettings
from bakeoff.rig.tokens import Credentials, mint_tokens, tokens_document

MIGRATIONS = SERVICES / "db" / "migrations"
SEED = SERVICES / "db" / "seed.sql"


@dataclass(frozen=True)
class RigSettings:
    """What a rig is made of. `folder` gets its logs and the ledger."""

    experiment: Experiment
    manifests: Mapping[str, ServiceManifest]
    hosts: Mapping[str, Host]
    cores: CorePlan
    folder: Path
    database_url: str | None = None


class Rig(AbstractContextManager["Rig"]):
    """Postgres with its template, the stub, tokens for every seeded account, and a swarm."""

    def __init__(self, settings: RigSettings) -> None:
        self._settings = settings
        self._experiment = settings.experiment
        self._stack = ExitStack()
        self.hosts = settings.hosts
        self.cores = settings.cores
        self.folder = settings.folder
        self.credentials = Credentials.fresh()
        self.postgres: Postgres | ExternalPostgres
        self.stub: PaymentStub
        self.swarm: Swarm
        self.tokens: dict[str, str] = {}
        self.invoices: dict[str, list[str]] = {}
        # Its path on each host that generates load, and here; 0600, gone with the host.
        self.tokens_files: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.postgres = self._new_postgres()
            stack.enter_context(self.postgres)
            self.postgres.prepare_template(MIGRATIONS, SEED)
            self.stub = stack.enter_context(self._new_stub())
            self.invoices = self.postgres.seeded_invoices()
            self.tokens = mint_tokens(self.credentials, self.invoices)
            self.tokens_files = self._write_tokens()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def start_swarm(self, targets: Mapping[str, str] | None = None, web_port: int = 0) -> Swarm:
        """Starts master and workers with the workload; `targets` are the only services that a
        browser may aim at, by name. It ends with the rig."""
        experiment = self._experiment
        placed = experiment.placement
        self.swarm = self._stack.enter_context(
            Swarm(
                SwarmSettings(
                    locustfile=LOCUSTFILES / f"{experiment.workload}.py",
                    folder=self.folder,
                    master_host=self._host(placed.master),
                    address=self.address(placed.master),
                    worker_hosts=[self._host(name) for name in self._worker_names()],
                    cpus=self.cores.rig,
                    web_port=web_port,
                    targets=targets or {},
                    environments={
                        name: {"BAKEOFF_TOKENS_FILE": path}
                        for name, path in self.tokens_files.items()
                    },
                )
            )
        )
        return self.swarm

    def service(self, label: str, database_url: str) -> Service:
        """The service behind a label, for a fresh database: to be entered."""
        experiment = self._experiment
        name = experiment.service_of(label)
        return Service(
            self._host(experiment.placement.service),
            self._settings.manifests[name],
            ServiceSettings(
                database_url=database_url,
                payment_targets=self.stub.targets * experiment.payment_channels,
                credentials=self.credentials,
                worker_threads=experiment.worker_threads or self.cores.service_threads,
                database_max_connections=experiment.database_max_connections,
                payment_timeout_ms=experiment.payment_timeout_ms,
                address=self.address(experiment.placement.service),
                cpus=self.cores.service,
                start_deadline_s=experiment.start_deadline_s,
            ),
            part=f"service-{label}",
        )

    def parts(self, service: Service) -> dict[str, dict[str, list[int]]]:
        """The root processes of every part, by host and part, for the samplers."""
        placed = self._experiment.placement
        found: dict[str, dict[str, list[int]]] = {}

        def add(host: str, part: str, pids: list[int] | None) -> None:
            if pids:
                found.setdefault(host, {}).setdefault(part, []).extend(pids)

        add(placed.service, "service", service.pids)
        add(placed.postgres, "postgres", self.postgres.pids)
        add(placed.stub, "stub", self.stub.pids)
        add(placed.master, "generator", [self.swarm.master.pid])
        for worker in self.swarm.workers:
            add(worker.host, "generator", [worker.process.pid])
        add(LOCAL, "harness", [os.getpid()])
        return found

    def address(self, name: str) -> str:
        """The address that a part on this host binds and is reached at."""
        experiment = self._experiment
        return experiment.bind_address if name == LOCAL else experiment.hosts[name].address

    def check(self) -> None:
        """PartDiedError for any part but the service that is gone, HostError for a lost host."""
        self.postgres.check()
        self.stub.check()
        self.swarm.check()

    def _new_postgres(self) -> Postgres | ExternalPostgres:
        if self._settings.database_url is not None:
            return ExternalPostgres(self._settings.database_url)
        placed = self._experiment.placement.postgres
        return Postgres(self._host(placed), self.address(placed), cpus=self.cores.rig)

    def _new_stub(self) -> PaymentStub:
        placed = self._experiment.placement.stub
        return PaymentStub(
            self._host(placed),
            processes=self._experiment.stub_processes,
            address=self.address(placed),
            ledger=str(self.folder / "ledger.sqlite") if placed == LOCAL else None,
            cpus=self.cores.rig,
        )

    def _worker_names(self) -> list[str]:
        return self._experiment.placement.workers or [LOCAL] * self.cores.workers

    def _write_tokens(self) -> dict[str, str]:
        document = tokens_document(self.tokens, self.invoices)
        name = f"tokens-{secrets.token_hex(4)}.json"
        names = {LOCAL, self._experiment.placement.master, *self._worker_names()}
        return {host: self._host(host).write_file(name, document) for host in names}

    def _host(self, name: str) -> Host:
        return self.hosts[name]
