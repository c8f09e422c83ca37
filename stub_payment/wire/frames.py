"""HTTP/2 frames (RFC 9113, sections 4, 6 and 7): their types, flags, errors and bytes."""

import struct
from enum import IntEnum

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER_BYTES = 9
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAM_MASK = 0x7FFF_FFFF
MAXIMUM_WINDOW = 0x7FFF_FFFF
DEFAULT_WINDOW = 65_535

# A frame's header: the upper 16 and the lower 8 bits of its length, type, flags, stream.
read_header = struct.Struct(">HBBBI").unpack_from
_pack_header = struct.Struct(">HBBBI").pack
pack_u32 = struct.Struct(">I").pack


class Setting(IntEnum):
    """RFC 9113, section 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """RFC 9113, section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):
    """What the peer did ends the connection: a GOAWAY with this code and reason, then a close."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    length = len(payload)
    return _pack_header(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def data_header(length: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before `length` bytes of data."""
    return _pack_header(length >> 8, length & 0xFF, DATA, flags, stream_id)


def settings(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    entries = (struct.pack(">HI", setting, value) for setting, value in values.items())
    return frame(SETTINGS, 0, 0, b"".join(entries))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame of `increment` bytes."""
    return frame(WINDOW_UPDATE, 0, stream_id, pack_u32(increment))


def reset(stream_id: int, code: ErrorCode) -> bytes:
    """An RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, pack_u32(code))


def goaway(last_stream_id: int, code: ErrorCode, reason: str = "") -> bytes:
    """A GOAWAY frame; the reason is for whoever debugs the peer."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last_stream_id, code) + reason.encode())


def unpadded(flags: int, payload: bytes) -> bytes:
    """What a DATA or HEADERS frame carries. Raises ConnectionFault for more padding than frame."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame without its length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - padding]
