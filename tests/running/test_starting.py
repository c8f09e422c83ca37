"""How a service starts: with bad settings not at all, and with nobody there all the same."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from tests.running.link import Link
from tests.running.provider import Provider
from tests.running.rig import SLACK, Starter, health, until

STARTS_WITHIN_S = 2 * SLACK
REFUSES_WITHIN_S = 1 * SLACK
HEALS_WITHIN_S = 5 * SLACK
CANARY = "canary"
HUGE = "canary" + "9" * 100_000
# Settings without a default, and values that each of them has to refuse.
REQUIRED: Mapping[str, list[str]] = {
    "DATABASE_URL": [
        "",
        "canary",
        "mysql://canary:canary@127.0.0.1/canary",
        "postgres://canary:canary@127.0.0.1:99999/canary",
        "postgres://canary:canary@127.0.0.1:port/canary",
        "postgres://canary:canary@127.0.0.1:5432/canary?sslmode=canary",
    ],
    "PAYMENT_TARGETS": [
        "",
        ",",
        "canary",
        "canary:0",
        "canary:65536",
        "canary:1,",
        "canary:1,canary",
        "http://canary:1",
        "canary:1/canary",
        "user@canary:1",
        "ca%zznary:1",
        "ca<nary:1",
        "can\u00e4ry:1",
        "ca nary:1",
        "::1:80",
        ":80",
        ",".join(["canary:1"] * 65),
        HUGE,
    ],
    "AUTH_JWT_SECRET": ["", "canary, 31 bytes, one too short"],
    "AUTH_JWT_ISSUER": [""],
    "AUTH_JWT_AUDIENCE": [""],
}
NUMBERS = {
    "DATABASE_MAX_CONNECTIONS": (1, 1000),
    "PAYMENT_TIMEOUT_MS": (1, 60_000),
    "WORKER_THREADS": (1, 1024),
    "SWEEP_INTERVAL_MS": (100, 3_600_000),
    "SHUTDOWN_DRAIN_SECONDS": (0, 300),
    "SHUTDOWN_GRACE_SECONDS": (1, 300),
}
OPTIONAL: Mapping[str, list[str]] = {
    "LISTEN_ADDR": ["", "canary", "canary:80", "127.0.0.1", "127.0.0.1:65536", ":8080", HUGE],
    "LOG_LEVEL": ["", "canary", "INFO", "trace", HUGE],
    **{
        name: [
            *("", "canary", "1.5", "0x10", " 1", "-0", "-1", "+1", str(low - 1), str(high + 1)),
            *("18446744073709551616", HUGE),
        ]
        for name, (low, high) in NUMBERS.items()
    },
}


def refusal(starter: Starter, environment: Mapping[str, str]) -> str:
    """What a service says of its settings, before it ends with exit code 2."""
    spec = starter.spec(environment)
    folder = starter.manifest.folder
    ended = subprocess.run(
        spec.argv,
        executable=folder / spec.argv[0],
        env=spec.environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=REFUSES_WITHIN_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    assert ended.stderr.count("\n") == 1, ended.stderr[:1000]
    assert CANARY not in ended.stderr and "9" * 100 not in ended.stderr
    for name in ("DATABASE_URL", "AUTH_JWT_SECRET"):
        assert (environment.get(name) or CANARY) not in ended.stderr
    return ended.stderr.removeprefix("billing: bad settings: ").rstrip("\n")


@pytest.mark.parametrize("name", [*REQUIRED, *OPTIONAL])
def test_a_bad_setting_is_named_and_its_value_is_not(starter: Starter, name: str) -> None:
    if name in REQUIRED:
        environment = starter.environment()
        del environment[name]
        assert refusal(starter, environment) == f"{name} is missing"
    for value in [*REQUIRED.get(name, []), *OPTIONAL.get(name, [])]:
        said = refusal(starter, starter.environment(**{name: value}))
        assert said.startswith(f"{name} must "), (value[:100], said)
        assert ";" not in said, (value[:100], said)


def test_all_bad_settings_are_named_in_one_message(starter: Starter) -> None:
    worst = {name: values[-1] for name, values in {**REQUIRED, **OPTIONAL}.items()}
    said = refusal(starter, worst).split("; ")
    assert [problem.split(" ")[0] for problem in said] == [
        *("DATABASE_URL", "PAYMENT_TARGETS", "AUTH_JWT_SECRET", "AUTH_JWT_ISSUER"),
        *("AUTH_JWT_AUDIENCE", "LISTEN_ADDR", "DATABASE_MAX_CONNECTIONS", "PAYMENT_TIMEOUT_MS"),
        *("LOG_LEVEL", "WORKER_THREADS", "SWEEP_INTERVAL_MS", "SHUTDOWN_DRAIN_SECONDS"),
        "SHUTDOWN_GRACE_SECONDS",
    ]
    assert [problem.split(" ")[0] for problem in refusal(starter, {}).split("; ")] == [*REQUIRED]


@pytest.fixture
def link(starter: Starter) -> Iterator[Link]:
    """A way to the database that a test may break."""
    address = urlsplit(starter.database_url)
    assert address.hostname is not None and address.port is not None
    with Link(address.hostname, address.port) as link:
        yield link


def test_it_starts_before_its_database(starter: Starter, link: Link) -> None:
    link.cut()
    start_s = time.monotonic()
    with starter.start(DATABASE_URL=link.url(starter.database_url)) as instance:
        assert time.monotonic() - start_s < STARTS_WITHIN_S
        status, content = instance.readiness()
        assert (status, content["status"], content["database"]) == (
            503,
            "not_ready",
            "unavailable",
        )
        assert health(instance.base_url, "/livez") == (200, {"status": "ok"})
        answer = instance.api.send("GET", "/v1/invoices")
        assert (answer.status, answer.header("retry-after")) == (503, "1")
        link.mend()
        assert instance.await_ready(HEALS_WITHIN_S) < HEALS_WITHIN_S
        assert instance.api.get("/v1/invoices") == {"items": [], "next": None}
        assert instance.process.stop() == 0


def test_it_starts_before_its_provider(starter: Starter) -> None:
    with Provider() as provider:
        provider.leave()
        start_s = time.monotonic()
        with starter.start(PAYMENT_TARGETS=provider.target) as instance:
            instance.await_ready()
            assert time.monotonic() - start_s < STARTS_WITHIN_S
            until(lambda: instance.readiness()[1]["payments"] == "unavailable", why="named")
            assert instance.readiness()[0] == 200
            path = f"/v1/invoices/{instance.api.invoice()['id']}/payment"
            answer = instance.api.send("GET", path)
            assert (answer.status, answer.header("retry-after")) == (503, "1")
            assert b'/payment_unavailable"' in answer.body
            provider.listen()
            until(lambda: instance.api.send("GET", path).status == 200, HEALS_WITHIN_S)
            until(lambda: instance.readiness()[1]["payments"] == "ok", why="ok again")


def test_a_pool_of_broken_connections_heals(starter: Starter) -> None:
    with starter.start() as instance:
        instance.await_ready()
        instance.api.get("/v1/invoices")
        postgres = psutil.Process(starter.bench.postgres.pids[0])
        before = {child.pid for child in postgres.children()}
        with psycopg.connect(starter.database_url) as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            until(lambda: not before & {child.pid for child in postgres.children()}, why="crashed")
        healed_s = until(
            lambda: instance.api.send("GET", "/v1/invoices").status == 200, HEALS_WITHIN_S
        )
        # None of the broken ones is left to be met later.
        for _ in range(50):
            assert instance.api.send("GET", "/v1/invoices").status in (200, 503)
        assert instance.await_ready(HEALS_WITHIN_S) < HEALS_WITHIN_S
        until(
            lambda: all(instance.api.send("GET", "/v1/invoices").status == 200 for _ in range(20)),
            HEALS_WITHIN_S,
            why="every connection is a good one",
        )
        print(f"{starter.name}: healed after {healed_s:.2f} s")


def test_livez_asks_nobody(starter: Starter, link: Link) -> None:
    with starter.start(DATABASE_URL=link.url(starter.database_url)) as instance:
        instance.await_ready()
        link.freeze()
        start_s = time.monotonic()
        assert health(instance.base_url, "/livez")[0] == 200
        assert time.monotonic() - start_s < SLACK / 10
        status, content = instance.readiness()
        assert (status, content["database"]) == (503, "unavailable")
        link.thaw()
        instance.await_ready(HEALS_WITHIN_S)
