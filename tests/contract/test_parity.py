"""What kernel, Postgres, log and build say of the two services at the same work: the tables under
Parity in services/contract/README.md, held to what is measured."""

import http.client
import json
import subprocess
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from bakeoff.experiment import ROOT
from bakeoff.measure.background import split
from tests.contract.api import Api, Target
from tests.contract.sockets import Connections, connections_of, listen_backlog

REQUESTS = 500
HTTP, DATABASE, PROVIDER = "client", "Postgres", "provider"
PAGE = ROOT / "services" / "contract" / "README.md"
# The sweeper asks once a second, and a busy machine may split what is mostly one segment.
NOISE = 0.15
# Much longer than a ping or a window takes to be sent and answered.
_FOLLOWS_WITHIN_S = 0.1

Pair = tuple[Target, Target]


@pytest.fixture(scope="module")
def published() -> dict[str, tuple[str, str]]:
    """The page's table of what was measured: Go's and Rust's cell by the first."""
    section = PAGE.read_text(encoding="utf-8").split("\n### Measured\n")[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return {cells[0]: (cells[1], cells[2]) for cells in rows if len(cells) >= 3}


class Caller:
    """Sends the measured request over one connection, one after the other."""

    def __init__(self, target: Target) -> None:
        api: Api = target.new_account()
        self._path = f"/v1/invoices/{api.invoice()['id']}/payment"
        self._headers = {"Authorization": f"Bearer {api.token}", "X-Request-Id": "parity"}
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", _port(target.base_url), timeout=60
        )

    def call(self, times: int) -> http.client.HTTPResponse:
        """The last answer, read."""
        for _ in range(times):
            self._connection.request("GET", self._path, headers=self._headers)
            response = self._connection.getresponse()
            response.read()
            assert response.status == 200
        return response

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


@contextmanager
def calling(target: Target) -> Iterator[Caller]:
    """A caller whose service is warm."""
    caller = Caller(target)
    try:
        caller.call(50)
        yield caller
    finally:
        caller.close()


def test_segments_a_request_are_as_published(
    pair: Pair, published: dict[str, tuple[str, str]]
) -> None:
    segments = {name for name in published if name.startswith("segments ")}
    names = {name.removeprefix("segments "): published[name] for name in segments}
    assert len(names) == 6
    for column, target in enumerate(pair):
        with calling(target) as caller, _sockets(target) as sockets:
            said = {name: float(cells[column]) for name, cells in names.items()}
            found = _segments_a_request(caller, sockets, _providers(target), said)
        assert found == pytest.approx(said, abs=NOISE), target.name


def test_sockets_are_as_published(pair: Pair, published: dict[str, tuple[str, str]]) -> None:
    for column, target in enumerate(pair):
        with calling(target), _sockets(target) as sockets:
            for purpose in (HTTP, DATABASE, *_providers(target)):
                said = published[f"TCP_NODELAY, {purpose.split()[0]}"][column]
                assert sockets.nodelay(purpose) == {said == "on"}, (target.name, purpose)
            assert sockets.count(DATABASE) == _told(target)["database_max_connections"]
            assert {sockets.count(one) for one in _providers(target)} == {1}
    backlogs = {listen_backlog(_pid(target), _port(target.base_url)) for target in pair}
    assert len(backlogs) == 1


def test_statements_and_their_plans_are_the_same(pair: Pair) -> None:
    found = []
    for target in pair:
        with (
            calling(target) as caller,
            psycopg.connect(target.behind().database_url, autocommit=True) as database,
        ):
            database.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            before = _calls(database)
            caller.call(REQUESTS)
            done = {text: count - before.get(text, 0) for text, count in _calls(database).items()}
            requests, _ = split({text: count for text, count in done.items() if count})
            requests = {text: count for text, count in requests.items() if count >= REQUESTS / 2}
            assert set(requests.values()) == {REQUESTS}
            assert len(requests) == 2
            found.append({text: _plan(database, text) for text in requests})
    assert found[0] == found[1]
    assert all("Index" in plan for plan in found[0].values())


