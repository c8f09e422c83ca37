"""What goes to the peer, within the windows that it grants (RFC 9113, section 6.9)."""

from collections.abc import Iterable

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
_ACCEPTED = _field(b"grpc-accept-encoding", b"identity")
MAXIMUM_SHOWN = 1024  # characters of a grpc-message


class Outbox:
    """Collects frames, which the connection writes; keeps answers that wait for a window."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self._window = DEFAULT_WINDOW
        self._initial_window = DEFAULT_WINDOW
        self._waiting: dict[Stream, tuple[bytes, bytes]] = {}

    def blocked(self, stream: Stream) -> bool:
        """Whether a stream's answer waits for a window."""
        return stream in self._waiting

    def answer(self, stream: Stream, message: bytes) -> bool:
        """A message and the status OK. Returns whether all of it could go."""
        stream_id = pack_u32(stream.id)
        length = PREFIX_BYTES + len(message)
        if (
            length <= self._window
            and length <= self._initial_window + stream.window
            and length <= MAXIMUM_FRAME_BYTES
            and not self._waiting
        ):
            self._window -= length
            self.frames.append(
                b"".join(
                    (
                        *(_HEAD, stream_id, _GRPC),
                        *(
                            data_header(length, 0, stream.id),
                            b"\0",
                            pack_u32(len(message)),
                            message,
                        ),
                        *(_TAIL, stream_id, _TRAILERS),
                    )
                )
            )
            return True
        self.frames.append(b"".join((_HEAD, stream_id, _GRPC)))
        body = b"".join((b"\0", pack_u32(len(message)), message))
        tail = b"".join((_TAIL, stream_id, _TRAILERS))
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
        self.frames.append(frame(HEADERS, END_HEADERS | END_STREAM, stream.id, block))

    def page(self, stream: Stream, status: bytes, body: bytes) -> bool:
        """An HTTP answer that is no gRPC. Returns whether all of it could go."""
        block = _field(b":status", status) + _field(b"content-length", b"%d" % len(body))
        end = 0 if body else END_STREAM
        self.frames.append(frame(HEADERS, END_HEADERS | end, stream.id, block))
        if not body:
            return True
        return self._send(stream, body, frame(DATA, END_STREAM, stream.id))

    def window_opened(self, increment: int) -> list[Stream]:
        """For the connection. Returns the streams whose answers are complete with it."""
        self._window = _widened(self._window, increment)
        return self._pump()

    def stream_window_opened(self, stream: Stream, increment: int) -> list[Stream]:
        """For one stream. Returns those whose answers are complete with it."""
        if self._initial_window + stream.window + increment > MAXIMUM_WINDOW:
            # An error of the stream by the book. It also ends the connection: who resets streams
            # for a peer that makes it do so cannot count its own work.
            self.frames.append(reset(stream.id, ErrorCode.FLOW_CONTROL_ERROR))
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        stream.window += increment
        return self._pump() if self._waiting else []

    def initial_window_set(self, size: int, streams: Iterable[Stream]) -> list[Stream]:
        """For all streams, the open ones among them. Returns those whose answers are complete."""
        if any(size + stream.window > MAXIMUM_WINDOW for stream in streams):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        self._initial_window = size
        return self._pump()

    def forget(self, stream: Stream) -> None:
        """Drops what waits for a stream that is gone."""
        self._waiting.pop(stream, None)

    def _send(self, stream: Stream, body: bytes, tail: bytes) -> bool:
        self._waiting[stream] = body, tail
        return stream in self._pump()

    def _pump(self) -> list[Stream]:
        done = []
        for stream, (body, tail) in list(self._waiting.items()):
            window = min(self._window, self._initial_window + stream.window)
            sendable = max(0, min(len(body), window))
            self._window -= sendable
            stream.window -= sendable
            # All that the window lets through: the peer need not open it before that was read.
            for start in range(0, sendable, MAXIMUM_FRAME_BYTES):
                part = body[start : min(start + MAXIMUM_FRAME_BYTES, sendable)]
                self.frames.append(data_header(len(part), 0, stream.id) + part)
            if sendable < len(body):
                self._waiting[stream] = body[sendable:], tail
            else:
                del self._waiting[stream]
                self.frames.append(tail)
                done.append(stream)
        return done


def _widened(window: int, increment: int) -> int:
    if window + increment > MAXIMUM_WINDOW:
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window over 2^31-1")
    return window + increment
