"""What peers of the wire engine may cost: bytes out for bytes in, messages that are held, frames
that say nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hpack import Encoder

from protos.payment.v1.payment_pb2 import Payment
from stub_payment.refusal import INTERNAL, OK, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNKNOWN
from stub_payment.wire import limits
from stub_payment.wire.frames import ConnectionFault, ErrorCode
from stub_payment.wire.limits import (
    MAXIMUM_HELD_BYTES,
    STREAMS_IN_A_CROWD,
    SWEEP_S,
    UNCOUNTED_BODY_BYTES,
    Allowance,
)
from tests.fakes.http2 import (
    COMPRESSION_ERROR,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PROTOCOL_ERROR,
    RST_STREAM,
    frame,
    message,
    reset,
)
from tests.stub.peer import CALL, asked, call, head
from tests.unit.wirepeer import WirePeer, in_loop, shared

MAXIMUM_REFUSAL_BYTES = 512


# Bytes out for bytes in.


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ({"grpc-encoding": "x" * 1000}, message(b"", flag=1), UNIMPLEMENTED),
        ({"grpc-encoding": "\xff" * 1000}, message(b"", flag=1), UNIMPLEMENTED),
        ({":path": "/" + "x" * 1000}, b"", UNIMPLEMENTED),
        ({":path": "/" + "\xff" * 1000}, b"", UNIMPLEMENTED),
        ({"x" * 1000 + "-bin": "?"}, b"", INTERNAL),
    ],
    ids=["encoding", "encoding of no ASCII", "path", "path of no ASCII", "name"],
)
@in_loop
async def test_the_refusal_of_a_small_call_is_small(
    fields: dict[str, str], body: bytes, status: int
) -> None:
    encoder = Encoder()
    peer = WirePeer()
    sent = []
    for stream in range(1, 200, 2):
        before_bytes = peer.transport.written_bytes
        block = encoder.encode({**CALL, **fields}.items(), huffman=False)
        sent = [frame(HEADERS, END_HEADERS, stream, block), frame(DATA, END_STREAM, stream, body)]
        peer.send(*sent)
        assert peer.answers[stream].status == status
        written_bytes = peer.transport.written_bytes - before_bytes
        assert written_bytes < MAXIMUM_REFUSAL_BYTES
    assert len(b"".join(sent)) <= 32  # all of the last ones' fields came from the table


# Messages that are held.


LARGE = asked("x" * 3000)
LARGE_HELD_BYTES = len(LARGE) - UNCOUNTED_BODY_BYTES
HALVES = [frame(DATA, 0, 1, LARGE[:2000]), frame(DATA, END_STREAM, 1, LARGE[2000:])]


async def answered(peer: WirePeer, answer: "asyncio.Future[Payment]") -> None:
    answer.set_result(Payment(payment_id="pay_1"))
    await peer.turn()
    assert peer.answers[1].status == OK


async def cancelled(peer: WirePeer, answer: "asyncio.Future[Payment]") -> None:
    peer.send(reset(1))
    await peer.turn()
    assert answer.cancelled()


async def lost(peer: WirePeer, answer: "asyncio.Future[Payment]") -> None:
    peer.connection.connection_lost(None)
    await peer.turn()
    assert answer.cancelled()


async def broken(peer: WirePeer, answer: "asyncio.Future[Payment]") -> None:
    peer.send(frame(PING, 0, 1, bytes(8)))
    await peer.turn()
    assert peer.ending.codes == [PROTOCOL_ERROR]
    assert answer.cancelled()


async def failed(peer: WirePeer, answer: "asyncio.Future[Payment]") -> None:
    answer.set_exception(ValueError("a bug"))
    await peer.turn()
    assert peer.answers[1].status == UNKNOWN


@pytest.mark.parametrize("end", [answered, cancelled, lost, broken, failed])
@in_loop
async def test_a_message_counts_until_its_stream_ends(
    end: Callable[[WirePeer, "asyncio.Future[Payment]"], Awaitable[None]],
) -> None:
    answer: asyncio.Future[Payment] = asyncio.get_running_loop().create_future()
    peer = WirePeer(shared(lambda *_: answer))
    held = peer.common.held
    peer.send(head(1), HALVES[0])
    assert MAXIMUM_HELD_BYTES - held.left_bytes == 2000 - UNCOUNTED_BODY_BYTES
    peer.send(HALVES[1])
    await peer.turn()
    assert MAXIMUM_HELD_BYTES - held.left_bytes == LARGE_HELD_BYTES
    await end(peer, answer)
    assert held.left_bytes == MAXIMUM_HELD_BYTES
    peer.connection.connection_lost(None)
    assert held.left_bytes == MAXIMUM_HELD_BYTES


@in_loop
async def test_a_message_that_is_refused_counts_no_more() -> None:
    peer = WirePeer()
    held = peer.common.held
    assert held.take(MAXIMUM_HELD_BYTES - LARGE_HELD_BYTES + 1)
    left_bytes = held.left_bytes
    peer.send(head(1), *HALVES)
    assert peer.answers[1].status == RESOURCE_EXHAUSTED
    assert held.left_bytes == left_bytes


@in_loop
async def test_small_messages_are_served_while_others_hold_all_that_may_be() -> None:
    peer = WirePeer()
    assert peer.common.held.take(MAXIMUM_HELD_BYTES)
    for stream, content in enumerate([asked("inv-1"), asked("x" * 900)]):
        stream = 2 * stream + 1
        cut = len(content) // 2
        peer.send(head(stream), frame(DATA, 0, stream, content[:cut]))
        peer.send(frame(DATA, END_STREAM, stream, content[cut:]))
        assert peer.answers[stream].status == OK
    assert peer.common.held.left_bytes == 0


# Frames that say nothing.


def take_all(allowance: Allowance, most: int) -> int:
    """How many can be taken now, of `most` that are tried."""
    for taken in range(most):
        try:
            allowance.take()
        except ConnectionFault as fault:
            assert fault.code is ErrorCode.ENHANCE_YOUR_CALM
            return taken
    return most


class Clock:
    """Seconds, as a test has them."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_an_allowance_is_its_burst_and_no_more() -> None:
    assert take_all(Allowance("x", 10, 5.0, Clock()), 100) == 10


