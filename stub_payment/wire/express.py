"""Ordinary calls: a head that is known at a glance, a message that is whole, an answer at once.

Nearly every call of a load is one, and its HEADERS and DATA stand next to each other in what was
read. It has no stream here: when it is answered, nothing of it is left but its id. Whatever is
different in any way is left to those who take one frame after the other.
"""

import struct

from google.protobuf.message import Message

from stub_payment.wire import limits
from stub_payment.wire.calls import Calls
from stub_payment.wire.frames import END_HEADERS, END_STREAM, HEADER_BYTES, HEADERS
from stub_payment.wire.heads import HeadReader
from stub_payment.wire.messages import PREFIX_BYTES
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.streams import Streams

# Frames' headers as their length and type in one number, flags, stream; of a message's first frame
# with its prefix. The type of DATA is 0.
_read_headers = struct.Struct(">IBI").unpack_from
_read_data = struct.Struct(">IBIBI").unpack_from
_TYPE = 0xFF
_LEAST_BYTES = 2 * HEADER_BYTES + PREFIX_BYTES
_LARGEST_BYTES = limits.MAXIMUM_FRAME_BYTES - PREFIX_BYTES


class Express:
    """Takes the ordinary calls of one connection."""

    def __init__(self, heads: HeadReader, streams: Streams, calls: Calls, outbox: Outbox) -> None:
        self._glance = heads.glance
        self._streams = streams
        self._calls = calls
        self._answer = outbox.answer_at_once

    def take(self, data: bytes, position: int) -> int:
        """Answers those that stand at a position, up to the first that is none or is answered
        later. Returns where the frames after it begin."""
        streams, calls, size, received_bytes = self._streams, self._calls, len(data), 0
        last, stream_id = size - _LEAST_BYTES, streams.last_id + 2
        may_open = streams.may_open(stream_id + size)
        # What is answered at once leaves as much room for streams as there was.
        while position <= last and may_open:
            kind, flags, opened_id = _read_headers(data, position)
            block_at = position + HEADER_BYTES
            data_at = block_at + (kind >> 8)
            message_at = data_at + HEADER_BYTES + PREFIX_BYTES
            if opened_id != stream_id or kind & _TYPE != HEADERS or flags != END_HEADERS:
                break
            if message_at > size:
                break
            kind, flags, ended_id, compressed, message_bytes = _read_data(data, data_at)
            end = message_at + message_bytes
            if ended_id != stream_id or kind != message_bytes + PREFIX_BYTES << 8:
                break
            if flags != END_STREAM or compressed or message_bytes > _LARGEST_BYTES or end > size:
                break
            head = self._glance(data, block_at, data_at)
            if head is None or (method := head[0].method) is None:
                break
            streams.last_id = stream_id
            outcome = calls.ask(method, data[message_at:end], head[2])
            received_bytes += kind >> 8
            position = end
            if not isinstance(outcome, Message) or not self._answer(
                stream_id, outcome.SerializeToString()
            ):
                calls.settle(streams.opened(stream_id, head, ended=True), outcome)
                break
            stream_id += 2
        streams.received(received_bytes)
        return position
