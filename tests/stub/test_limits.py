"""What a peer may do often, and when it is too often; what is odd and allowed."""

import pytest

from protos.payment.v1.payment_pb2 import Fault
from stub_payment.payments import payment_of_invoice
from tests.fakes.http2 import (
    ACK,
    CANCEL,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PRIORITY,
    REFUSED_STREAM,
    SETTINGS,
    frame,
    reset,
    settings,
    window_update,
)
from tests.stub.peer import PROMPT_S, Peer, asked, call, head
from tests.stub.process import Stub, until

pytestmark = pytest.mark.usefixtures("honest")

STREAMS = 1024
MAXIMUM = 2**31 - 1
RSS_GROWTH_BYTES = 20_000_000
DEFAULT_WINDOW = 65_535
# What may be done at once.
RESETS, CHATTER, SETTINGS_FRAMES, EMPTY_DATA = 1000, 25_000, 1000, 100

ping = frame(PING, 0, 0, bytes(8))
# Frames by what they are, and how many of them may come at once; stream 1 is open.
REPEATED: dict[str, tuple[bytes, int]] = {
    "SETTINGS": (settings(), SETTINGS_FRAMES),
    "acknowledgements": (frame(SETTINGS, ACK, 0), SETTINGS_FRAMES),
    "PING": (ping, CHATTER),
    "answers to PING": (frame(PING, ACK, 0, bytes(8)), CHATTER),
    "windows of the connection": (window_update(0, 1), CHATTER),
    "windows of a stream": (window_update(1, 1), CHATTER),
    "PRIORITY": (frame(PRIORITY, 0, 1, bytes(5)), CHATTER),
    "PRIORITY of idle streams": (frame(PRIORITY, 0, 999, bytes(5)), CHATTER),
    "frames of an unknown type": (frame(0xFA, 0xFF, 1, b"x"), CHATTER),
    "empty data": (frame(DATA, 0, 1), EMPTY_DATA),
    "padding without data": (frame(DATA, PADDED, 1, b"\x07" + bytes(7)), EMPTY_DATA),
    "a byte of data": (frame(DATA, 0, 1, b"\0"), CHATTER),
}


def test_what_the_stub_announces(wire: Stub) -> None:
    with Peer(wire.ports[0]) as peer:
        peer.pong()
        assert HEADER_TABLE_SIZE not in peer.settings  # as HTTP/2 has it, for who does not call
        assert peer.settings[MAX_CONCURRENT_STREAMS] == STREAMS
        assert peer.settings[MAX_HEADER_LIST_SIZE] == 16_384
        assert peer.settings[INITIAL_WINDOW_SIZE] > 4 * 2**20
        peer.send(call(1)).answer(1)
        assert peer.settings[HEADER_TABLE_SIZE] == 0


