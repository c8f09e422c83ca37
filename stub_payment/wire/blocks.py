"""Header blocks out of HEADERS and CONTINUATION frames."""

from typing import NamedTuple

from stub_payment.wire.frames import (
    PADDED,
    STREAM_MASK,
    WITH_PRIORITY,
    ConnectionFault,
    ErrorCode,
    unpadded,
)
from stub_payment.wire.limits import MAXIMUM_CONTINUATIONS, MAXIMUM_HEADERS_BYTES

PRIORITY_BYTES = 5


class Block(NamedTuple):
    """A whole header block, and the flags of its HEADERS frame."""

    stream_id: int
    flags: int
    bytes: bytes


class UnfinishedBlock:
    """A block whose HEADERS frame did not end it."""

    def __init__(self, stream_id: int, flags: int, fragment: bytes) -> None:
        self._stream_id = stream_id
        self._flags = flags
        self._fragments = [fragment]
        self._size_bytes = len(fragment)

    def add(self, stream_id: int, fragment: bytes) -> None:
        """What a CONTINUATION frame carries. Raises ConnectionFault."""
        if stream_id != self._stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block on two streams")
        self._fragments.append(fragment)
        self._size_bytes += len(fragment)
        too_many = len(self._fragments) > 1 + MAXIMUM_CONTINUATIONS
        if too_many or self._size_bytes > MAXIMUM_HEADERS_BYTES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too long a header block")

    def whole(self) -> Block:
        """The block, now that it has ended."""
        return Block(self._stream_id, self._flags, b"".join(self._fragments))


def fragment_of(flags: int, stream_id: int, payload: bytes) -> bytes:
    """What of a block a HEADERS frame carries. Raises ConnectionFault."""
    if flags & PADDED:
        payload = unpadded(flags, payload)
    if flags & WITH_PRIORITY:
        if len(payload) < PRIORITY_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS without their priority")
        check_priority(stream_id, payload[:PRIORITY_BYTES])
        payload = payload[PRIORITY_BYTES:]
    return payload


def check_priority(stream_id: int, priority: bytes) -> None:
    """Raises ConnectionFault for a priority that is none. Else it is of no matter here."""
    if len(priority) != PRIORITY_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority is five bytes")
    if int.from_bytes(priority[:4], "big") & STREAM_MASK == stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
