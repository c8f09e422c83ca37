"""HTTP/2 frames and gRPC messages by hand, as one that misbehaves may send them: RFC 9113, and of
RFC 7541 what needs no table."""

import struct
from collections.abc import Iterable, Mapping

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types of frames.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)

# Their flags.
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

# Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6

# Error codes.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
ENHANCE_YOUR_CALM = 11


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def headers(
    stream: int, fields: Mapping[str, str] | Iterable[tuple[str, str]], *, end: bool = False
) -> bytes:
    """A HEADERS frame, each field a literal that goes into no table."""
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    block = b"".join(literal(name.encode(), _octets(value)) for name, value in pairs)
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block)


def _octets(value: str) -> bytes:
    return value.encode(errors="surrogateescape")


def literal(name: bytes, value: bytes, first: bytes = b"\0") -> bytes:
    """A field of a header block (RFC 7541, 6.2); `first` 0x10: never indexed, 0x40: into the
    table."""
    return first + text(name) + text(value)


def text(value: bytes) -> bytes:
    """A string of a header block without Huffman's code (RFC 7541, 5.2)."""
    return integer(len(value), 7) + value


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """An integer with a prefix of so many bits, beside which are those of `first` (RFC 7541,
    5.1)."""
    full = (1 << bits) - 1
    if value < full:
        return bytes([first | value])
    coded, value = bytearray([first | full]), value - full
    while value >= 128:
        coded.append(value % 128 + 128)
        value //= 128
    return bytes([*coded, value])


def settings(*entries: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *entry) for entry in entries))


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def reset(stream: int, code: int = CANCEL) -> bytes:
    """An RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def message(content: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message of gRPC: flag, length, content."""
    return struct.pack(">BI", flag, len(content) if length is None else length) + content
