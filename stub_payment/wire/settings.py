"""The SETTINGS of both sides (RFC 9113, section 6.5)."""

import struct

from stub_payment.wire import limits
from stub_payment.wire.frames import MAXIMUM_WINDOW, ConnectionFault, ErrorCode, Setting

ENTRY_BYTES = 6

# Nothing of the header table here: a client that never hears of anything else, or does not care,
# has the default of 4096 bytes, and all else that HTTP/2 grants it.
OURS = {
    Setting.MAX_CONCURRENT_STREAMS: limits.MAXIMUM_CONCURRENT_STREAMS,
    Setting.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW_BYTES,
    Setting.MAX_HEADER_LIST_SIZE: limits.MAXIMUM_HEADERS_BYTES,
}


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The entries in order, known or not. Raises ConnectionFault."""
    if len(payload) % ENTRY_BYTES:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS with half an entry")
    if len(payload) > limits.MAXIMUM_SETTINGS_ENTRIES * ENTRY_BYTES:
        raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many entries in SETTINGS")
    entries = list(struct.iter_unpack(">HI", payload))
    for setting, value in entries:
        _check(setting, value)
    return entries


def _check(setting: int, value: int) -> None:
    match setting:
        case Setting.ENABLE_PUSH if value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        case Setting.INITIAL_WINDOW_SIZE if value > MAXIMUM_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        case Setting.MAX_FRAME_SIZE if not 16_384 <= value <= 16_777_215:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE out of its range")
