"""What goes to the peer, within the windows that it grants (RFC 9113, section 6.9)."""

import struct
from collections.abc import Iterable, Sequence

from stub_payment.refusal import Refusal
from stub_payment.wire.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAXIMUM_WINDOW,
    ConnectionFault,
    ErrorCode,
    data_header,
    frame,
    pack_u32,
    reset,
)
from stub_payment.wire.limits import MAXIMUM_FRAME_BYTES
from stub_payment.wire.messages import PREFIX_BYTES, percent_encoded
from stub_payment.wire.stream import Stream


def _field(name: bytes, value: bytes) -> bytes:
    """A literal field that no table keeps; up to 126 bytes a string."""
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


def _long_field(name: bytes, value: bytes) -> bytes:
    """A literal field with a value of up to 16 kB."""
    over = len(value) - 0x7F
    if over < 0:
        return _field(name, value)
    length = bytes([0x7F, over & 0x7F | 0x80, over >> 7 & 0x7F | 0x80, over >> 14])
    return b"\x00%c%b%b%b" % (len(name), name, length, value)


_GRPC = b"\x88" + _field(b"content-type", b"application/grpc")  # 0x88: `:status` 200
_TRAILERS = _field(b"grpc-status", b"0")
# The frames around an answer, up to their streams.
_HEAD = frame(HEADERS, END_HEADERS, 0, _GRPC)[:5]
_TAIL = frame(HEADERS, END_HEADERS | END_STREAM, 0, _TRAILERS)[:5]
# All of an answer before its message, and after it. Zeros are the upper byte of a DATA frame's
# length, its type and flags, and the flag in the message's prefix.
_pack_head = struct.Struct(f">5sI{len(_GRPC)}sxHxxIxI").pack
_pack_tail = struct.Struct(f">5sI{len(_TRAILERS)}s").pack
_ACCEPTED = _field(b"grpc-accept-encoding", b"identity")
_NO_TABLE = b"\x20"
MAXIMUM_SHOWN = 160  # characters of a grpc-message


class Outbox:
    """Collects frames, which the connection writes; keeps answers that wait for a window."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._window_bytes = DEFAULT_WINDOW
        self._initial_window_bytes = DEFAULT_WINDOW
        self._owes_update = False
        self._waiting: dict[Stream, tuple[bytes, bytes]] = {}

    def blocked(self, stream: Stream) -> bool:
        """Whether a stream's answer waits for a window."""
        return stream in self._waiting

    def answer_at_once(self, stream_id: int, message: bytes) -> bool:
        """A message and the status OK, where all of it may go now on a stream that nothing was sent
        on. Returns whether it may."""
        size = len(message)
        length = PREFIX_BYTES + size
        left = self._window_bytes - length
        if (
            left < 0
            or length > self._initial_window_bytes
            or length > MAXIMUM_FRAME_BYTES
            or self._waiting
            or self._owes_update
        ):
            return False
        self._window_bytes = left
        self.frames += (
            _pack_head(_HEAD, stream_id, _GRPC, length, stream_id, size),
            message,
            _pack_tail(_TAIL, stream_id, _TRAILERS),
        )
        return True

    def answer(self, stream: Stream, message: bytes) -> bool:
        """A message and the status OK. Returns whether all of it could go."""
        if self.answer_at_once(stream.id, message):
            return True
        self._head(stream, 0, _GRPC)
        body = b"".join((b"\0", pack_u32(len(message)), message))
        tail = _pack_tail(_TAIL, stream.id, _TRAILERS)
        return self._send(stream, body, tail)

    def refuse(self, stream: Stream, refusal: Refusal) -> None:
        """A gRPC status without a message."""
        message = percent_encoded(refusal.message[:MAXIMUM_SHOWN])
        block = b"".join(
            (
                _GRPC,
                _field(b"grpc-status", b"%d" % refusal.code),
                _long_field(b"grpc-message", message),
                _ACCEPTED,
            )
        )
        self._head(stream, END_STREAM, block)

    def page(self, stream: Stream, status: bytes, body: bytes) -> bool:
        """An HTTP answer that is no gRPC. Returns whether all of it could go."""
        block = _field(b":status", status) + _field(b"content-length", b"%d" % len(body))
        self._head(stream, 0 if body else END_STREAM, block)
        if not body:
            return True
        return self._send(stream, body, frame(DATA, END_STREAM, stream.id))

    @property
    def waiting(self) -> int:
        """How many answers wait for a window."""
        return len(self._waiting)

    def window_opened(self, increment: int) -> list[Stream]:
        """For the connection. Returns the streams whose answers are complete with it."""
        was_shut = self._window_bytes <= 0
        self._window_bytes += increment
        if self._window_bytes > MAXIMUM_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        return self._push_all() if was_shut else []  # else each waits for its own window

    def stream_window_opened(self, stream: Stream, increment: int) -> bool:
        """For one stream. Returns whether its answer is complete with it."""
        if self._initial_window_bytes + stream.window_bytes + increment > MAXIMUM_WINDOW:
            # An error of the stream by the book. It also ends the connection: who resets streams
            # for a peer that makes it do so cannot count its own work.
            self.frames.append(reset(stream.id, ErrorCode.FLOW_CONTROL_ERROR))
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        stream.window_bytes += increment
        return stream in self._waiting and self._push(stream)

    def initial_window_set(self, sizes: Sequence[int], streams: Iterable[Stream]) -> list[Stream]:
        """For all streams, the open ones among them; the last size holds. Returns those whose
        answers are complete with it."""
        widest = max((stream.window_bytes for stream in streams), default=0)
        if max(sizes) + widest > MAXIMUM_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        self._initial_window_bytes = sizes[-1]
        return self._push_all()

    def table_shrunk(self) -> None:
        """The peer's header table is smaller than the default, which RFC 9113 (section 4.3.1)
        wants said in the next block."""
        self._owes_update = True

    def forget(self, stream: Stream) -> None:
        """Drops what waits for a stream that is gone."""
        self._waiting.pop(stream, None)

    def _head(self, stream: Stream, flags: int, block: bytes) -> None:
        if self._owes_update:
            self._owes_update = False
            block = _NO_TABLE + block
        self.frames.append(frame(HEADERS, END_HEADERS | flags, stream.id, block))

    def _send(self, stream: Stream, body: bytes, tail: bytes) -> bool:
        self._waiting[stream] = body, tail
        return self._push(stream)

    def _push(self, stream: Stream) -> bool:
        """Sends of an answer what its windows let through. Returns whether that was all."""
        body, tail = self._waiting[stream]
        while body:
            window_bytes = self._initial_window_bytes + stream.window_bytes
            size = min(len(body), self._window_bytes, window_bytes, MAXIMUM_FRAME_BYTES)
            if size <= 0:
                self._waiting[stream] = body, tail
                return False
            self._window_bytes -= size
            stream.window_bytes -= size
            self.frames.append(data_header(size, 0, stream.id) + body[:size])
            body = body[size:]
        del self._waiting[stream]
        self.frames.append(tail)
        return True

    def _push_all(self) -> list[Stream]:
        """Returns the streams whose answers are complete."""
        done = []
        for stream in list(self._waiting):
            if self._window_bytes <= 0:
                break
            if self._push(stream):
                done.append(stream)
        return done
