"""Floods: the flooder is left, time and again, and who is honest does not notice."""

import asyncio
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import pytest

from protos.payment.v1.payment_pb2 import METHOD_CREATE_PAYMENT, Fault
from tests.contract.rig import SCALE
from tests.fakes.http2 import (
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    frame,
    headers,
    integer,
    literal,
    message,
    reset,
    settings,
    window_update,
)
from tests.running.background import Background
from tests.stub.peer import CALL, Peer, call, head
from tests.stub.pipeline import Pipeline
from tests.stub.process import Stub, until

FLOOD_S = 30 * SCALE
# The honest connection's calls: so many every so often.
HANDFUL, EVERY_S = 10, 0.05
# Of its rate; where a flood is short the little that comes late has ten times the room.
KEPT = 0.8 if SCALE == 1 else 1 / (1 + 10 * 0.25)
RSS_GROWTH_BYTES = 20_000_000
# A second, ten times: the machine does other things.
LEFT_AFTER_S = 10.0
STREAMS = 1024
# With so many streams open over all connections, each may have no more than a few.
CROWD, FEW = 65_536, 16
CROWD_RSS_BYTES = 64_000_000
NO_TABLE = b"\x20"
MAXIMUM = 2**31 - 1
CREATE = {":path": "/payment.v1.Payments/CreatePayment"}

BEGINNING = b"".join(literal(name.encode(), value.encode()) for name, value in CALL.items())
OPENED = head(1) + frame(DATA, 0, 1, message(b"", length=4_000_000))
HANGS = call(1, changes=CREATE)


@dataclass(frozen=True)
class Flood:
    """What the flooder sends on each of its connections, well beyond a limit, and the code with
    which it is left: None where it does not read."""

    sent: bytes
    code: int | None = ENHANCE_YOUR_CALM


def repeated(one: bytes, count: int) -> Flood:
    return Flood(OPENED + one * count)


FLOODS = {
    "rapid reset": Flood(b"".join(call(s, changes=CREATE) + reset(s) for s in range(1, 8000, 2))),
    "streams beyond the maximum": Flood(
        b"".join(call(stream, changes=CREATE) for stream in range(1, 2 * (STREAMS + 3000), 2))
    ),
    "made to reset by no window": Flood(HANGS + window_update(1, 0), PROTOCOL_ERROR),
    "made to reset by a large window": Flood(HANGS + window_update(1, MAXIMUM), FLOW_CONTROL_ERROR),
    "made to reset by a short priority": Flood(
        HANGS + frame(PRIORITY, 0, 1, bytes(4)), FRAME_SIZE_ERROR
    ),
    "made to reset by a priority on itself": Flood(
        HANGS + frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 0)), PROTOCOL_ERROR
    ),
    "made to reset by late headers": Flood(
        HANGS + headers(1, {"x-meta": "x"}, end=True), STREAM_CLOSED
    ),
    "made to reset by late data": Flood(HANGS + frame(DATA, 0, 1, b"x"), STREAM_CLOSED),
    "continuations": Flood(
        frame(HEADERS, 0, 1, BEGINNING) + frame(CONTINUATION, 0, 1, literal(b"a", b"b")) * 100_000
    ),
    "empty continuations": Flood(
        frame(HEADERS, 0, 1, BEGINNING) + frame(CONTINUATION, 0, 1) * 100_000
    ),
    "table bombs": Flood(
        frame(HEADERS, END_HEADERS, 1, BEGINNING + literal(b"x", b"y" * 3900, b"\x40"))
        + frame(HEADERS, END_HEADERS, 3, b"\xbe" * 4000)
    ),
    "changes of the table's size": Flood(
        frame(HEADERS, END_HEADERS, 1, (b"\x20" + integer(4096, 5, 0x20)) * 4000 + b"\x80"),
        COMPRESSION_ERROR,
    ),
    "integers that never end": Flood(
        frame(HEADERS, END_HEADERS, 1, BEGINNING + b"\xff" + b"\x80" * 16_000), COMPRESSION_ERROR
    ),
    "SETTINGS": repeated(settings((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 9)), 20_000),
    "PING": repeated(frame(PING, 0, 0, bytes(8)), 100_000),
    "PRIORITY": repeated(frame(PRIORITY, 0, 1, bytes(5)), 100_000),
    "windows": repeated(window_update(0, 1), 100_000),
    "frames of an unknown type": repeated(frame(0xFA, 0, 0), 100_000),
    "empty data": repeated(frame(DATA, 0, 1), 100_000),
    "bytes of data": repeated(frame(DATA, 0, 1, b"\0"), 100_000),
    "padding": repeated(frame(DATA, PADDED, 1, b"\xff" + bytes(255)), 10_000),
    "refusals that nobody reads": Flood(
        b"".join(call(s, changes={":path": "/" + "x" * 1000}) for s in range(1, 10_000, 2)),
        None,
    ),
}


