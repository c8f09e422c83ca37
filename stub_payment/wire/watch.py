"""What a peer owes us, and for how long it has."""

from stub_payment.wire import limits
from stub_payment.wire.frames import ConnectionFault, ErrorCode
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.reader import FrameReader
from stub_payment.wire.stream import Stream
from stub_payment.wire.streams import Streams


class Watch:
    """Looks at one connection every `limits.SWEEP_S`; counts sweeps, which cost it no clock."""

    def __init__(self, reader: FrameReader, streams: Streams, outbox: Outbox) -> None:
        self._reader = reader
        self._streams = streams
        self._outbox = outbox
        self._owed_sweeps = 0  # SETTINGS, or the rest of a frame
        self._unread_sweeps = 0
        self._unsent_bytes = 0

    def sweep(self, unsent_bytes: int) -> None:
        """Raises ConnectionFault where it waits too long; so much of what was written is unsent."""
        self._sweep_frames()
        self._sweep_unsent(unsent_bytes)
        for stream in self._streams:
            self._sweep_stream(stream)

    def _sweep_frames(self) -> None:
        reader = self._reader
        owes = not reader.greeted or reader.partial
        self._owed_sweeps = self._owed_sweeps + 1 if owes and not reader.frames_read else 0
        reader.frames_read = False
        if not reader.greeted and _over(self._owed_sweeps, limits.SETTINGS_TIMEOUT_S):
            raise ConnectionFault(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS")
        if _over(self._owed_sweeps, limits.FRAME_TIMEOUT_S):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "half a frame, and no more")

    def _sweep_unsent(self, unsent_bytes: int) -> None:
        stuck = unsent_bytes > 0 and unsent_bytes >= self._unsent_bytes
        self._unsent_bytes = unsent_bytes
        self._unread_sweeps = self._unread_sweeps + 1 if stuck else 0
        if _over(self._unread_sweeps, limits.BLOCKED_TIMEOUT_S):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "answers that nobody reads")

    def _sweep_stream(self, stream: Stream) -> None:
        blocked = self._outbox.blocked(stream)
        waits = blocked or not stream.ended
        # From its request to its answer a stream waits for us, and begins anew.
        stream.age_sweeps = stream.age_sweeps + 1 if waits and blocked == stream.blocked else 0
        stream.blocked = blocked
        limit_s = limits.BLOCKED_TIMEOUT_S if blocked else limits.REQUEST_TIMEOUT_S
        if _over(stream.age_sweeps, limit_s):
            what = "window for an answer" if blocked else "end of a request"
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"no {what}")


def _over(sweeps: int, limit_s: float) -> bool:
    return sweeps * limits.SWEEP_S > limit_s
