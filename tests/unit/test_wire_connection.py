"""One connection of the wire engine: what goes through the peer's windows, how long it waits for
the peer, how it ends."""

import asyncio
from collections.abc import Iterable

import pytest
from hpack import Decoder
from hpack.exceptions import InvalidTableSizeError

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from stub_payment.payments import payment_of_invoice
from stub_payment.wire.limits import (
    BLOCKED_TIMEOUT_S,
    CHATTER_BURST,
    MAXIMUM_CONCURRENT_STREAMS,
    SWEEP_S,
)
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.stream import Stream
from tests.fakes.http2 import (
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    PROTOCOL_ERROR,
    frame,
    headers,
    settings,
    window_update,
)
from tests.stub.peer import asked, call, head
from tests.unit.wirepeer import WirePeer, in_loop, payment, shared

NO_WINDOW = (INITIAL_WINDOW_SIZE, 0)
MANY = range(1, 2 * MAXIMUM_CONCURRENT_STREAMS, 2)
FEW = range(3, 40, 2)
SIZE_UPDATE_TO_0 = b"\x20"
PEER_GOES_AWAY = frame(GOAWAY, 0, 0, bytes(8))


def calls(streams: Iterable[int]) -> bytes:
    """A call on each, all answered differently."""
    return b"".join(call(stream, asked(f"inv-{stream}")) for stream in streams)


def check_whole(peer: WirePeer, streams: Iterable[int]) -> None:
    """Each stream has its answer, once."""
    for stream in streams:
        assert peer.answers[stream].payment == payment_of_invoice(f"inv-{stream}")
        assert [found.ends_stream for found in peer.of(stream)].count(True) == 1
        assert peer.of(stream)[-1].ends_stream


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The streams whose answers the outbox tried to send on, in order."""
    ids: list[int] = []
    push = Outbox._push

    def watched(outbox: Outbox, stream: Stream) -> bool:
        ids.append(stream.id)
        return push(outbox, stream)

    monkeypatch.setattr(Outbox, "_push", watched)
    return ids


# Windows.


@in_loop
async def test_opening_a_window_that_is_open_costs_no_walk(looked_at: list[int]) -> None:
    peer = WirePeer(None, NO_WINDOW).send(calls(MANY))
    assert looked_at == list(MANY)
    looked_at.clear()
    peer.send(*[window_update(0, 1)] * 100)
    assert looked_at == []
    peer.send(settings((INITIAL_WINDOW_SIZE, 65_535)), window_update(0, 1 << 20))
    check_whole(peer, MANY)


@in_loop
async def test_windows_that_have_many_answers_looked_at_are_dear() -> None:
    """A window of the connection that is shut again at once, with a thousand answers behind it."""
    peer = peer_that_is_shut()
    peer.send(calls(range(3, 2 * 1000, 2)))
    updates = 0
    while not peer.connection._closing and updates < CHATTER_BURST:
        peer.send(*[window_update(0, 1)] * 10)
        updates += 10
    # Twice the burst, as the clock is looked at when it is gone, and what is refilled meanwhile.
    assert 0 < updates * (1 + 999 // 16) < 10 * CHATTER_BURST
    assert peer.frames[-1].kind == GOAWAY
    assert int.from_bytes(peer.frames[-1].payload[4:8], "big") == ENHANCE_YOUR_CALM


@in_loop
async def test_the_window_of_a_stream_has_that_stream_looked_at(looked_at: list[int]) -> None:
    peer = WirePeer(None, NO_WINDOW).send(calls(MANY))
    looked_at.clear()
    peer.send(*[window_update(stream, 1000) for stream in MANY])
    assert looked_at == list(MANY)
    peer.send(window_update(0, 1 << 20))
    check_whole(peer, MANY)


@in_loop
async def test_answers_come_whole_through_stream_windows_of_a_byte() -> None:
    peer = WirePeer(None, NO_WINDOW).send(calls(FEW))
    for _ in range(200):
        peer.send(*[window_update(stream, 1) for stream in FEW])
    check_whole(peer, FEW)
    assert {len(found.payload) for found in peer.frames if found.kind == DATA} == {1}


def peer_that_is_shut() -> WirePeer:
    """The connection's window is used up."""
    filler = Payment(payment_id="x" * (65_535 - 5 - 4))

    def fill_or_pay(request: GetPaymentRequest, *_: object) -> Payment:
        return filler if request.invoice_id == "filler" else payment(request)

    peer = WirePeer(shared(fill_or_pay)).send(call(1, asked("filler")))
    assert peer.answers[1].payment == filler
    return peer


@in_loop
async def test_answers_come_whole_through_a_connection_window_of_a_byte() -> None:
    peer = peer_that_is_shut().send(calls(FEW))
    assert not any(peer.answers[stream].body for stream in FEW)
    peer.send(*[window_update(0, 1)] * (200 * len(FEW)))
    check_whole(peer, FEW)


