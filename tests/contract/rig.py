"""The rig of the contract's tests: Postgres, the payment stub, and services beside each other."""

import fcntl
import os
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg import sql

from bakeoff.build import build
from bakeoff.experiment import LOCAL
from bakeoff.hosts.host import Host
from bakeoff.manifest import ServiceManifest, load_manifest
from bakeoff.rig.payment_stub import PaymentStub
from bakeoff.rig.postgres import Postgres
from bakeoff.rig.rig import MIGRATIONS, SEED
from bakeoff.rig.service import Service, ServiceSettings
from bakeoff.rig.tokens import Credentials
from tests.contract.api import Rig, Target

# Counts are those of a full run; an ordinary one does a twentieth, and five at least.
# Printed by the tests that draw; BAKEOFF_SEED draws the same again.
TEST_SEED = int(os.environ.get("BAKEOFF_SEED") or secrets.randbelow(1 << 31))
SCALE = float(os.environ.get("BAKEOFF_SCALE", "0.05"))
# The engine of the payment stub; `grpcio` is the reference.
STUB_ENGINE = os.environ.get("BAKEOFF_STUB_ENGINE", "wire")
TEMPLATE = "billing_template"
# Above what any test makes the provider take, so that a busy machine times nothing out.
PAYMENT_TIMEOUT_MS = 5000
END_DEADLINE_S = 60.0


def scaled(count: int) -> int:
    """A count of a full run, at this run's scale."""
    return max(5, round(count * SCALE))


class Bench:
    """Starts services that share a Postgres and a stub; each has a database of its own."""

    def __init__(self, folder: Path, host: Host, postgres: Postgres, stub: PaymentStub) -> None:
        self.host = host
        self.postgres = postgres
        self.stub = stub
        self.ledger = folder / "ledger.sqlite"
        self._folder = folder

    @contextmanager
    def service(
        self,
        name: str,
        *,
        payment_targets: Sequence[str] = (),
        payment_timeout_ms: int = PAYMENT_TIMEOUT_MS,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[Target]:
        """The service in `services/<name>`, built if need be, ready; `payment_targets` are what it
        has for the stub's own, `environment` more than the settings that every run makes."""
        manifest = self.built(name)
        assert manifest.run is not None
        more = manifest.run.environment | dict(environment or {})
        run = msgspec.structs.replace(manifest.run, environment=more)
        manifest = msgspec.structs.replace(manifest, run=run)
        targets = payment_targets or self.stub.targets
        credentials = Credentials.fresh()
        database_url = self.new_database(f"contract_{name}_{secrets.token_hex(4)}")
        settings = ServiceSettings(
            database_url=database_url,
            payment_targets=targets,
            credentials=credentials,
            worker_threads=2,
            payment_timeout_ms=payment_timeout_ms,
        )
        with Service(self.host, manifest, settings, part=f"service-{name}") as service:
            assert service.log_path is not None
            rig = Rig(
                database_url,
                credentials,
                self.stub.control,
                targets,
                self.ledger,
                Path(service.log_path),
            )
            yield Target(name, service.base_url, {}, rig)

    def built(self, name: str) -> ServiceManifest:
        """The manifest of the service in `services/<name>`, which is built."""
        manifest = load_manifest(name)
        build(manifest, self.host, self._folder, allow_debug=False)
        return manifest

    def new_database(self, name: str) -> str:
        """A copy of the seeded database; its URL."""
        return new_database(self.postgres, name)


def new_database(postgres: Postgres, name: str) -> str:
    """A copy of a server's template; its URL."""
    with psycopg.connect(postgres.url_for("postgres"), autocommit=True) as connection:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
    return postgres.url_for(name)


class SeededPostgres(Postgres):
    """A server with its template. A run of the tests seeds once, whatever its processes: each
    server starts on a copy of those data, and so has their password."""

    def __init__(
        self, host: Host, factory: pytest.TempPathFactory, address: str = "127.0.0.1"
    ) -> None:
        super().__init__(host, address)
        self._seeded = _run_folder(factory) / "seeded-postgres"

    def _initialise(self, folder: str) -> None:
        self._seeded.mkdir(exist_ok=True)
        password = self._seeded / "password"
        with (self._seeded / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not password.exists():
                with _Origin(self.host) as origin:
                    origin.prepare_template(MIGRATIONS, SEED)
                    origin.leave_data(self._seeded / "data")
                    password.write_text(origin.password)
        self._password = password.read_text()
        self._write_access(folder)
        data = Path(folder, "data")
        shutil.copytree(self._seeded / "data", data)
        if self._user is not None:
            for path in (data, *data.rglob("*")):
                shutil.chown(path, self._user)


class _Origin(Postgres):
    """The server that is seeded."""

    @property
    def password(self) -> str:
        return self._password

    def leave_data(self, folder: Path) -> None:
        """Ends it well, so that what starts on a copy has nothing to recover."""
        self._process.signal(signal.SIGINT)
        self._process.wait(END_DEADLINE_S)
        shutil.copytree(Path(self._process.spec.cwd, "data"), folder)


def _run_folder(factory: pytest.TempPathFactory) -> Path:
    """The folder of this run of the tests, whatever processes it has."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def bench(factory: pytest.TempPathFactory, name: str) -> Iterator[Bench]:
    """Postgres with its template, and the stub."""
    folder = factory.mktemp(name)
    with ExitStack() as stack:
        host = stack.enter_context(Host(LOCAL, run_id=secrets.token_hex(8)))
        postgres = stack.enter_context(SeededPostgres(host, factory))
        stub = stack.enter_context(
            PaymentStub(host, processes=2, engine=STUB_ENGINE, ledger=str(folder / "ledger.sqlite"))
        )
        yield Bench(folder, host, postgres, stub)


def running_target(base_url: str, tokens_file: Path) -> Target:
    """A service that runs elsewhere, with the tokens that a rig wrote for its accounts."""
    found = msgspec.json.decode(tokens_file.read_bytes(), type=dict[str, dict[str, object]])
    tokens = {account: str(token) for account, token in found["tokens"].items()}
    return Target(base_url, base_url.rstrip("/"), tokens)
