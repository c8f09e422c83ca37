"""The rig of one comparison: Postgres, payment stub, swarm, and a service at a time.

Everything but the service stays up for the whole comparison. Where a part died, the rig is left
and a new one entered.
"""

import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bakeoff.experiment import LOCAL, LOCUSTFILES, SERVICES, TOKENS_VARIABLE, Experiment
from bakeoff.hosts.host import Host
from bakeoff.manifest import ServiceManifest
from bakeoff.owner import Owner
from bakeoff.rig.cores import CorePlan
from bakeoff.rig.payment_stub import PaymentStub
from bakeoff.rig.postgres import ExternalPostgres, Postgres
from bakeoff.rig.service import Service, ServiceSettings
from bakeoff.rig.swarm import Swarm, SwarmSettings
from bakeoff.rig.tokens import Access, Credentials, mint_tokens

MIGRATIONS = SERVICES / "db" / "migrations"
SEED = SERVICES / "db" / "seed.sql"


@dataclass(frozen=True)
class RigSettings:
    """What a rig is made of. `folder` gets its logs and the ledger; `accesses` are those of the
    services that run elsewhere, by name."""

    experiment: Experiment
    manifests: Mapping[str, ServiceManifest]
    hosts: Mapping[str, Host]
    cores: CorePlan
    folder: Path
    accesses: Mapping[str, Access] = field(default_factory=dict)
    database_url: str | None = None


class Rig(Owner):
    """Postgres with its template, the stub, tokens for every seeded account, and a swarm.

    Where all services run elsewhere there are only swarms: one for each set of tokens.
    """

    def __init__(self, settings: RigSettings) -> None:
        self._settings = settings
        self._experiment = settings.experiment
        self.hosts = settings.hosts
        self.cores = settings.cores
        self.folder = settings.folder
        self.credentials = Credentials.fresh()
        self.postgres: Postgres | ExternalPostgres
        self.stub: PaymentStub
        # What lets the load into the services that are started here.
        self._access: Access
        self._swarms: list[tuple[Access, Swarm]] = []

    def _begin(self, stack: ExitStack) -> None:
        if self._starts_any:
            # It gets ready while Postgres is seeded.
            self.stub = stack.enter_context(self._new_stub().starting())
            self.postgres = self._new_postgres()
            stack.enter_context(self.postgres)
            self.postgres.prepare_template(MIGRATIONS, SEED)
            self.stub.await_ready()
            invoices = self.postgres.seeded("invoices")
            self._access = Access(
                tokens=mint_tokens(self.credentials, invoices),
                invoices=invoices,
                subscriptions=self.postgres.seeded("subscriptions"),
            )

    @property
    def workers(self) -> int:
        """The workers of a swarm."""
        return len(self._worker_names())

    def starts(self, label: str) -> bool:
        """Whether the service behind a label is started here; else it runs elsewhere."""
        return self._manifest(label).url is None

    def access(self, label: str) -> Access:
        """What lets the load into the service behind a label."""
        if self.starts(label):
            return self._access
        return self._settings.accesses[self._experiment.service_of(label)]

    def swarm_for(self, label: str) -> Swarm:
        """The swarm that sends the experiment's workload with the tokens of the service behind a
        label. It is started when it is first asked for, and ends with the rig."""
        access = self.access(label)
        for known, swarm in self._swarms:
            if known == access:
                return swarm
        return self.start_swarm(label)

    def start_swarm(
        self, label: str, targets: Mapping[str, str] | None = None, web_port: int = 0
    ) -> Swarm:
        """A swarm as of `swarm_for`; `targets` are the only services that a browser may aim at, by
        name."""
        access = self.access(label)
        swarm = self.new_swarm(self._experiment.workload, access, targets, web_port)
        self._stack.enter_context(swarm)
        self._swarms.append((access, swarm))
        return swarm

    def new_swarm(
        self,
        workload: str,
        access: Access,
        targets: Mapping[str, str] | None = None,
        web_port: int = 0,
    ) -> Swarm:
        """A swarm of the experiment's hosts, to be entered."""
        placed = self._experiment.placement
        tokens_files = self.write_tokens(access, {placed.master, *self._worker_names()})
        return Swarm(
            SwarmSettings(
                locustfile=LOCUSTFILES / f"{workload}.py",
                folder=self.folder,
                master_host=self._host(placed.master),
                address=self.address(placed.master),
                worker_hosts=[self._host(name) for name in self._worker_names()],
                cpus=self.cores.rig,
                web_port=web_port,
                targets=targets or {},
                environments={name: {TOKENS_VARIABLE: path} for name, path in tokens_files.items()},
            )
        )

    def write_tokens(self, access: Access, names: Iterable[str]) -> dict[str, str]:
        """Writes a tokens file on these hosts, 0600, gone with the host; its path by host."""
        name = f"tokens-{secrets.token_hex(4)}.json"
        return {host: self._host(host).write_file(name, access.document()) for host in names}

    def service(self, label: str, database_url: str) -> Service:
        """The service behind a label, for a fresh database: to be entered. One that runs elsewhere
        keeps all of its own settings."""
        experiment, starts = self._experiment, self.starts(label)
        return Service(
            self._host(experiment.placement.service if starts else LOCAL),
            self._manifest(label),
            ServiceSettings(
                database_url=database_url,
                payment_targets=self.stub.targets * experiment.payment_channels if starts else (),
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

    def parts(self, service: Service, swarm: Swarm) -> dict[str, dict[str, list[int]]]:
        """The root processes of every part that has to do with a service, by host and part, for the
        samplers."""
        placed = self._experiment.placement
        found: dict[str, dict[str, list[int]]] = {}

        def add(host: str, part: str, pids: list[int] | None) -> None:
            if pids:
                found.setdefault(host, {}).setdefault(part, []).extend(pids)

        if service.pids is not None:
            add(placed.service, "service", service.pids)
            add(placed.postgres, "postgres", self.postgres.pids)
            add(placed.stub, "stub", self.stub.pids)
        add(placed.master, "generator", [swarm.master.pid])
        for worker in swarm.workers:
            add(worker.host, "generator", [worker.process.pid])
        add(LOCAL, "harness", [os.getpid()])
        return found

    def address(self, name: str) -> str:
        """The address that a part on this host binds and is reached at."""
        experiment = self._experiment
        return experiment.bind_address if name == LOCAL else experiment.hosts[name].address

    def check(self) -> None:
        """PartDiedError for any part but the service that is gone, HostError for a lost host."""
        if self._starts_any:
            self.postgres.check()
            self.stub.check()
        for _, swarm in self._swarms:
            swarm.check()

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
            engine=self._experiment.stub_engine,
            address=self.address(placed),
            ledger=str(self.folder / "ledger.sqlite") if placed == LOCAL else None,
            cpus=self.cores.rig,
        )

    def _worker_names(self) -> list[str]:
        return self._experiment.placement.workers or [LOCAL] * self.cores.workers

    @property
    def _starts_any(self) -> bool:
        return any(self.starts(label) for label in self._experiment.labels)

    def _manifest(self, label: str) -> ServiceManifest:
        return self._settings.manifests[self._experiment.service_of(label)]

    def _host(self, name: str) -> Host:
        return self.hosts[name]