@pytest.mark.parametrize(("one", "allowed"), REPEATED.values(), ids=REPEATED.keys())
def test_what_carries_nothing_may_not_come_too_often(wire: Stub, one: bytes, allowed: int) -> None:
    # A body of 4 MB, of which a byte at a time comes.
    opened = head(1) + frame(DATA, 0, 1, (4_000_000).to_bytes(5, "big") + bytes(100))
    with Peer(wire.ports[0]) as peer:
        peer.send(opened, one * (allowed * 8 // 10)).pong()
        assert peer.ending.codes == []
    with Peer(wire.ports[0]) as peer:
        # As many again come in during what the first take.
        peer.send(opened, one * (allowed * 3))
        assert peer.end(PROMPT_S).codes == [ENHANCE_YOUR_CALM]


def test_resets_may_not_come_too_often(wire: Stub) -> None:
    wire.configure(faults=[Fault(share=1, hang=True)])
    with Peer(wire.ports[0]) as peer:
        streams = range(1, 2 * RESETS, 2)
        peer.send(*(call(stream) + reset(stream) for stream in streams[: RESETS * 8 // 10])).pong()
        assert peer.ending.codes == []
        until(lambda: wire.snapshot().calls_in_flight == 0)
    with Peer(wire.ports[0]) as peer:
        streams = range(1, 4 * RESETS, 2)
        peer.send(*(call(stream) + reset(stream) for stream in streams))
        assert peer.end(PROMPT_S).codes == [ENHANCE_YOUR_CALM]
    until(lambda: wire.snapshot().calls_in_flight == 0)
    seen = wire.snapshot()
    assert seen.calls["GetPayment"] <= RESETS * 8 // 10 + RESETS + RESETS // 2
    assert dict(seen.answers) == {}


def test_streams_beyond_the_maximum_are_refused(wire: Stub) -> None:
    wire.configure(faults=[Fault(share=1, hang=True)])
    with Peer(wire.ports[0]) as peer:
        streams = list(range(1, 2 * STREAMS + 10, 2))
        peer.send(*map(call, streams)).pong()
        refused = streams[STREAMS:]
        assert {stream: peer.answers[stream].reset_with for stream in peer.answers} == (
            dict.fromkeys(refused, REFUSED_STREAM)
        )
        assert wire.snapshot().calls_in_flight == STREAMS
        peer.send(frame(DATA, END_STREAM, refused[-1], b"late"), reset(streams[0]))
        peer.send(call(streams[-1] + 2)).pong()
        assert len(peer.answers) == len(refused)
        assert wire.snapshot().calls_in_flight == STREAMS
    until(lambda: wire.snapshot().calls_in_flight == 0)


def test_streams_may_not_be_refused_too_often(wire: Stub) -> None:
    wire.configure(faults=[Fault(share=1, hang=True)])
    with Peer(wire.ports[0]) as peer:
        peer.send(*map(call, range(1, 2 * (STREAMS + 2 * RESETS), 2)))
        assert peer.end(PROMPT_S).codes == [ENHANCE_YOUR_CALM]
    until(lambda: wire.snapshot().calls_in_flight == 0)
    assert wire.snapshot().calls["GetPayment"] == STREAMS


def test_stream_ids_do_not_run_out(wire: Stub) -> None:
    with Peer(wire.ports[0]) as peer:
        peer.send(call(MAXIMUM - 100_000)).answer(MAXIMUM - 100_000)
        assert peer.ending.codes == []
        peer.send(head(MAXIMUM)).pong()
        assert peer.ending.codes == [NO_ERROR]
        assert peer.ending.last_stream == MAXIMUM
        peer.send(frame(DATA, END_STREAM, MAXIMUM, asked()))
        assert peer.answer(MAXIMUM).payment == payment_of_invoice("inv-1")
        assert peer.end(PROMPT_S).codes == [NO_ERROR]


def test_a_client_hears_in_time_that_its_stream_ids_run_out(wire: Stub) -> None:
    with Peer(wire.ports[0]) as peer:
        first = MAXIMUM - 2 * STREAMS + 2
        peer.send(head(first)).pong()
        assert (peer.ending.codes, peer.ending.last_stream) == ([NO_ERROR], first)


def test_what_comes_for_a_stream_that_has_ended_is_ignored(wire: Stub) -> None:
    with Peer(wire.ports[0]) as peer:
        peer.send(call(1)).answer(1)
        priority = frame(PRIORITY, 0, 1, bytes(5))
        peer.send(window_update(1, 1), reset(1), priority, reset(1, CANCEL), call(3))
        assert peer.answer(3).payment == payment_of_invoice("inv-1")


def test_what_is_unknown_is_ignored(wire: Stub) -> None:
    with Peer(wire.ports[0], (0xFFFF, 7), (0, 0)) as peer:
        peer.send(frame(0x0B, 0xFF, 0, b"x" * 16_384), frame(0xFF, 0, 2**31 + 77))
        marked = bytearray(call(1))
        marked[4] |= 0xC2  # flags that HEADERS does not have
        marked[5] |= 0x80  # the bit of a stream's id that means nothing
        assert peer.send(bytes(marked)).answer(1).payment == payment_of_invoice("inv-1")


def test_a_window_may_shrink_below_nothing(wire: Stub) -> None:
    with Peer(wire.ports[0], (INITIAL_WINDOW_SIZE, 10)) as peer:
        peer.send(call(1)).pong()
        answer = peer.answers[1]
        assert (len(answer.body), answer.ended) == (10, False)
        peer.send(settings((INITIAL_WINDOW_SIZE, 0)), window_update(1, 5)).pong()
        assert len(answer.body) == 10
        peer.send(window_update(1, 6)).pong()
        assert len(answer.body) == 11
        peer.send(settings((INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)))
        assert peer.answer(1).payment == payment_of_invoice("inv-1")


def test_answers_share_the_window_of_the_connection(wire: Stub) -> None:
    with Peer(wire.ports[0]) as peer:
        streams = range(1, 2 * STREAMS, 2)
        peer.send(*map(call, streams)).pong()
        data = sum(len(answer.body) for answer in peer.answers.values())
        assert data == DEFAULT_WINDOW
        peer.send(window_update(0, MAXIMUM - DEFAULT_WINDOW))
        answers = [peer.answer(stream).payment for stream in streams]
        assert answers == [payment_of_invoice("inv-1")] * STREAMS


def test_who_never_reads_is_left(wire: Stub) -> None:
    serving = wire.serving

    def connected(peer: Peer) -> bool:
        return any(
            connection.raddr and connection.raddr.port == peer.port
            for connection in serving.net_connections("tcp")
        )

    long = asked("x" * 255)
    before_bytes = serving.memory_info().rss
    with Peer(wire.ports[0], (INITIAL_WINDOW_SIZE, MAXIMUM), received_bytes=4096) as peer:
        peer.send(window_update(0, MAXIMUM - DEFAULT_WINDOW))
        for first in range(1, 200_000, 2000):
            peer.send(*(call(stream, long) for stream in range(first, first + 2000, 2)))
            if not connected(peer):
                break
        else:
            raise AssertionError("100,000 answers are kept for one who never reads")
    assert serving.memory_info().rss - before_bytes < RSS_GROWTH_BYTES


def test_half_of_each_call_holds_no_memory(wire: Stub) -> None:
    """Messages of 4 MB, of which 4 kB come on each of 1,024 streams of 5 connections."""
    serving = wire.serving
    before_bytes = serving.memory_info().rss
    half = (4_000_000).to_bytes(5, "big") + bytes(4096)
    peers = [Peer(wire.ports[0]) for _ in range(5)]
    try:
        for peer in peers:
            streams = range(1, 2 * STREAMS, 2)
            peer.send(*(head(stream) + frame(DATA, 0, stream, half) for stream in streams))
        for peer in peers:
            peer.pong()
        assert serving.memory_info().rss - before_bytes < 2 * RSS_GROWTH_BYTES
    finally:
        for peer in peers:
            peer.close()
