"""Ordinary calls that come in one piece: answered as they are when their frames are taken one by
one."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stub_payment.refusal import DEADLINE_EXCEEDED, INTERNAL, NOT_FOUND, OK, UNKNOWN
from stub_payment.wire import limits
from stub_payment.wire.connection import Shared
from stub_payment.wire.limits import CONNECTION_WINDOW_BYTES
from stub_payment.wire.streams import Streams
from tests.fakes.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    message,
    reset,
    settings,
    window_update,
)
from tests.stub.peer import asked
from tests.unit.knowncalls import (
    GIVEN_UP,
    METHODS,
    TAKEN_BACK,
    call,
    check_alike,
    head,
    peer_whose_calls_are_known,
)
from tests.unit.wirepeer import WirePeer, in_loop


def body(stream: int, content: bytes, flags: int = END_STREAM) -> bytes:
    return head(stream) + frame(DATA, flags, stream, content)


def split(stream: int) -> bytes:
    block = head(stream)[9:]
    first = frame(HEADERS, 0, stream, block[:20])
    return first + frame(CONTINUATION, END_HEADERS, stream, block[20:])


def padded(stream: int) -> bytes:
    block = b"\2" + bytes(5) + head(stream)[9:] + bytes(2)
    return frame(HEADERS, END_HEADERS | PADDED | WITH_PRIORITY, stream, block)


@in_loop
async def test_no_stream_is_opened_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without which every other test here would show nothing."""
    peer, first = peer_whose_calls_are_known()
    monkeypatch.setattr(Streams, "opened", None)
    streams = range(first, first + 20, 2)
    peer.send(b"".join(call(stream, f"inv-{stream}") for stream in streams))
    for stream in streams:
        assert peer.answers[stream].payment.invoice_id == f"inv-{stream}"


PIECES: list[Callable[[int], bytes]] = [
    lambda stream: call(stream, f"inv-{stream}"),
    lambda stream: call(stream, changes={"grpc-timeout": "999850u", "x-request-id": "x" * 36}),
    lambda stream: call(stream, changes={"grpc-timeout": "0n"}),
    lambda stream: call(stream, changes={"grpc-timeout": "soon"}),
    lambda stream: call(stream, changes={":path": "/no.such/Method"}),
    lambda stream: call(stream, changes={"content-length": str(len(asked()))}),
    lambda stream: call(stream, "refused"),
    lambda stream: call(stream, "bug"),
    lambda stream: body(stream, asked("x" * 3000)),
    lambda stream: body(stream, message(b"\xff" * 9)),
    lambda stream: body(stream, message(b"x", flag=1)),
    lambda stream: body(stream, asked()[:-1]),
    lambda stream: body(stream, asked() + b"\0"),
    lambda stream: body(stream, b""),
    lambda stream: body(stream, b"\3" + asked() + bytes(3), END_STREAM | PADDED),
    lambda stream: head(stream) + frame(PING, 0, 0, bytes(8)) + call(stream)[len(head(stream)) :],
    lambda stream: call(stream, "later"),
    lambda stream: call(stream, changes={"x-request-id": "1" * 300}),
    lambda stream: call(stream, changes={"x-request-id": "a\nb"}),
    lambda stream: call(stream, changes={"traceparent": "00-1"}),
    lambda stream: call(stream, changes={"trace-bin": "not base64"}),
    lambda stream: call(stream, changes={"x-a": "a" * 2000}),
    lambda stream: frame(HEADERS, END_HEADERS, stream, TAKEN_BACK + head(stream)[9:]),
    lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, head(stream)[9:]),
    lambda stream: frame(HEADERS, END_HEADERS | 0x40, stream, head(stream)[9:]),
    lambda stream: split(stream) + call(stream)[len(head(stream)) :],
    lambda stream: padded(stream) + call(stream)[len(head(stream)) :],
    lambda stream: body(stream, asked(), END_STREAM | 0x40),
    lambda stream: body(stream, asked(), 0) + frame(DATA, END_STREAM, stream),
    lambda stream: head(stream) + frame(DATA, END_STREAM, stream | 1 << 31, asked()),
    lambda stream: frame(HEADERS, END_HEADERS, stream | 1 << 31, head(stream)[9:]),
    lambda stream: head(stream) + reset(stream),
    lambda stream: call(stream) + window_update(0, 9),
    lambda _stream: settings((INITIAL_WINDOW_SIZE, 10)),
    lambda _stream: settings((INITIAL_WINDOW_SIZE, 65_535)),
    # What ends the connection.
    lambda stream: body(stream, message(bytes(16_384))),
    lambda stream: head(stream) + frame(DATA, END_STREAM, stream + 2, asked()),
    lambda stream: head(stream + 2) + frame(DATA, END_STREAM, stream, asked()),
    lambda stream: call(stream, "later") + frame(DATA, END_STREAM, stream, asked()),
    lambda stream: b"\1" + call(stream)[1:],
    lambda stream: head(stream) + b"\1" + call(stream)[len(head(stream)) + 1 :],
    lambda stream: call(stream - 2),
    lambda stream: call(stream + 1),
    lambda stream: call(stream + 4),
    lambda stream: call(stream, changes={"connection": "close"}),
    lambda stream: head(stream)[:-3] + frame(DATA, END_STREAM, stream, asked()),
    lambda stream: call(stream) + frame(DATA, END_STREAM, stream, asked()),
]

# After which the connection closes, with as much of what follows as came in the same read.
LAST_PIECES: list[Callable[[int], bytes]] = [
    lambda _stream: b"",
    lambda stream: call(stream, "leaves"),
    lambda _stream: frame(GOAWAY, 0, 0, bytes(8)),
]


