"""Ordinary calls: a head that is known at a glance, a message that is whole, an answer at once.

Nearly every call of a load is one, and its HEADERS and DATA stand next to each other in what was
read. It has no stream here: when it is answered, nothing of it is left but its id. Frames that are
different in any way are left to those who take one after the other.
"""

import struct

from stub_payment.wire import limits
from stub_payment.wire.calls import Calls
from stub_payment.wire.frames import DATA, END_HEADERS, END_STREAM, HEADER_BYTES, HEADERS
from stub_payment.wire.heads import HeadReader
from stub_payment.wire.messages import PREFIX_BYTES
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.streams import Streams

# What a frame has over 65,535 bytes, its bytes, type and flags as one number, its stream; and of
# DATA the prefix of its message.
_read_headers = struct.Struct(">BHHI").unpack_from
_read_data = struct.Struct(">BHHIBI").unpack_from
_HEADERS, _DATA = HEADERS << 8 | END_HEADERS, DATA << 8 | END_STREAM
_TO_MESSAGE_BYTES = HEADER_BYTES + PREFIX_BYTES
_LEAST_CALL_BYTES = HEADER_BYTES + _TO_MESSAGE_BYTES
_LARGEST_MESSAGE_BYTES = limits.MAXIMUM_FRAME_BYTES - PREFIX_BYTES


class Express:
    """Takes the ordinary calls of one connection."""

    def __init__(self, heads: HeadReader, streams: Streams, calls: Calls, outbox: Outbox) -> None:
        self._glance = heads.glance
        self._streams = streams
        self._calls = calls
        self._ask = calls.ask
        self._answer = outbox.answer_at_once

    def take(self, data: bytes, position: int) -> int:
        """Takes those that stand at a position, until one is not ordinary, or is not answered OK at
        once: that one is the last. Returns where the frames that are left begin."""
        streams, size, received_bytes = self._streams, len(data), 0
        glance, ask, answer = self._glance, self._ask, self._answer
        last, stream_id = size - _LEAST_CALL_BYTES, streams.last_id + 2
        # As many as there may be here. Each leaves as much room for streams as there was.
        if not streams.may_open(stream_id + size):
            return position
        while position <= last and not streams.refuses_all:
            over, block_bytes, kind, opened_id = _read_headers(data, position)
            block_at = position + HEADER_BYTES
            data_at = block_at + block_bytes
            message_at = data_at + _TO_MESSAGE_BYTES
            if opened_id != stream_id or kind != _HEADERS or over or message_at > size:
                break
            over, data_bytes, kind, ended_id, odd, message_bytes = _read_data(data, data_at)
            end = message_at + message_bytes
            if ended_id != stream_id or kind != _DATA or over or odd or end > size:
                break
            if message_bytes > _LARGEST_MESSAGE_BYTES or data_bytes != message_bytes + PREFIX_BYTES:
                break
            head = glance(data, block_at, data_at)
            if head is None:
                break
            route, _, request_id = head
            if route.method is None:  # never of a head that is known
                break
            streams.last_id = stream_id
            outcome = ask(route.method, data[message_at:end], request_id)
            received_bytes += data_bytes
            position = end
            if outcome.__class__ is not bytes or not answer(stream_id, outcome):
                self._calls.settle(streams.opened(stream_id, head, ended=True), outcome)
                break
            stream_id += 2
        streams.received(received_bytes)
        return position
