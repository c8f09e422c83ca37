"""Frames that carry no call: settings, pings, windows, priorities, resets, the end."""

from collections.abc import Callable, Mapping

from stub_payment.wire import frames
from stub_payment.wire.blocks import check_priority
from stub_payment.wire.frames import ConnectionFault, ErrorCode, Setting
from stub_payment.wire.limits import Allowance
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.reader import FrameReader, OnFrame
from stub_payment.wire.settings import read_settings
from stub_payment.wire.streams import Streams

_PONG = frames.frame(frames.PING, frames.ACK, 0, bytes(8))[: frames.HEADER_BYTES]


class Signals:
    """What these frames do to one connection; `retire` lets it end with its last stream."""

    def __init__(
        self,
        reader: FrameReader,
        streams: Streams,
        outbox: Outbox,
        retire: Callable[[], None],
        settings_allowed: Allowance,
        chatter: Allowance,
    ) -> None:
        self._reader = reader
        self._streams = streams
        self._outbox = outbox
        self._retire = retire
        self._settings_allowed = settings_allowed
        self._chatter = chatter

    @property
    def handlers(self) -> Mapping[int, OnFrame]:
        """What takes each, by type."""
        return {
            frames.PRIORITY: self._priority,
            frames.RST_STREAM: self._reset,
            frames.SETTINGS: self._settings,
            frames.PUSH_PROMISE: self._push,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.WINDOW_UPDATE: self._window_update,
        }

    def unknown(self, flags: int, stream_id: int, payload: bytes) -> None:
        """A frame of a type that RFC 9113 has not: it is ignored."""
        self._chatter.take()

    def _priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._chatter.take()
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        check_priority(stream_id, payload)

    def _reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM is four bytes")
        self._streams.reset(stream_id)

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._settings_allowed.take()
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that acknowledge and set"
                )
            if not self._reader.greeted:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no SETTINGS to begin with")
            return
        entries = read_settings(payload)
        self._reader.settled()
        # Before what goes out because of them.
        self._outbox.frames.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        if any(key == Setting.HEADER_TABLE_SIZE and size < 4096 for key, size in entries):
            self._outbox.table_shrunk()
        sizes = [size for key, size in entries if key == Setting.INITIAL_WINDOW_SIZE]
        if sizes:
            for stream in self._outbox.initial_window_set(sizes, self._streams):
                self._streams.end(stream)

    def _push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._chatter.take()
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING of a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING is eight bytes")
        if not flags & frames.ACK:
            self._outbox.frames.append(_PONG + payload)

    def _goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._chatter.take()
        if stream_id != 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY of a stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is eight bytes or more")
        self._retire()

    def _window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._chatter.take()
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE is four bytes")
        increment = int.from_bytes(payload, "big") & frames.MAXIMUM_WINDOW
        if increment == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window opened by nothing")
        if stream_id == 0:
            waiting = self._outbox.waiting
            if waiting:
                self._chatter.take(waiting // 16)  # all of them may be looked at
            for stream in self._outbox.window_opened(increment):
                self._streams.end(stream)
        elif (
            opened := self._streams.get(stream_id)
        ) is not None and self._outbox.stream_window_opened(opened, increment):
            self._streams.end(opened)