def test_an_allowance_is_refilled_up_to_its_burst() -> None:
    clock = Clock()
    allowance = Allowance("x", 10, 5.0, clock)
    for _ in range(10):
        allowance.take()
    clock.now_s += 1000.0
    assert take_all(allowance, 100) == 10


@pytest.mark.parametrize(("per_s", "lasts"), [(3.0, True), (2.75, False)])
def test_an_allowance_keeps_fractions(per_s: float, lasts: bool) -> None:
    """One and two in turn each half a second are three a second."""
    clock = Clock()
    allowance = Allowance("x", 10, per_s, clock)
    allowance.take(10)
    taken = []
    for turn in range(1000):
        clock.now_s += 0.5
        taken.append(take_all(allowance, 1 + turn % 2))
    assert (taken == [1, 2] * 500) is lasts


def test_an_allowance_takes_many_at_once() -> None:
    clock = Clock()
    allowance = Allowance("x", 10, 5.0, clock)
    allowance.take(10)
    clock.now_s += 1.0
    allowance.take(5)
    with pytest.raises(ConnectionFault):
        allowance.take(1)


# Header blocks.


@pytest.mark.parametrize(
    ("updates", "codes"),
    [
        (b"\x20", []),
        (b"\x20\x3e", []),
        (b"\x20\x3f\xe1\x1f", []),
        (b"\x20\x20\x20", [COMPRESSION_ERROR]),
        (b"\x20\x3f\xe1\x1f\x20", [COMPRESSION_ERROR]),
        (b"\x20" * 1000, [COMPRESSION_ERROR]),
    ],
)
@in_loop
async def test_a_block_has_two_table_sizes_at_most(updates: bytes, codes: list[int]) -> None:
    begun = head(1)[9:]
    peer = WirePeer().send(frame(HEADERS, END_HEADERS, 1, updates + begun))
    peer.send(frame(DATA, END_STREAM, 1, asked()))
    assert peer.ending.codes == codes
    assert (1 in peer.answers) is (not codes)


# Streams of all connections.


@in_loop
async def test_in_a_crowd_a_connection_gets_few_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAXIMUM_OPEN_STREAMS", 100)
    crowd = WirePeer()
    crowd.send(*map(head, range(1, 2 * 101, 2)))
    other = WirePeer(crowd.common)
    other.sweep(SWEEP_S)
    ids = list(range(1, 2 * (STREAMS_IN_A_CROWD + 1), 2))
    other.send(*map(head, ids))
    refused = ids.pop()
    assert [found.kind for found in other.of(refused)] == [RST_STREAM]
    assert other.answers.keys() & set(ids) == set()
    other.send(*(frame(DATA, END_STREAM, stream, asked("inv-1")) for stream in ids))
    assert {other.answers[stream].status for stream in ids} == {OK}
    crowd.connection.connection_lost(None)
    other.sweep(SWEEP_S)
    later = range(101, 101 + 4 * STREAMS_IN_A_CROWD, 2)
    other.send(*(call(stream, asked("inv-1")) for stream in later))
    assert {other.answers[stream].status for stream in later} == {OK}