def test_headers_and_log_lines_have_the_same_names(pair: Pair) -> None:
    headers, lines, starts = [], [], []
    for target in pair:
        with calling(target) as caller:
            response = caller.call(1)
            headers.append({name.lower() for name, _ in response.getheaders()})
        log = target.behind().log.read_text().splitlines()
        mine = [json.loads(line) for line in log if '"parity"' in line]
        assert mine
        lines.append({frozenset(line) for line in mine})
        starts.append({k: v for k, v in _told(target).items() if k not in ("address", "timestamp")})
    assert headers[0] == headers[1]
    assert len(lines[0]) == 1
    assert lines[0] == lines[1]
    assert starts[0] == starts[1]


def test_builds_are_as_published() -> None:
    go = ROOT / "services" / "go"
    with (ROOT / "services" / "rust" / "Cargo.toml").open("rb") as file:
        cargo = tomllib.load(file)
    release = {"lto": "thin", "codegen-units": 1, "strip": True, "panic": "unwind"}
    assert cargo["profile"]["release"] == release
    # Neither is fed a profile, and neither brings an allocator of its own.
    assert not list(go.rglob("*.pgo"))
    lock = (ROOT / "services" / "rust" / "Cargo.lock").read_text()
    assert not [name for name in ("jemalloc", "mimalloc", "snmalloc") if name in lock]
    said = subprocess.run(
        ["go", "version", "-m", str(go / "bin" / "billing")],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.split()
    assert "-trimpath=true" in said
    assert "GOAMD64=v1" in said or "GOARCH=amd64" not in said
    assert not [word for word in said if word.startswith(("-pgo", "-race=true", "-tags"))]


def _segments_a_request(
    caller: Caller, sockets: Connections, providers: Sequence[str], said: Mapping[str, float]
) -> dict[str, float]:
    """Of each direction. What follows an answer is waited for, as long as is said to come: on a
    busy machine it would wait for the next call, and go with it."""
    first = last = _segments(sockets, providers)
    for _ in range(REQUESTS):
        caller.call(1)
        deadline = time.monotonic() + _FOLLOWS_WITHIN_S
        now = _segments(sockets, providers)
        while any(now[name] - last[name] < said[name] for name in said):
            if time.monotonic() > deadline:
                break
            time.sleep(0.0005)
            now = _segments(sockets, providers)
        last = now
    return {name: (last[name] - first[name]) / REQUESTS for name in first}


def _segments(sockets: Connections, providers: Sequence[str]) -> dict[str, int]:
    """Segments so far, of each direction."""
    found: Counter[str] = Counter()
    for purpose in (HTTP, DATABASE, *providers):
        moved, peer = sockets.traffic(purpose), purpose.split()[0]
        found += Counter({f"to {peer}": moved.sent, f"from {peer}": moved.received})
    return dict(found)


def _calls(database: psycopg.Connection[Any]) -> dict[str, int]:
    rows = database.execute(
        "SELECT s.query, sum(s.calls)::bigint FROM pg_stat_statements s JOIN pg_database d"
        " ON d.oid = s.dbid WHERE d.datname = current_database() GROUP BY 1"
    )
    return dict(rows.fetchall())


def _plan(database: psycopg.Connection[Any], text: str) -> str:
    rows = database.execute(f"EXPLAIN (GENERIC_PLAN, COSTS OFF) {text}".encode(), prepare=False)
    return "\n".join(row[0] for row in rows.fetchall())


def _told(target: Target) -> dict[str, Any]:
    """The line with which the service says that it listens."""
    for line in target.behind().log.read_text().splitlines():
        if '"message":"listening"' in line:
            told: dict[str, Any] = json.loads(line)
            return told
    raise AssertionError(f"{target.name} has not said that it listens")


def _providers(target: Target) -> list[str]:
    return [f"{PROVIDER} {number}" for number, _ in enumerate(target.behind().payment_targets)]


@contextmanager
def _sockets(target: Target) -> Iterator[Connections]:
    rig = target.behind()
    peers = {
        name: int(address.rpartition(":")[2])
        for name, address in zip(_providers(target), rig.payment_targets, strict=True)
    }
    peers[DATABASE] = _port(rig.database_url)
    with connections_of(_pid(target), {HTTP: _port(target.base_url)}, peers) as found:
        yield found


def _port(address: str) -> int:
    port = urlsplit(address).port
    assert port is not None
    return port


def _pid(target: Target) -> int:
    port = _port(target.base_url)
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr[1:] == (port,) and one.pid is not None:
            return int(one.pid)
    raise AssertionError(f"nobody listens on {target.base_url}")
