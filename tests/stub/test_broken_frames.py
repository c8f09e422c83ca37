"""Frames and header blocks that no peer may send: a GOAWAY with the right code, and a close."""

import struct
from collections.abc import Iterable

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from protos.payment.v1.payment_pb2 import Fault
from tests.fakes.http2 import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    headers,
    integer,
    literal,
    reset,
    settings,
    text,
    window_update,
)
from tests.stub.peer import CALL, PROMPT_S, Peer, call, head
from tests.stub.process import Stub, until

pytestmark = pytest.mark.usefixtures("honest")

MAXIMUM = 2**31 - 1
HPACK_BOMB_FIELDS = 4000
RSS_GROWTH_BYTES = 20_000_000
# What a call's header block begins with; it goes into no table.
BEGINNING = b"".join(literal(name.encode(), value.encode()) for name, value in CALL.items())


def block(content: bytes, *, first: bytes = b"", flags: int = END_HEADERS | END_STREAM) -> bytes:
    """HEADERS of stream 1: a good call's, with something before and something after."""
    return frame(HEADERS, flags, 1, first + BEGINNING + content)


def priority(stream: int, depends_on: int = 0, size: int = 5) -> bytes:
    return frame(PRIORITY, 0, stream, struct.pack(">IB", depends_on, 15).ljust(size, b"\0")[:size])


def huffman(value: bytes) -> bytes:
    """A string in Huffman's code."""
    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(value)
    return integer(len(coded), 7, 0x80) + coded


def coded(value: bytes) -> bytes:
    """A field whose value has the flag of Huffman's code, and these bytes."""
    return b"\0" + text(b"x-meta") + integer(len(value), 7, 0x80) + value


def continued(parts: Iterable[bytes]) -> bytes:
    """A good call's HEADERS and CONTINUATIONs that never end."""
    more = b"".join(frame(CONTINUATION, 0, 1, part) for part in parts)
    return frame(HEADERS, 0, 1, BEGINNING) + more


def with_fields(*changes: tuple[str, str]) -> bytes:
    """HEADERS of stream 1 with fields after those of a good call."""
    return headers(1, [*CALL.items(), *changes], end=True)


