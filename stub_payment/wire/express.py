"""Ordinary calls: a head that is known at a glance, a message that is whole, an answer at once.

Nearly every call of a load is one. Some clients send its HEADERS and DATA next to each other,
others the HEADERS of several calls and then their DATA. A call that comes whole in one read has no
stream here: when it is answered, nothing of it is left but its id. Frames that are different in any
way are left to those who take one after the other.
"""

import struct

from stub_payment.wire.calls import Calls
from stub_payment.wire.frames import DATA, END_HEADERS, END_STREAM, HEADER_BYTES, HEADERS
from stub_payment.wire.heads import Head, HeadReader
from stub_payment.wire.limits import MAXIMUM_FRAME_BYTES, SMALL_DATA_BYTES
from stub_payment.wire.messages import PREFIX_BYTES
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.streams import Streams

# What a frame has over 65,535 bytes, its bytes, type and flags as one number, its stream; and of
# DATA the prefix of its message.
_read_frame = struct.Struct(">BHHIBI").unpack_from
_HEADERS, _DATA = HEADERS << 8 | END_HEADERS, DATA << 8
_LAST_DATA = _DATA | END_STREAM
_LEAST_BYTES = HEADER_BYTES + PREFIX_BYTES
# Some clients end a request with a frame of its own: up to its stream it is this.
_EMPTY_LAST_DATA = bytes([0, 0, 0, DATA, END_STREAM])
_pack_end = struct.Struct(">5sI").pack


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
        last, next_id = size - _LEAST_BYTES, streams.last_id + 2
        # As many as there may be here. When they are answered, those of this read leave as much
        # room as there was; those of earlier ones leave more, which is for the next read.
        room = streams.room(next_id + size)
        heads: dict[int, Head] = {}
        while position <= last and not streams.refuses_all:
            over, length, kind, stream_id, odd, message_bytes = _read_frame(data, position)
            begin = position + HEADER_BYTES
            end = begin + length
            stream = None
            if kind == _HEADERS:
                if stream_id != next_id or over or end > size or len(heads) >= room:
                    break
                head = glance(data, begin, end)
                if head is None:
                    break
                streams.last_id = stream_id
                next_id += 2
                position = end
                next_stream = 0
                if position <= last:
                    over, length, kind, next_stream, odd, message_bytes = _read_frame(data, end)
                if next_stream != stream_id:
                    heads[stream_id] = head
                    continue
                begin = position + HEADER_BYTES
                end = begin + length
            elif stream_id in heads:
                head = heads.pop(stream_id)
            else:
                stream = streams.expecting_all(stream_id)
                if stream is None:
                    break
                head = stream.route, stream.timeout_s, stream.request_id
            route, _, request_id = head
            is_ended = kind == _LAST_DATA
            if (
                (over or odd or length != message_bytes + PREFIX_BYTES)
                or (length > MAXIMUM_FRAME_BYTES or end > size)
                or not (is_ended or (kind == _DATA and _ends(data, end, stream_id, length)))
                or route.method is None
            ):
                if stream is None:
                    heads[stream_id] = head
                break
            outcome = ask(route.method, data[begin + PREFIX_BYTES : end], request_id)
            received_bytes += length
            position = end
            if not is_ended:
                streams.bodies.empty_in_a_row = 0
                position += HEADER_BYTES
            if outcome.__class__ is not bytes or not answer(stream_id, outcome):
                stream = stream or streams.opened(stream_id, head)
                stream.ended = True
                self._calls.settle(stream, outcome)
                break
            if stream is not None:
                streams.end(stream)
        for stream_id, head in heads.items():
            streams.opened(stream_id, head)
        streams.received(received_bytes)
        return position


def _ends(data: bytes, position: int, stream_id: int, before_bytes: int) -> bool:
    """Whether a request ends in a frame of its own at a position, after so many bytes of DATA."""
    is_chatter = before_bytes < SMALL_DATA_BYTES
    return not is_chatter and data.startswith(_pack_end(_EMPTY_LAST_DATA, stream_id), position)
