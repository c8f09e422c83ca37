"""Tasks that are one request each: what becomes of every kind of answer."""

from locust import task

import asyncio
import random
import ssl
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar, cast
from zlib import crc32

import numpy as np
import pytest
import trustme

from bakeoff.load import OpenModelUser, Request, wire
from bakeoff.load.engine import run
from bakeoff.load.engine.books import PACKED_AT_ONCE, Books
from bakeoff.load.engine.lane import Lane, Pacer
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.requestlane import RequestLane
from bakeoff.load.engine.run import Run
from bakeoff.load.engine.schedule import NS, Part, Schedule, closed_chunks
from bakeoff.load.engine.sockets import SocketConnection
from bakeoff.load.engine.target import Target
from bakeoff.load.engine.tls import TlsConnection
from bakeoff.load.workerrun import samples_of
from tests.unit.enginerun import BIG, outcomes, run_user


def run_paths(
    *paths: str, lanes: int = 1, expect: int | None = None, tls: ssl.SSLContext | None = None
) -> list[wire.Batch]:
    """Requests of one path after the other in each lane, and of / after the last."""

    class Tested(OpenModelUser):
        asked = 0

        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            path = paths[self.asked] if self.asked < len(paths) else "/"
            self.asked += 1
            return self.request.get(path, expect=expect)

    def is_done(users: list[Tested], lanes: list[Lane]) -> bool:
        return all(user.asked > len(paths) for user in users)

    return run_user(Tested, is_done, lanes, tls)


@pytest.mark.parametrize(
    "path", ["/", "/late", "/split", "/close", "/hints", "/big", "/chunks", "/nothing"]
)
@pytest.mark.parametrize("lanes", [1, 3])
def test_an_answer_is_one_however_it_comes(path: str, lanes: int) -> None:
    batches = run_paths(path, path, lanes=lanes)
    status = 204 if path == "/nothing" else 200
    assert outcomes(batches)[: 2 * lanes] == [status] * (2 * lanes)
    last = batches[-1]
    assert last.sent == len(outcomes(batches)) == last.scheduled
    # The server closes each time; the lane opens another.
    assert last.reconnects == (2 * lanes if path == "/close" else 0)


# With a length, and without one: then the answer ends where the connection does.
@pytest.mark.parametrize("path", ["/leave", "/endless"])
def test_a_server_that_leaves_with_its_answer_is_noticed_before_the_next_request(
    path: str,
) -> None:
    batches = run_paths(path, path)
    assert outcomes(batches)[:2] == [200] * 2
    assert batches[-1].reconnects == 2


def test_a_request_that_the_kernel_takes_piece_by_piece_arrives_whole() -> None:
    body = random.Random(1).randbytes(8_000_000)

    class Tested(OpenModelUser):
        asked = 0

        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            self.asked += 1
            return self.request.post("/", body=body)

    batches = run_user(Tested, lambda users, _: users[0].asked > 2, lanes=1)
    assert outcomes(batches)[:2] == [200] * 2
    # The server answers with the CRC-32 of what it got.
    hashes = samples_of(batches)[:2, wire.HASH].tolist()
    assert hashes == [crc32(b"%d" % crc32(body))] * 2


def test_a_connection_that_is_given_up_hears_nothing_more() -> None:
    heard: list[str] = []

    class Owner:
        sent_ns = 0

        def answered(self, *_: object) -> None:
            heard.append("answered")

        def broken(self, *_: object) -> None:
            heard.append("broken")

        def lost(self) -> None:
            heard.append("lost")

    connection = TlsConnection(Owner(), "127.0.0.1", 1)
    connection.abort()
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
    assert heard == []


def open_files() -> set[Path]:
    """The descriptors of this process."""
    return set(Path("/proc/self/fd").iterdir())


def test_a_run_that_cannot_be_made_leaves_nothing_open() -> None:
    async def try_it() -> None:
        order = wire.Prepare(
            run="run", host="ftp://x", connections=1, timeout_s=1, entries=[], options={}
        )
        # The loop's own files are there by now.
        before = open_files()
        with pytest.raises(ValueError, match="ftp://x"):
            Run(order, {}, lambda _: None)
        assert open_files() == before

    asyncio.run(try_it())