class Honest:
    """A connection that makes its calls whatever happens."""

    def __init__(self, background: Background, port: int) -> None:
        self._background = background
        self._port = port

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Calls while the block runs. AssertionError if it loses its rate or a single call."""
        pipeline = self._background.run(Pipeline.connect(self._port))
        over = threading.Event()

        async def call_on() -> float:
            loop = asyncio.get_running_loop()
            start_s, handfuls = loop.time(), 0
            while not over.is_set():
                pipeline.send([""] * HANDFUL)
                handfuls += 1
                await asyncio.sleep(start_s + handfuls * EVERY_S - loop.time())
            await pipeline.done()
            took_s = loop.time() - start_s
            assert pipeline.good == handfuls * HANDFUL
            await pipeline.close()
            return handfuls * EVERY_S / took_s

        future = asyncio.run_coroutine_threadsafe(call_on(), self._background.loop)
        try:
            yield
        finally:
            over.set()
            kept = future.result(60)
        print(f"the honest connection kept {kept:.1%} of its rate")
        assert kept > KEPT


@pytest.fixture
def honest(wire: Stub) -> Iterator[Honest]:
    wire.configure(faults=[Fault(share=1, hang=True, method=METHOD_CREATE_PAYMENT)])
    with Background() as background:
        yield Honest(background, wire.ports[0])
    until(lambda: wire.snapshot().calls_in_flight == 0)


@dataclass
class Seen:
    """What was seen of the stub while a flood came."""

    rss_bytes: int = 0
    in_flight: int = 0


@contextmanager
def watching(stub: Stub, serving: psutil.Process) -> Iterator[Seen]:
    """Looks at the stub several times a second."""
    seen, over = Seen(), threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            seen.rss_bytes = max(seen.rss_bytes, serving.memory_info().rss)
            seen.in_flight = max(seen.in_flight, stub.snapshot().calls_in_flight)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def flood(port: int, what: Flood) -> float:
    """On one connection. How long it took to be left, in seconds."""
    reads = what.code is not None
    with Peer(port, acknowledges=False, received_bytes=None if reads else 4096) as peer:
        start_s = time.monotonic()
        peer.send(what.sent)
        if reads:
            assert peer.end(LEFT_AFTER_S).codes == [what.code]
        return time.monotonic() - start_s


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_nobody_else_s_business(wire: Stub, honest: Honest, name: str) -> None:
    port, serving, what = wire.ports[0], wire.serving, FLOODS[name]
    flood(port, what)  # after which the memory is as it will be
    before_bytes = serving.memory_info().rss
    with watching(wire, serving) as seen, honest.calling():
        over_s, times = time.monotonic() + FLOOD_S, []
        while time.monotonic() < over_s:
            times.append(flood(port, what))
    grown_bytes = seen.rss_bytes - before_bytes
    print(f"{name}: {len(times)} connections, left after {max(times):.2f} s at most,")
    print(f"RSS grown by {grown_bytes / 1e6:.1f} MB, {seen.in_flight} calls at once")
    assert max(times) < LEFT_AFTER_S
    assert grown_bytes < RSS_GROWTH_BYTES
    # Of the connection that floods, of the one before it which is not yet left, and the honest.
    assert seen.in_flight <= 2 * STREAMS + HANDFUL


def test_a_window_of_a_byte_holds_up_nobody_else(wire: Stub, honest: Honest) -> None:
    peers = [Peer(wire.ports[0], (INITIAL_WINDOW_SIZE, 1), acknowledges=False) for _ in range(20)]
    try:
        for peer in peers:
            peer.send(*(call(stream) for stream in range(1, 2 * STREAMS, 2))).pong()
        over_s = time.monotonic() + FLOOD_S
        with honest.calling():
            number = 0
            while time.monotonic() < over_s:
                number += 1
                peers[number % len(peers)].send(window_update(2 * (number % STREAMS) + 1, 1))
                time.sleep(0.001)  # dribble, as slow as this
    finally:
        for peer in peers:
            peer.close()


def test_streams_left_open_on_many_connections_leave_some_to_others(wire: Stub) -> None:
    port, serving = wire.ports[0], wire.serving
    before_bytes = serving.memory_info().rss
    block = NO_TABLE + head(1)[9:]
    opened = [frame(HEADERS, END_HEADERS, 1, block), *(head(s) for s in range(3, 2 * STREAMS, 2))]
    peers = [Peer(port, acknowledges=False) for _ in range(CROWD // STREAMS + 2)]
    try:
        for peer in peers:
            peer.send(*opened).pong()
        until(lambda: refused(port) == 1)
        with Peer(port) as honest:
            for stream in range(1, 100, 2):
                assert honest.send(call(stream)).answer(stream).payment.invoice_id == "inv-1"
        grown_bytes = serving.memory_info().rss - before_bytes
    finally:
        for peer in peers:
            peer.close()
    print(f"{len(peers) * STREAMS} streams, RSS grown by {grown_bytes / 1e6:.1f} MB")
    assert grown_bytes < CROWD_RSS_BYTES
    until(lambda: refused(port) == 0)


def refused(port: int) -> int:
    """Of one stream more than few, how many a new connection may not open."""
    with Peer(port) as peer:
        peer.send(*(head(stream) for stream in range(1, 2 * FEW + 2, 2))).pong()
        resets = [answer.reset_with for answer in peer.answers.values()]
        return resets.count(REFUSED_STREAM)
