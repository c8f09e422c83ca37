"""Whatever bytes come, cut wherever: a connection of the wire engine says frames and raises
nothing."""

import asyncio

from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from stub_payment.wire.limits import BLOCKED_TIMEOUT_S, MAXIMUM_HELD_BYTES, REQUEST_TIMEOUT_S
from stub_payment.wire.methods import Method
from tests.fakes.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    frame,
    message,
    reset,
    settings,
    window_update,
)
from tests.stub.peer import CALL, GET_PAYMENT, asked, call, head
from tests.unit.wirepeer import WirePeer, cut, in_loop, payment, shared_methods


async def later(request: GetPaymentRequest, *_: object) -> Payment:
    """Answers some turns of the loop later."""
    await asyncio.sleep(0)
    return payment(request)


METHODS, METHODS_LATER = (
    {GET_PAYMENT.encode(): Method(GetPaymentRequest.FromString, answer)}
    for answer in (payment, later)
)
IDS = st.integers(0, 9) | st.sampled_from([101, 2**31 - 1, 2**32 - 1])
U32 = st.sampled_from([0, 1, 100, 65_535, 2**31 - 1, 2**32 - 1]).map(lambda n: n.to_bytes(4, "big"))
NAMES = st.sampled_from(
    [*CALL, "grpc-timeout", "grpc-encoding", "content-length", "x-bin", "connection", "x-a", ""]
)
VALUES = st.sampled_from([*CALL.values(), "/", "GET", "1S", "0n", "gzip", "9", "a\n", "\xff", ""])
BLOCKS = st.one_of(
    st.binary(max_size=40),
    st.lists(st.tuples(NAMES, VALUES), max_size=12).map(lambda fields: Encoder().encode(fields)),
    st.sampled_from([{}, {":path": "/"}, {":path": "/no.such/Method"}]).map(
        lambda changes: head(1, changes)[9:]
    ),
    st.builds(
        lambda first, more: bytes([first]) + b"\xff" * more + b"\1",
        st.sampled_from([0xFF, 0x7F, 0x3F, 0x1F, 0x0F]),
        st.integers(0, 3000),
    ),
)
PAYLOADS = st.one_of(
    st.binary(max_size=40),
    BLOCKS,
    U32,
    st.lists(st.tuples(st.integers(0, 8).map(lambda n: n.to_bytes(2, "big")), U32)).map(
        lambda entries: b"".join(key + value for key, value in entries)
    ),
    st.just(asked()),
    st.builds(message, st.binary(max_size=9), flag=st.integers(0, 2)),
)
FRAMES = st.builds(
    frame,
    st.integers(0, 10),
    st.sampled_from([0, 1, END_HEADERS, END_HEADERS | 1, 0xFF, PADDED, WITH_PRIORITY]),
    IDS,
    PAYLOADS,
)
GREETING = PREFACE + settings()
CUTS = st.lists(st.integers(1, 200), max_size=30)


def check_sane(peer: WirePeer) -> None:
    """Whole frames, of streams that ended once; and a GOAWAY before an end."""
    assert not peer.unread
    assert peer.frames[0].kind == SETTINGS
    for stream in peer.answers:
        assert [found.ends_stream for found in peer.of(stream)].count(True) <= 1
    if peer.transport.eof:
        assert peer.frames[-1].kind == GOAWAY or peer.ending.codes == [NO_ERROR]


SPLIT = head(1)[9:]
# What may come at any time of a session, given the id of the stream that is next.
SESSIONS = st.lists(
    st.sampled_from(
        [
            lambda stream: call(stream, asked(f"inv-{stream}")),
            lambda stream: call(stream, changes={"grpc-timeout": "1S", "x-request-id": "id"}),
            lambda stream: call(stream, changes={":path": "/no.such/Method"}),
            lambda stream: call(stream, b"\1\0\0\0\1x", {"grpc-encoding": "gzip"}),
            lambda stream: head(stream, {":path": "/", ":method": "GET"}, end=True),
            lambda stream: (
                head(stream)
                + frame(DATA, 0, stream)
                + frame(DATA, 0, stream, asked()[:4])
                + frame(PING, 0, 0, stream.to_bytes(8, "big"))
                + frame(DATA, END_STREAM | PADDED, stream, b"\3" + asked()[4:] + bytes(3))
            ),
            lambda stream: (
                frame(HEADERS, 0, stream, SPLIT[:20])
                + frame(CONTINUATION, 0, stream, SPLIT[20:30])
                + frame(CONTINUATION, END_HEADERS, stream, SPLIT[30:])
                + frame(DATA, END_STREAM, stream, asked("x" * 3000))
            ),
            lambda stream: head(stream) + reset(stream),
            lambda _stream: settings((HEADER_TABLE_SIZE, 0), (INITIAL_WINDOW_SIZE, 10)),
            lambda _stream: settings((INITIAL_WINDOW_SIZE, 65_535)),
            lambda _stream: window_update(0, 1),
            lambda stream: call(stream) + window_update(stream, 100),
            lambda _stream: frame(200, 0, 7, b"unknown"),
        ]
    ),
    max_size=12,
).map(lambda pieces: GREETING + b"".join(piece(2 * at + 1) for at, piece in enumerate(pieces)))


# Where in a session (in per cent) how many bytes are lost, and what is there instead.
DAMAGE = st.tuples(
    st.integers(0, 100), st.integers(0, 40), st.one_of(FRAMES, st.binary(max_size=9), st.just(b""))
)


@given(SESSIONS, st.lists(DAMAGE, max_size=3), CUTS, st.booleans())
@in_loop
async def test_any_bytes_are_answered_by_frames(
    session: bytes, damages: list[tuple[int, int, bytes]], sizes: list[int], asynchronous: bool
) -> None:
    for per_cent, lost_bytes, instead in damages:
        at = per_cent * len(session) // 100
        session = session[:at] + instead + session[at + lost_bytes :]
    peer = WirePeer(shared_methods(METHODS_LATER if asynchronous else METHODS), greets=False)
    for number, part in enumerate(cut(session, sizes)):
        peer.send(part)
        if number % 2:
            await peer.turn()
    await peer.turn()
    check_sane(peer)
    peer.sweep(REQUEST_TIMEOUT_S + 2)
    check_sane(peer)
    if peer.transport.eof:
        assert peer.sweep(BLOCKED_TIMEOUT_S + 1).transport.aborted
    peer.connection.connection_lost(None)
    assert peer.common.held.left_bytes == MAXIMUM_HELD_BYTES
    assert not peer.common.connections


@given(SESSIONS, CUTS)
@in_loop
async def test_a_session_is_answered_alike_however_it_is_cut(
    session: bytes, sizes: list[int]
) -> None:
    whole, parts, bytewise = (WirePeer(shared_methods(METHODS), greets=False) for _ in range(3))
    whole.send(session)
    assert whole.ending.codes == []
    for part in cut(session, sizes):
        parts.send(part)
    for byte in session:
        bytewise.send(bytes([byte]))
    assert parts.frames == whole.frames
    assert bytewise.frames == whole.frames