def test_a_connection_that_does_not_open_again_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = SocketConnection.open
    tried = 0

    async def open_slowly(connection: SocketConnection) -> None:
        nonlocal tried
        tried += 1
        if tried == 2:
            await asyncio.get_running_loop().create_future()
        await opened(connection)

    monkeypatch.setattr(SocketConnection, "open", open_slowly)
    monkeypatch.setattr("bakeoff.load.engine.lane.OPEN_DEADLINE_S", 0.1)
    batches = run_paths("/close")
    errors = [error.message for batch in batches for error in batch.request_errors]
    assert errors == ["connect: not open within 0.1 s"]
    assert outcomes(batches)[:2] == [200] * 2


def test_an_answer_is_measured_whole() -> None:
    sizes = {"/": 1, "/split": 6, "/big": len(BIG), "/chunks": 1, "/nothing": 0}
    rows = samples_of(run_paths(*sizes))
    assert rows[: len(sizes), wire.SIZE].tolist() == list(sizes.values())


@pytest.mark.parametrize(
    ("path", "outcome", "reason"),
    [
        ("/never", wire.TIMED_OUT, ""),
        ("/gone", wire.BROKEN, "connection lost: closed by the server"),
        ("/cut", wire.BROKEN, "connection lost: closed by the server"),
        ("/two", wire.BROKEN, "bad HTTP answer: more than one"),
        ("/bad", wire.BROKEN, "bad HTTP answer"),
    ],
)
def test_what_is_no_answer_is_counted_and_the_lane_goes_on(
    path: str, outcome: int, reason: str
) -> None:
    batches = run_paths(path, "/", path)
    assert outcomes(batches)[:3] == [outcome, 200, outcome]
    assert batches[-1].reconnects == 2
    errors = [error for batch in batches for error in batch.request_errors]
    assert sum(error.count for error in errors) == (2 if reason else 0)
    assert all(error.message.startswith(reason) for error in errors)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """What a server with a certificate for this name has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("path", ["/", "/split", "/close", "/big"])
def test_answers_come_over_tls_too(authority: trustme.CA, path: str) -> None:
    batches = run_paths(path, path, lanes=2, tls=server_context(authority, "127.0.0.1"))
    assert outcomes(batches)[:4] == [200] * 4
    assert batches[-1].reconnects == (4 if path == "/close" else 0)


@pytest.mark.parametrize("over_tls", [False, True])
def test_a_request_is_sent_when_it_goes_and_not_when_its_task_begins(
    authority: trustme.CA, over_tls: bool
) -> None:
    makes_s = 0.01

    class Tested(OpenModelUser):
        asked = 0

        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            self.asked += 1
            time.sleep(makes_s)
            return self.request.get("/")

    tls = server_context(authority, "127.0.0.1") if over_tls else None
    batches = run_user(Tested, lambda users, _: users[0].asked > 3, lanes=1, tls=tls)
    samples = samples_of(batches)
    assert (samples[1:, wire.SENT] - samples[:-1, wire.DONE]).min() >= makes_s * NS
    assert (samples[:, wire.DUE] == samples[:, wire.SENT]).all()


# In the closed model; and where the lane is late for each arrival, and takes the next.
@pytest.mark.parametrize("rate_rps", [None, 10_000.0])
def test_a_user_knows_the_number_and_the_draw_of_each_arrival(rate_rps: float | None) -> None:
    known: list[tuple[int, float]] = []

    class Tested(OpenModelUser):
        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            known.append((self.arrival, self.draw))
            return self.request.get("/")

    batches = run_user(Tested, lambda *_: len(known) > 50, lanes=1, rate_rps=rate_rps)
    if rate_rps is None:
        chunk = next(closed_chunks(1, Part(0, 1)))
    else:
        chunk = next(Schedule(rate_rps, "poisson", 1, 0).chunks(Part(0, 1)))
    told = list(zip(chunk.numbers.tolist(), chunk.draws.tolist(), strict=True))
    assert known[:50] == told[:50]
    samples = samples_of(batches)[:50]
    if rate_rps is not None:
        due_ns = samples[:, wire.DUE]
        assert (due_ns - due_ns[0]).tolist() == (chunk.due_ns[:50] - chunk.due_ns[0]).tolist()
    waited = samples[:, wire.TAG] % wire.TAG_NAMES == wire.TAG_WAITED
    assert np.count_nonzero(waited) > 25 if rate_rps else not waited.any()


def test_a_certificate_for_another_name_is_no_connection(authority: trustme.CA) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        run_paths("/", tls=server_context(authority, "localhost"))


def test_a_status_is_an_answer_where_it_is_expected() -> None:
    assert outcomes(run_paths("/500"))[0] == wire.UNEXPECTED + 500
    assert outcomes(run_paths("/500", expect=500))[0] == 500
    assert outcomes(run_paths("/", expect=500))[0] == wire.UNEXPECTED + 200


def test_a_task_that_fails_or_returns_no_request_is_counted_and_sends_nothing() -> None:
    class Tested(OpenModelUser):
        asked = 0

        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            # At first nothing has been answered; later each comes with the answer before it.
            self.asked += 1
            turn = self.asked if self.asked < 5 else self.asked % 2 * (self.asked // 2 % 4 + 1)
            if turn == 1:
                raise ValueError("oh")
            if turn == 2:
                return None  # type: ignore[return-value]
            if turn == 3:
                return self.request.get("/a b")
            if turn == 4:
                return self.request.get("/"), self.request.get("/")  # type: ignore[return-value]
            return self.request.get("/")

    batches = run_user(Tested, lambda users, _: users[0].asked > 40, lanes=1)
    counts: Counter[str] = Counter()
    for batch in batches:
        # Where a task fails makes no kind of its own.
        assert len({error.message for error in batch.task_errors}) == len(batch.task_errors)
        counts.update({error.message: error.count for error in batch.task_errors})
    no_request, failed, bad_path = sorted(counts)
    assert failed == "ValueError: oh"
    assert "must return its request" in no_request
    assert bad_path.startswith("ValueError: the path")
    last = batches[-1]
    assert last.never_sent == counts.total() >= 20
    assert last.scheduled == last.sent + last.never_sent
    assert set(outcomes(batches)) == {200}


def test_arrivals_are_shared_out_among_tasks() -> None:
    asked: list[int] = []

    class Tested(OpenModelUser):
        @task  # type: ignore[type-var]
        def one(self) -> Request:
            asked.append(1)
            return self.request.get("/one")

        @task  # type: ignore[type-var]
        def two(self) -> Request:
            asked.append(2)
            return self.request.get("/two-in-one")

    batches = run_user(Tested, lambda *_: len(asked) > 100, lanes=1, tasks=("one", "two"))
    assert 45 <= asked[:100].count(1) <= 55
    names = samples_of(batches)[:100, wire.TAG] // wire.TAG_NAMES
    paths = [batches[-1].names[name][1] for name in names]
    assert paths == [{1: "/one", 2: "/two-in-one"}[one] for one in asked[:100]]


def test_what_falls_due_while_an_answer_is_read_is_not_sent_before() -> None:
    async def run() -> None:
        connection = SimpleNamespace(ready=True)
        pacer = SimpleNamespace(
            at_once=None, mark_taken=wire.TAG_WAITED, take=lambda _: (7, 0.5, 20)
        )
        target = SimpleNamespace(connection=lambda *_: connection)
        lane = RequestLane(cast(Target, target), Books(), cast(Poller, None), cast(Pacer, pacer))
        lane.tasks = [(cast(OpenModelUser, SimpleNamespace()), lambda _: (b"GET", 4, 200))]
        assert lane.answered(10, 200, b"", b"") == b"GET"
        assert (lane.sent_ns, lane._due_ns, connection.ready) == (20, 20, False)

    asyncio.run(run())


@pytest.mark.parametrize("rate_rps", [None, 10_000.0])
def test_a_request_that_was_not_sent_any_more_has_an_instant_too(rate_rps: float | None) -> None:
    """The answer before it fills a read, and is followed by one that nobody asked for."""

    class Tested(OpenModelUser):
        asked = 0

        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            self.asked += 1
            return self.request.get("/filled")

    batches = run_user(Tested, lambda users, _: users[0].asked > 5, lanes=1, rate_rps=rate_rps)
    samples = samples_of(batches)
    assert samples[:6, wire.OUTCOME].tolist() == [200, wire.BROKEN] * 3
    due, sent, done = (samples[:6, column] for column in (wire.DUE, wire.SENT, wire.DONE))
    assert due.min() > 0
    assert (due <= sent).all() and (sent <= done).all()


def test_any_method_carries_headers_and_a_body() -> None:
    class Tested(OpenModelUser):
        requests: ClassVar[list[Request]] = []

        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            self.requests.append(
                self.request.post("/x", name="made", headers={"X-Y": "z"}, json={"a": 1})
            )
            return self.requests[-1]

    batches = run_user(Tested, lambda users, _: len(users[0].requests) > 2, lanes=1)
    data, tag, expect = Tested.requests[0]
    assert data.startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert data.endswith(
        b'\r\nX-Y: z\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
    )
    assert batches[-1].names[tag // wire.TAG_NAMES] == ("POST", "made") and expect is None


def test_a_batch_goes_when_it_is_large_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    ten, lanes = 10 * 8 * wire.COLUMNS, 4
    monkeypatch.setattr(run, "_BATCH_BYTES", ten)
    monkeypatch.setattr(run, "PACKED_AT_ONCE", wire.COLUMNS)
    monkeypatch.setattr(run, "_FLUSH_S", 3600.0)
    batches = run_paths(*(["/"] * 100), lanes=lanes)
    *sizes, _ = [len(batch.samples) for batch in batches]
    assert len(sizes) >= 100 * lanes // (10 + lanes)
    # As soon as there are enough, at the end of a turn.
    assert ten <= min(sizes) <= max(sizes) < ten + lanes * 8 * wire.COLUMNS
    assert len(outcomes(batches)) == batches[-1].sent == batches[-1].scheduled >= 100 * lanes


def test_samples_are_packed_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[int] = []
    pack = Books.pack

    def noted(books: Books) -> None:
        # A batch that goes at once has nothing more to pack.
        packed.extend([len(books.rows)] if books.rows else [])
        pack(books)

    monkeypatch.setattr(Books, "pack", noted)
    monkeypatch.setattr(run, "_FLUSH_S", 3600.0)
    batches = run_paths(*(["/"] * 100), lanes=4)
    *whole, _ = packed
    assert len(whole) >= 6 and min(whole) >= PACKED_AT_ONCE
    assert sum(packed) == wire.COLUMNS * batches[-1].sent >= wire.COLUMNS * 400


@pytest.mark.parametrize("secured", [False, True])
def test_arrivals_of_a_rate_are_sent_when_they_are_due(
    authority: trustme.CA, secured: bool
) -> None:
    """Also those of connections that no turn of the poller's has."""

    class Tested(OpenModelUser):
        asked = 0

        @task  # type: ignore[type-var]
        def tested(self) -> Request:
            self.asked += 1
            return self.request.get("/")

    tls = server_context(authority, "127.0.0.1") if secured else None
    lanes, rate_rps, duration_s = 8, 200.0, 0.25
    schedule = Schedule(rate_rps, "poisson", 1, duration_s)
    due = schedule.count(Part(0, 1), int(duration_s * NS))
    batches = run_user(
        Tested,
        lambda users, _: sum(user.asked for user in users) >= due,
        lanes,
        tls,
        rate_rps,
        duration_s,
    )
    rows = samples_of(batches)
    assert (rows[:, wire.OUTCOME] == 200).all()
    assert (rows[:, wire.SENT] >= rows[:, wire.DUE]).all()
    assert len(rows) == batches[-1].sent == batches[-1].scheduled == due > 40
    assert batches[-1].never_sent == 0
    # As the schedule has them, in order.
    assert (np.diff(np.sort(rows[:, wire.DUE])) > 0).all()