@in_loop
async def test_an_answer_does_not_wait_for_those_before_it() -> None:
    peer = peer_that_is_shut().send(settings(NO_WINDOW), calls(FEW))
    peer.send(window_update(FEW[-1], 1000), window_update(0, 1000))
    check_whole(peer, FEW[-1:])
    assert not any(peer.answers[stream].ended for stream in FEW[:-1])


@in_loop
async def test_an_answer_of_many_frames_comes_whole_and_ends() -> None:
    large = Payment(payment_id="x" * 60_000)
    peer = WirePeer(shared(lambda *_: large), (INITIAL_WINDOW_SIZE, 1000)).send(call(1))
    assert len(peer.answers[1].body) == 1000
    peer.send(window_update(1, 60_000))
    assert peer.answers[1].payment == large
    assert peer.of(1)[-1].kind == HEADERS


# The peer's header table.


@in_loop
async def test_the_loss_of_the_peers_table_is_said_once() -> None:
    peer = WirePeer(None, (HEADER_TABLE_SIZE, 0))
    peer.decoder.max_allowed_table_size = 0
    peer.send(calls(FEW))
    blocks = [found.payload for found in peer.frames if found.kind == HEADERS]
    assert [block.startswith(SIZE_UPDATE_TO_0) for block in blocks].count(True) == 1
    assert blocks[0].startswith(SIZE_UPDATE_TO_0)
    check_whole(peer, FEW)
    unwarned = Decoder()
    unwarned.max_allowed_table_size = 0
    with pytest.raises(InvalidTableSizeError):  # so one that heard nothing would not read it
        unwarned.decode(blocks[0].removeprefix(SIZE_UPDATE_TO_0))


# What waits for the peer.


@in_loop
async def test_a_blocked_answer_has_its_whole_time_after_a_slow_request() -> None:
    peer = WirePeer(None, NO_WINDOW).send(head(1)).sweep(12)
    peer.send(frame(DATA, END_STREAM, 1, asked())).sweep(BLOCKED_TIMEOUT_S)
    assert peer.ending.codes == []
    peer.sweep(2 * SWEEP_S)
    assert peer.ending.codes == [ENHANCE_YOUR_CALM]


@in_loop
async def test_an_answer_that_goes_byte_by_byte_has_no_more_time() -> None:
    peer = WirePeer(None, NO_WINDOW).send(call(1))
    for _ in range(3):
        peer.sweep(BLOCKED_TIMEOUT_S / 3).send(window_update(1, 1))
    assert peer.ending.codes == []
    assert peer.sweep(2.0).ending.codes == [ENHANCE_YOUR_CALM]


@in_loop
async def test_unsent_answers_outlive_the_peers_goaway() -> None:
    peer = WirePeer().send(calls(FEW), PEER_GOES_AWAY)
    assert peer.transport.eof
    peer.transport.unsent_bytes = 1000
    peer.sweep(BLOCKED_TIMEOUT_S)
    assert not peer.transport.aborted
    peer.transport.unsent_bytes = 0
    assert peer.sweep(SWEEP_S).transport.aborted


@in_loop
async def test_answers_that_nobody_reads_are_ended_after_the_peers_goaway() -> None:
    peer = WirePeer().send(calls(FEW), PEER_GOES_AWAY)
    peer.transport.unsent_bytes = 1000
    assert peer.sweep(BLOCKED_TIMEOUT_S + SWEEP_S).transport.aborted


@in_loop
async def test_answers_that_nobody_reads_end_the_connection() -> None:
    peer = WirePeer().send(calls(FEW))
    for unsent_bytes in range(2000, 0, -1):  # read slowly
        peer.transport.unsent_bytes = unsent_bytes
        peer.sweep(SWEEP_S)
    assert peer.sweep(BLOCKED_TIMEOUT_S).ending.codes == []
    assert peer.sweep(SWEEP_S).ending.codes == [ENHANCE_YOUR_CALM]
    assert peer.transport.eof


# After our own GOAWAY.


def going_away() -> WirePeer:
    """A connection that is retired, with a call of stream 1 that is yet to be sent whole, and one
    of stream 3 that it drops."""
    peer = WirePeer().send(head(1))
    peer.connection.retire()
    peer.send(head(3))
    assert peer.ending.codes == [NO_ERROR]
    assert peer.ending.last_stream == 1
    return peer


@in_loop
async def test_the_rest_of_a_dropped_stream_is_ignored() -> None:
    peer = going_away().send(frame(DATA, 0, 3, asked()), headers(3, {"x-end": "1"}, end=True))
    peer.send(frame(DATA, END_STREAM, 1, asked("inv-1")))
    check_whole(peer, [1])
    assert peer.ending.codes == [NO_ERROR]
    assert peer.of(3) == []
    await asyncio.sleep(0)


@pytest.mark.parametrize("stream", [0, 2, 4, 100])
@in_loop
async def test_data_of_no_request_ends_a_connection_that_drops_streams(stream: int) -> None:
    peer = going_away().send(frame(DATA, 0, stream, b"x"))
    assert peer.ending.codes == [NO_ERROR, PROTOCOL_ERROR]
    assert peer.transport.eof
