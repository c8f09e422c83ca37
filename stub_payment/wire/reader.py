"""Frames out of the bytes of a connection, however they were cut."""

from collections.abc import Callable, Mapping

from stub_payment.wire import frames, limits
from stub_payment.wire.blocks import UnfinishedBlock, fragment_of
from stub_payment.wire.frames import ConnectionFault, ErrorCode

# Take a frame's flags, stream and payload.
OnFrame = Callable[[int, int, bytes], None]

_ANY = -1
_OF_CALLS = frozenset({frames.DATA, frames.HEADERS})
_UNKNOWN = frames.CONTINUATION + 1
_ODD_HEADERS = frames.PADDED | frames.WITH_PRIORITY


class FrameReader:
    """Cuts bytes into frames, puts header blocks together, and hands both on.

    Whole header blocks go to `on_block` with their stream, flags and bytes. Before a HEADERS or
    DATA frame is cut out, `express` may take it with others that follow.
    """

    def __init__(
        self, on_block: Callable[[int, int, bytes], None], express: Callable[[bytes, int], int]
    ) -> None:
        self._on_block = on_block
        # Takes bytes and where a frame begins; returns the same, or a later one if it took some.
        self._express = express
        self._on: list[OnFrame] = []
        self._rest = b""
        self._greeted = False
        self._expected = frames.SETTINGS  # the one type that may come, or any
        self._block: UnfinishedBlock | None = None
        self.frames_read = False  # since somebody set it back

    def listen(self, on: Mapping[int, OnFrame], unknown: OnFrame) -> None:
        """Who takes frames by type, and those of unknown types. Said once, before any come."""
        ours = {frames.HEADERS: self._headers, frames.CONTINUATION: self._continuation}
        self._on = [{**on, **ours}.get(kind, unknown) for kind in range(_UNKNOWN + 1)]

    @property
    def partial(self) -> bool:
        """Whether a frame or a header block has begun and not ended."""
        return bool(self._rest) or self._block is not None

    @property
    def greeted(self) -> bool:
        """Whether the peer has sent its preface and its SETTINGS."""
        return self._greeted and self._expected != frames.SETTINGS

    def feed(self, data: bytes) -> None:
        """Takes what came. Raises ConnectionFault."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        start = position = 0 if self._greeted else self._greet(data)
        if self._greeted:
            position = self._frames(data, start)
        self.frames_read |= position > start
        self._rest = data[position:]

    def _greet(self, data: bytes) -> int:
        """Where the frames begin; 0 while the preface is not whole."""
        preface = frames.PREFACE
        if data[: len(preface)] != preface[: len(data)]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        self._greeted = len(data) >= len(preface)
        return len(preface) if self._greeted else 0

    def _frames(self, data: bytes, position: int) -> int:
        """Reads the whole frames from a position on. Returns where the rest begins."""
        read_header, on, size = frames.read_header, self._on, len(data)
        while size - position >= frames.HEADER_BYTES:
            high, low, kind, flags, stream_id = read_header(data, position)
            length = high << 8 | low
            if length > limits.MAXIMUM_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + frames.HEADER_BYTES
            end = start + length
            if end > size:
                break
            if kind != self._expected != _ANY:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a frame of type {kind} here")
            if kind in _OF_CALLS and (taken := self._express(data, position)) > position:
                position = taken
                continue
            on[kind if kind < _UNKNOWN else _UNKNOWN](
                flags, stream_id & frames.STREAM_MASK, data[start:end]
            )
            position = end
        return position

    def settled(self) -> None:
        """The peer's first SETTINGS came: now any frame may."""
        self._expected = _ANY

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & _ODD_HEADERS:
            payload = fragment_of(flags, stream_id, payload)
        if flags & frames.END_HEADERS:
            self._on_block(stream_id, flags, payload)
            return
        self._block = UnfinishedBlock(stream_id, flags, payload)
        self._expected = frames.CONTINUATION

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block.add(stream_id, payload)
        if flags & frames.END_HEADERS:
            block, self._block = self._block.whole(), None
            self._expected = _ANY
            self._on_block(*block)