FRAMES = {
    # Frames and their streams.
    "headers of no stream": (head(0), PROTOCOL_ERROR),
    "data of no stream": (frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "an even stream": (call(2), PROTOCOL_ERROR),
    "a stream below another": (call(5) + call(3), PROTOCOL_ERROR),
    "a stream twice": (call(1) + call(1), STREAM_CLOSED),
    "data of an idle stream": (frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
    "data of a stream that has ended": (call(1) + frame(DATA, 0, 1, b"x"), STREAM_CLOSED),
    "a window for an idle stream": (window_update(1, 1), PROTOCOL_ERROR),
    "a reset of an idle stream": (reset(1), PROTOCOL_ERROR),
    "a reset of no stream": (reset(0), PROTOCOL_ERROR),
    "a reset of 3 bytes": (head(1) + frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    "a frame of 16,385 bytes": (head(1) + frame(DATA, 0, 1, bytes(16_385)), FRAME_SIZE_ERROR),
    "the head of a frame of 16 MB": (b"\xff\xff\xff\0\0" + bytes(4), FRAME_SIZE_ERROR),
    "a push": (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), PROTOCOL_ERROR),
    "more padding than data": (head(1) + frame(DATA, PADDED, 1, b"\5abcd"), PROTOCOL_ERROR),
    "padding without its length": (head(1) + frame(DATA, PADDED, 1), FRAME_SIZE_ERROR),
    "more padding than headers": (
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + BEGINNING[:100]),
        PROTOCOL_ERROR,
    ),
    # SETTINGS, PING, GOAWAY, windows.
    "push is 2": (settings((ENABLE_PUSH, 2)), PROTOCOL_ERROR),
    "frames of 1 byte": (settings((MAX_FRAME_SIZE, 1)), PROTOCOL_ERROR),
    "frames of 16 MB and 1": (settings((MAX_FRAME_SIZE, 2**24)), PROTOCOL_ERROR),
    "a window of 2^31": (settings((INITIAL_WINDOW_SIZE, 2**31)), FLOW_CONTROL_ERROR),
    "33 settings": (settings(*[(0xF000, 1)] * 33), ENHANCE_YOUR_CALM),
    "half a setting": (frame(SETTINGS, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "settings of a stream": (frame(SETTINGS, 0, 1), PROTOCOL_ERROR),
    "settings that acknowledge and set": (frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    "a ping of 7 bytes": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "a ping of a stream": (frame(PING, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "a goaway of 7 bytes": (frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "a goaway of a stream": (frame(GOAWAY, 0, 1, bytes(8)), PROTOCOL_ERROR),
    "a window opened by nothing": (window_update(0, 0), PROTOCOL_ERROR),
    "a window over 2^31-1": (window_update(0, MAXIMUM), FLOW_CONTROL_ERROR),
    "a window of 5 bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    "windows that go over by a setting": (
        head(1) + window_update(1, MAXIMUM - 65_535) + settings((INITIAL_WINDOW_SIZE, 65_536)),
        FLOW_CONTROL_ERROR,
    ),
    "more data than the window": (
        head(1, {":path": "/", "content-type": None})
        + frame(DATA, 0, 1, bytes(16_384)) * (4 * 2**20 // 16_384 + 5),
        FLOW_CONTROL_ERROR,
    ),
    # Header blocks in frames.
    "a continuation of nothing": (frame(CONTINUATION, END_HEADERS, 1), PROTOCOL_ERROR),
    "a ping in a header block": (continued([]) + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "a header block on two streams": (
        continued([]) + frame(CONTINUATION, END_HEADERS, 3),
        PROTOCOL_ERROR,
    ),
    "9 continuations": (continued([literal(b"a", b"b")] * 9), ENHANCE_YOUR_CALM),
    "9 empty continuations": (continued([b""] * 9), ENHANCE_YOUR_CALM),
    "a header block of 16 kB": (continued([bytes(9000)] * 2), ENHANCE_YOUR_CALM),
    "a field of 16 kB": (with_fields(("a", "b" * 16_100)), ENHANCE_YOUR_CALM),
    "500 small fields": (with_fields(*[("a", "")] * 500), ENHANCE_YOUR_CALM),
    "headers that depend on themselves": (
        frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, struct.pack(">IB", 1, 0) + BEGINNING),
        PROTOCOL_ERROR,
    ),
    # HPACK.
    "a table bomb": (
        block(literal(b"x", b"y" * 3900, b"\x40"), flags=END_HEADERS)
        + frame(HEADERS, END_HEADERS, 3, b"\xbe" * HPACK_BOMB_FIELDS),
        ENHANCE_YOUR_CALM,
    ),
    "index 0": (block(b"\x80"), COMPRESSION_ERROR),
    "an index that is in no table": (block(integer(62, 7, 0x80)), COMPRESSION_ERROR),
    "an index over 2^32": (block(integer(2**40, 7, 0x80)), COMPRESSION_ERROR),
    "an index that never ends": (block(b"\xff" + b"\x80" * 10_000), COMPRESSION_ERROR),
    "a name that is in no table": (block(integer(70, 4) + text(b"x")), COMPRESSION_ERROR),
    "a string over 2^32": (block(b"\0" + integer(2**40, 7) + b"x"), COMPRESSION_ERROR),
    "a string that is longer than its block": (
        block(b"\0" + integer(9, 7) + b"x"),
        COMPRESSION_ERROR,
    ),
    "half a field": (block(b"\0" + text(b"x")), COMPRESSION_ERROR),
    "the end of Huffman's code": (block(coded(b"\xff\xff\xff\xff")), COMPRESSION_ERROR),
    "a byte of padding in Huffman's code": (block(coded(b"\x1f\xff")), COMPRESSION_ERROR),
    "padding with zeros in Huffman's code": (block(coded(b"\x18")), COMPRESSION_ERROR),
    "a table over 4,096 bytes": (block(b"", first=integer(4097, 5, 0x20)), COMPRESSION_ERROR),
    "a table of 2^40 bytes": (block(b"", first=integer(2**40, 5, 0x20)), COMPRESSION_ERROR),
    "a table's size three times": (
        block(b"", first=b"\x20" + integer(4096, 5, 0x20) + b"\x20"),
        COMPRESSION_ERROR,
    ),
    "a table's size after a field": (block(integer(0, 5, 0x20)), COMPRESSION_ERROR),
    # Requests.
    "an upper-case name": (with_fields(("X-Meta", "x")), PROTOCOL_ERROR),
    "an empty name": (with_fields(("", "x")), PROTOCOL_ERROR),
    "a space in a name": (with_fields(("x meta", "x")), PROTOCOL_ERROR),
    "a NUL in a value": (with_fields(("x-meta", "a\0b")), PROTOCOL_ERROR),
    "a line's end in a value": (with_fields(("x-meta", "a\r\nb")), PROTOCOL_ERROR),
    "a NUL in a value in Huffman's code": (
        block(b"\0" + text(b"x-meta") + huffman(b"a\0b")),
        PROTOCOL_ERROR,
    ),
    "a connection's field": (with_fields(("connection", "close")), PROTOCOL_ERROR),
    "transfer-encoding": (with_fields(("transfer-encoding", "chunked")), PROTOCOL_ERROR),
    "te that is not trailers": (with_fields(("te", "gzip")), PROTOCOL_ERROR),
    "a pseudo-header field after others": (with_fields((":path", "/x")), PROTOCOL_ERROR),
    "an unknown pseudo-header field": (
        block(b"", first=literal(b":version", b"2")),
        PROTOCOL_ERROR,
    ),
    "a pseudo-header field of an answer": (
        block(b"", first=literal(b":status", b"200")),
        PROTOCOL_ERROR,
    ),
    "two paths": (block(b"", first=literal(b":path", b"/x")), PROTOCOL_ERROR),
    "no path": (call(1, changes={":path": None}), PROTOCOL_ERROR),
    "an empty path": (call(1, changes={":path": ""}), PROTOCOL_ERROR),
    "no method": (call(1, changes={":method": None}), PROTOCOL_ERROR),
    "no scheme": (call(1, changes={":scheme": None}), PROTOCOL_ERROR),
    "a content-length that is no number": (
        call(1, changes={"content-length": "1x"}),
        PROTOCOL_ERROR,
    ),
    "less data than content-length": (call(1, changes={"content-length": "99"}), PROTOCOL_ERROR),
    "more data than content-length": (call(1, changes={"content-length": "1"}), PROTOCOL_ERROR),
    "trailers with a pseudo-header field": (
        head(1) + headers(1, {":path": "/"}, end=True),
        PROTOCOL_ERROR,
    ),
    "trailers that end nothing": (head(1) + headers(1, {"x-meta": "x"}), PROTOCOL_ERROR),
}
# What an ill-advised server answers with a reset, for which nobody pays: CVE-2025-8671.
MADE_TO_RESET = {
    "a window opened by nothing": (window_update(1, 0), PROTOCOL_ERROR),
    "a window over 2^31-1": (window_update(1, MAXIMUM), FLOW_CONTROL_ERROR),
    "a priority of 4 bytes": (priority(1, size=4), FRAME_SIZE_ERROR),
    "a stream that depends on itself": (priority(1, depends_on=1), PROTOCOL_ERROR),
    "headers after the end": (headers(1, {"x-meta": "x"}, end=True), STREAM_CLOSED),
    "data after the end": (frame(DATA, 0, 1, b"x"), STREAM_CLOSED),
}
OPENINGS = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: stub\r\n\r\n",
    "HTTP/1.1 that would change over": b"GET / HTTP/1.1\r\nHost: stub\r\nConnection: Upgrade,"
    b" HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "garbage": bytes(range(256)) * 100,
    "one wrong byte of the preface": PREFACE[:-1] + b"\r",
    "a frame that is not SETTINGS": PREFACE + frame(PING, 0, 0, bytes(8)),
    "SETTINGS that acknowledge": PREFACE + frame(SETTINGS, ACK, 0),
    "a call before SETTINGS": PREFACE + call(1),
}


@pytest.mark.parametrize(("sent", "code"), FRAMES.values(), ids=FRAMES.keys())
def test_frames_that_may_not_be_end_the_connection(wire: Stub, sent: bytes, code: int) -> None:
    # Else its acknowledgement would come between the frames of a header block.
    with Peer(wire.ports[0], acknowledges=False) as peer:
        assert peer.send(sent).end(PROMPT_S).codes == [code]


@pytest.mark.parametrize(("sent", "code"), MADE_TO_RESET.values(), ids=MADE_TO_RESET.keys())
def test_what_would_make_the_stub_reset_a_stream_ends_the_connection(
    wire: Stub, sent: bytes, code: int
) -> None:
    wire.configure(faults=[Fault(share=1, hang=True)])
    with Peer(wire.ports[0]) as peer:
        peer.send(call(1))
        until(lambda: wire.snapshot().calls_in_flight == 1)
        assert peer.send(sent).end(PROMPT_S).codes == [code]
        assert not any(answer.fields for answer in peer.answers.values())
        until(lambda: wire.snapshot().calls_in_flight == 0)


@pytest.mark.parametrize("sent", OPENINGS.values(), ids=OPENINGS.keys())
def test_who_does_not_speak_http2_is_left(wire: Stub, sent: bytes) -> None:
    with Peer(wire.ports[0], greets=False, acknowledges=False) as peer:
        assert peer.send(sent).end(PROMPT_S).codes == [PROTOCOL_ERROR]


def test_a_table_bomb_takes_no_memory(wire: Stub) -> None:
    sent, code = FRAMES["a table bomb"]
    serving = wire.serving
    before_bytes = serving.memory_info().rss
    for _ in range(50):
        with Peer(wire.ports[0]) as peer:
            assert peer.send(sent).end(PROMPT_S).codes == [code]
    assert serving.memory_info().rss - before_bytes < RSS_GROWTH_BYTES