@given(
    st.lists(st.sampled_from([*PIECES[:1] * len(PIECES), *PIECES]), max_size=12),
    st.sampled_from(LAST_PIECES),
    st.lists(st.integers(1, 600), max_size=9),
    st.booleans(),
)
@in_loop
async def test_a_piece_is_answered_as_its_frames_are(
    pieces: list[Callable[[int], bytes]],
    last: Callable[[int], bytes],
    sizes: list[int],
    wants_request_ids: bool,
) -> None:
    await check_alike(in_a_row([*pieces, last]), sizes, wants_request_ids)


@pytest.mark.parametrize("piece", PIECES)
@in_loop
async def test_each_piece_is_answered_as_its_frames_are(piece: Callable[[int], bytes]) -> None:
    await check_alike(in_a_row([PIECES[0], piece, PIECES[0]]), [], True)


def in_a_row(pieces: list[Callable[[int], bytes]]) -> Callable[[int], bytes]:
    """Pieces of one stream each, the first of which is given."""
    return lambda first: b"".join(piece(first + 2 * at) for at, piece in enumerate(pieces))


@in_loop
async def test_a_request_id_is_the_calls_own() -> None:
    peer, first = peer_whose_calls_are_known()
    streams = range(first, first + 6, 2)
    peer.send(*(call(stream, changes={"x-request-id": f"id-{stream}"}) for stream in streams))
    keys = [peer.answers[stream].payment.idempotency_key for stream in streams]
    assert keys == [f"id-{stream}" for stream in streams]


@pytest.mark.parametrize("has_room", [True, False])
@in_loop
async def test_a_client_is_asked_once_to_give_its_table_up(has_room: bool) -> None:
    """By its first call, be it one that is refused: later ones may never come by there."""
    peer = WirePeer(Shared(METHODS, SimpleNamespace(remembers_request_ids=True)))
    peer.connection.sweep(limits.STREAMS_IN_A_CROWD if has_room else 0)
    peer.send(frame(HEADERS, END_HEADERS, 1, GIVEN_UP + head(1)[9:]), call(3))
    peer.connection.sweep(limits.STREAMS_IN_A_CROWD)
    peer.send(call(5), call(7))
    asked_for = [found.payload for found in peer.frames if found.kind == SETTINGS]
    assert asked_for.count(settings((HEADER_TABLE_SIZE, 0))[9:]) == 1
    assert peer.answers[7].status == OK


@in_loop
async def test_a_call_that_has_no_time_left_is_not_answered() -> None:
    peer, first = peer_whose_calls_are_known()
    peer.send(call(first, changes={"grpc-timeout": "0n"}), call(first + 2))
    assert [peer.answers[first + at].status for at in (0, 2)] == [DEADLINE_EXCEEDED, OK]


@in_loop
async def test_nothing_is_taken_behind_a_call_that_leaves() -> None:
    """The GOAWAY names it as the last: a client may ask for all later ones elsewhere."""
    peer, first = peer_whose_calls_are_known()
    peer.send(call(first, "leaves"), call(first + 2))
    assert peer.ending.last_stream == first
    assert peer.answers[first].status == OK and first + 2 not in peer.answers


@in_loop
async def test_what_comes_of_a_call_is_said_to_its_caller() -> None:
    peer, first = peer_whose_calls_are_known()
    asking = ["inv-1", "refused", "bug", "later", "inv-2"]
    calls = b"".join(call(first + 2 * at, invoice) for at, invoice in enumerate(asking))
    undecodable = first + 2 * len(asking)
    peer.send(calls, body(undecodable, message(b"\xff" * 9)))
    await peer.turn()
    statuses = [peer.answers[stream].status for stream in range(first, undecodable + 2, 2)]
    assert statuses == [OK, NOT_FOUND, UNKNOWN, OK, OK, INTERNAL]
    assert peer.connection.open_streams == 0


@in_loop
async def test_a_call_that_resets_its_connection_does() -> None:
    peer, first = peer_whose_calls_are_known()
    peer.send(call(first, "reset"), call(first + 2))
    assert peer.transport.aborted
    assert not peer.of(first) and not peer.of(first + 2)


@in_loop
async def test_the_window_of_the_connection_is_topped_up() -> None:
    peer, stream = peer_whose_calls_are_known()
    peer.send(window_update(0, 2**30))
    sent_bytes, before = 0, len(peer.frames)
    while sent_bytes <= CONNECTION_WINDOW_BYTES // 4:
        calls = [call(stream + 2 * at, "x" * 250) for at in range(256)]
        sent_bytes += len(calls) * len(asked("x" * 250))
        stream += 2 * len(calls)
        peer.send(*calls)
    peer.send(call(stream), call(stream + 2))  # after which nothing more is granted
    (update,) = [found for found in peer.frames[before:] if found.kind == WINDOW_UPDATE]
    granted_bytes = int.from_bytes(update.payload, "big")
    assert CONNECTION_WINDOW_BYTES // 4 < granted_bytes <= sent_bytes + 2 * len(asked())


@in_loop
async def test_a_connection_that_ends_takes_no_more() -> None:
    peer, first = peer_whose_calls_are_known()
    peer.connection.retire()
    peer.send(call(first), call(first + 2))
    await peer.turn()
    assert GOAWAY in [found.kind for found in peer.frames]
    assert first not in peer.answers


@in_loop
async def test_no_more_streams_than_may_be_open() -> None:
    """Answers that wait keep theirs open, and later calls do not pass them by."""
    peer, first = peer_whose_calls_are_known()
    peer.send(settings((INITIAL_WINDOW_SIZE, 0)))
    peer.connection.sweep(2)
    peer.send(*(call(first + 2 * at) for at in range(4)))
    assert peer.connection.open_streams == 2
    assert [peer.answers[first + 2 * at].reset_with for at in range(4)] == [None, None, 7, 7]
