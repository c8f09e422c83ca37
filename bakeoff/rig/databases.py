"""The databases of a run on a Postgres server: a seeded template, and a fresh copy for a round."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from bakeoff.errors import PartDiedError, StartError, UsageError

PART = "postgres"
_TEMPLATE = "billing_template"
_CONNECT_DEADLINE_S = 10
_STATEMENT_DEADLINE_S = 120
# FILE_COPY copies the template's files between two checkpoints, where the default would write
# them to the log. Servers before 15 know nothing else.
_STRATEGY_SINCE = 150000

_STATEMENTS = """
SELECT s.query, sum(s.calls)::bigint FROM pg_stat_statements AS s
JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = %s GROUP BY s.query
"""
_OF_USER = """
SELECT datname FROM pg_database JOIN pg_roles AS r ON r.oid = datdba
WHERE r.rolname = current_user AND starts_with(datname, %s)
"""
_OF_ACCOUNTS = """
SELECT a.id::text, array_agg(i.id::text ORDER BY i.created_at, i.id)
FROM accounts AS a JOIN {} AS i ON i.account_id = a.id
GROUP BY a.id, a.number ORDER BY a.number
"""


class Databases:
    """What the rig does on a server by SQL, over one connection to `admin_url`'s database.

    `prefix` goes before all names, so that runs on one server keep apart. Once connected, a
    server that does not answer is a PartDiedError of "postgres".
    """

    def __init__(self, admin_url: str, prefix: str = "") -> None:
        self._admin_url = admin_url
        self._prefix = prefix
        self._current: str | None = None
        shown = _shown(admin_url)
        try:
            self._connection = _connect(admin_url)
        except psycopg.Error as error:
            # Its own words may quote the URL, and so the password.
            raise StartError(f"cannot connect to Postgres at {shown} (--database-url)") from error

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def drop_all(self) -> None:
        """Drops what was created here."""
        for name in filter(None, (self._current, _TEMPLATE)):
            self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._prefix + name)
        self._current = None

    @contextmanager
    def sweeping(self, names: str) -> Iterator[None]:
        """Drops at the end those databases whose names begin with `names` that came meanwhile, as
        tests leave them that are killed. One that is in use stays: it belongs to somebody else."""
        before = self._of_user(names)
        try:
            yield
        finally:
            for name in sorted(self._of_user(names) - before):
                command = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
                # It waits a few seconds for the connections of what was killed.
                with self._named_errors(), suppress(psycopg.errors.ObjectInUse):
                    self._connection.execute(command)

    def url_for(self, name: str) -> str:
        """The URL of one of the databases."""
        parts = urlsplit(self._admin_url)
        return urlunsplit(parts._replace(path="/" + quote(self._prefix + name)))

    def prepare_template(self, migrations: Path, seed: Path | None) -> None:
        """Creates the template: migrations in the order of their names, seed, frozen, analysed,
        checkpointed. Raises UsageError where a file of them fails."""
        self._check_statistics()
        self._run("CREATE DATABASE {}", self._prefix + _TEMPLATE)
        url = self.url_for(_TEMPLATE)
        with self._named_errors(), _connect(url) as connection:
            for file in [*sorted(migrations.glob("*.sql")), *([seed] if seed else [])]:
                try:
                    connection.execute(file.read_text(encoding="utf-8").encode())
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    raise UsageError(f"{file} fails on a new database: {error}") from error
            # Frozen pages and fresh statistics, so that no round pays for the first reading.
            connection.execute("VACUUM (FREEZE, ANALYZE)")
        self._checkpoint()

    def fresh_database(self, name: str) -> str:
        """Replaces the last fresh database by a copy of the template; its URL."""
        if self._current is not None:
            self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._prefix + self._current)
        self._current = name
        strategy = ""
        if self._connection.info.server_version >= _STRATEGY_SINCE:
            strategy = " STRATEGY file_copy"
        full = self._prefix + name
        self._run("CREATE DATABASE {} TEMPLATE {}" + strategy, full, self._prefix + _TEMPLATE)
        # Else each connection changes its plan at its sixth execution.
        self._run("ALTER DATABASE {} SET plan_cache_mode = force_generic_plan", full)
        self._checkpoint()
        return self.url_for(name)

    def statements(self, name: str) -> dict[str, int]:
        """Calls so far on one of the databases by normalised text. What the rig itself asks is
        asked of another database, so it is not among them."""
        with self._named_errors():
            rows = self._connection.execute(_STATEMENTS, [self._prefix + name]).fetchall()
        return {str(text): int(calls) for text, calls in rows}

    def seeded(self, table: str) -> dict[str, list[str]]:
        """The ids in a table of the template by account, both in the order of the seed."""
        query = sql.SQL(_OF_ACCOUNTS).format(sql.Identifier(table))
        with self._named_errors(), _connect(self.url_for(_TEMPLATE)) as connection:
            return dict(connection.execute(query).fetchall())

    def _of_user(self, names: str) -> set[str]:
        with self._named_errors():
            return {row[0] for row in self._connection.execute(_OF_USER, [names])}

    def _check_statistics(self) -> None:
        with self._named_errors():
            try:
                self._connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
                self._connection.execute("SELECT calls FROM pg_stat_statements LIMIT 1")
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                raise UsageError(
                    f"the server of --database-url cannot count statements: {error}. Put "
                    "pg_stat_statements into its shared_preload_libraries, restart it, and run "
                    "CREATE EXTENSION pg_stat_statements as a superuser"
                ) from error

    def _checkpoint(self) -> None:
        with self._named_errors(), suppress(psycopg.errors.InsufficientPrivilege):
            self._connection.execute("CHECKPOINT")

    def _run(self, text: str, *names: str) -> None:
        command = sql.SQL(text).format(*map(sql.Identifier, names))
        with self._named_errors():
            try:
                self._connection.execute(command)
            except psycopg.errors.InsufficientPrivilege as error:
                raise UsageError(
                    f"the user of --database-url may not do what the rig needs: {error}. "
                    "Give it CREATEDB"
                ) from error

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise PartDiedError(PART, f"postgres does not answer any more: {error}") from error


def _connect(url: str) -> psycopg.Connection:
    connection = psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_DEADLINE_S)
    connection.execute(f"SET statement_timeout = '{_STATEMENT_DEADLINE_S}s'")
    return connection


def _shown(url: str) -> str:
    """Where a URL leads, without user and password; UsageError, which does not quote it, for what
    is no URL of Postgres."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 5432
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme not in ("postgres", "postgresql") or "@" in host:
        raise UsageError("--database-url must look like postgres://user:password@host:5432/name")
    return f"{host}:{port}{parts.path}"
