"""The streams of one connection: requests that come in, and which of them are open."""

from collections import deque
from collections.abc import Iterator

from stub_payment.refusal import Refusal
from stub_payment.wire import limits
from stub_payment.wire.bodies import Bodies
from stub_payment.wire.calls import Calls, Owner
from stub_payment.wire.frames import (
    END_STREAM,
    STREAM_MASK,
    ConnectionFault,
    ErrorCode,
    Setting,
    reset,
    settings,
    window_update,
)
from stub_payment.wire.heads import Head, HeadReader
from stub_payment.wire.limits import Allowance
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.stream import Stream

_REMEMBERED_GAPS = 16
# What the peer sends before its window is topped up.
_TOP_UP_BYTES = limits.CONNECTION_WINDOW_BYTES // 4
_LAST_STREAM_ID = STREAM_MASK - limits.SPARE_STREAM_IDS
# A table of size 0 lets each header block stand for itself. Whoever calls a method is asked for it.
_NO_TABLE = settings({Setting.HEADER_TABLE_SIZE: 0})


class Streams:
    """Opens, feeds and ends streams. Raises ConnectionFault for what no peer may do."""

    def __init__(
        self,
        heads: HeadReader,
        bodies: Bodies,
        outbox: Outbox,
        owner: Owner,
        resets: Allowance,
        chatter: Allowance,
    ) -> None:
        self._heads = heads
        self.bodies = bodies
        self._outbox = outbox
        self._owner = owner
        self.calls = Calls(outbox, self.end, owner)
        self._resets = resets
        self._chatter = chatter
        self._open: dict[int, Stream] = {}
        # Ids between those that were opened, which never were: above the first, below the second.
        self._gaps: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_GAPS)
        self._ended_early: dict[int, None] = {}
        self._asked_for_no_table = False
        self._received_bytes = 0
        self.maximum = limits.MAXIMUM_CONCURRENT_STREAMS
        self.last_id = -1
        self.refuses_all = False

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._open.values())

    def get(self, stream_id: int) -> Stream | None:
        """The stream if it is open, else None. ConnectionFault if it is yet to be opened."""
        stream = self._open.get(stream_id)
        idle = stream_id > self.last_id and not self.refuses_all
        if stream is None and (idle or not stream_id & 1):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} is not open")
        return stream

    def block(self, stream_id: int, flags: int, block: bytes) -> None:
        """A whole header block: of a new stream, or trailers."""
        if stream_id > self.last_id:
            self._begin(stream_id, flags, block)
            return
        stream = self._open.get(stream_id)
        if stream is None:
            self._late(stream_id)
            self._heads.skip(block)
        elif stream.ended:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS after the end of a request")
        elif not flags & END_STREAM:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "trailers that do not end a request")
        else:
            self._heads.read_trailers(block)
            self._request_ended(stream)

    def data(self, flags: int, stream_id: int, payload: bytes) -> None:
        """A DATA frame."""
        self.received(len(payload))
        stream = self._open.get(stream_id)
        if stream is None:
            self._late(stream_id)
            return
        if stream.ended:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "DATA after the end of a request")
        # Nearly always all of a message is in one frame: flag 0, its length, and the request ends.
        method = stream.route.method
        if (
            flags == END_STREAM
            and stream.body is None
            and method is not None
            and stream.content_length is None
            and int.from_bytes(payload[:5], "big") == len(payload) - 5
        ):
            stream.ended = True
            self.calls.start(stream, method, payload[5:])
            return
        try:
            self.bodies.add(stream, flags, payload)
        except Refusal as refusal:
            self._refuse(stream, refusal, bool(flags & END_STREAM))
            return
        if flags & END_STREAM:
            self._request_ended(stream)

    def received(self, data_bytes: int) -> None:
        """So much came in DATA frames: tops up what the peer may send."""
        self._received_bytes += data_bytes
        if self._received_bytes > _TOP_UP_BYTES:
            self._outbox.frames.append(window_update(0, self._received_bytes))
            self._received_bytes = 0

    def room(self, stream_id: int) -> int:
        """How many streams the peer may open with ids up to this one, if it may open any."""
        return self.maximum - len(self._open) if stream_id <= _LAST_STREAM_ID else 0

    def opened(self, stream_id: int, head: Head) -> Stream:
        """A stream that the peer has opened."""
        stream = self._open[stream_id] = Stream(stream_id, *head)
        return stream

    def expecting_all(self, stream_id: int) -> Stream | None:
        """The stream if it is open, nothing but the head of its request has come, and there is
        time left and no content-length."""
        stream = self._open.get(stream_id)
        if (
            stream is None
            or stream.ended
            or stream.body is not None
            or stream.content_length is not None
            or stream.timeout_s == 0
        ):
            return None
        return stream

    def reset(self, stream_id: int) -> None:
        """The peer gives a stream up."""
        self._resets.take()
        stream = self.get(stream_id)
        if stream is not None:
            self.cancel(stream)

    def cancel(self, stream: Stream) -> None:
        """Ends a stream without an answer."""
        self._outbox.forget(stream)
        if stream.task is not None:
            stream.task.add_done_callback(stream.close_answer)  # which may not have begun
            stream.task.cancel()
        self.end(stream)

    def cancel_all(self) -> None:
        """Ends all, as their connection has."""
        for stream in list(self._open.values()):
            self.cancel(stream)

    def end(self, stream: Stream) -> None:
        """Forgets a stream."""
        self._open.pop(stream.id, None)
        if stream.held_bytes:
            self.bodies.drop(stream)

    def _begin(self, stream_id: int, flags: int, block: bytes) -> None:
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client's stream with an even id")
        if self.refuses_all:  # after our GOAWAY, which named a smaller id
            self._chatter.take()
            self._heads.skip(block)
            return
        if stream_id != self.last_id + 2:
            self._gaps.append((self.last_id, stream_id))
        head, length = self._heads.read(block)
        self.last_id = stream_id
        if not self._asked_for_no_table and head[0].method is not None:
            self._asked_for_no_table = True
            self._outbox.frames.append(_NO_TABLE)
        if len(self._open) >= self.maximum:
            self._resets.take()
            self._remember(stream_id)
            self._outbox.frames.append(reset(stream_id, ErrorCode.REFUSED_STREAM))
            return
        stream, route = self.opened(stream_id, head), head[0]
        stream.content_length = length
        if stream_id > _LAST_STREAM_ID:
            self._owner.retire()
        if route.refusal is not None:
            self._refuse(stream, route.refusal, bool(flags & END_STREAM))
        elif flags & END_STREAM:
            self._request_ended(stream)

    def _request_ended(self, stream: Stream) -> None:
        stream.ended = True
        if stream.content_length not in (None, stream.length_bytes):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "content-length is not the body's")
        route = stream.route
        if route.method is None:
            if self._outbox.page(stream, route.http_status, route.body):
                self.end(stream)
            return
        try:
            message = self.bodies.message(stream)
        except Refusal as refusal:
            self.calls.refuse(stream, refusal)
        else:
            self.calls.start(stream, route.method, message)

    def _refuse(self, stream: Stream, refusal: Refusal, ended: bool) -> None:
        """Answers a request that has perhaps not ended, and whose rest is ignored."""
        self.calls.refuse(stream, refusal)
        if not ended:
            self._remember(stream.id)
            self._outbox.frames.append(reset(stream.id, ErrorCode.NO_ERROR))

    def _remember(self, stream_id: int) -> None:
        self._ended_early[stream_id] = None
        if len(self._ended_early) > limits.REMEMBERED_STREAMS:
            del self._ended_early[next(iter(self._ended_early))]

    def _late(self, stream_id: int) -> None:
        """HEADERS or DATA of a stream that is not open. ConnectionFault if they may not come."""
        idle = stream_id > self.last_id and not self.refuses_all
        if idle or not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} is not open")
        if stream_id in self._ended_early or stream_id > self.last_id:
            return
        if any(low < stream_id < high for low, high in self._gaps):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "stream ids have to go up")
        raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"stream {stream_id} has ended")
