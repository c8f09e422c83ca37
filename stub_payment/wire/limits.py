"""What a peer may ask of the engine, and what counts as abuse.

Each limit stands well above what load that this project makes can reach: 20,000 calls a second
with 1 % of them cancelled are 200 resets a second on one connection, and a grpc-go client sends a
PING for its bandwidth estimate with up to every answer it reads.
"""

from collections.abc import Callable

from stub_payment.wire.frames import ConnectionFault, ErrorCode

MAXIMUM_CONNECTIONS = 4096
MAXIMUM_CONCURRENT_STREAMS = 1024
# Over all connections of a process, as counted at each sweep: above it a connection gets few, so
# that whoever opened the many leaves some to the others.
MAXIMUM_OPEN_STREAMS = 65_536
STREAMS_IN_A_CROWD = 16
MAXIMUM_FRAME_BYTES = 16_384
MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024
# Of names, values and 32 bytes a field, as RFC 9113 counts them, and of a block's own bytes.
MAXIMUM_HEADERS_BYTES = 16_384
MAXIMUM_CONTINUATIONS = 8
MAXIMUM_SETTINGS_ENTRIES = 32
# More than the largest message, so that no window of a stream has to be topped up.
STREAM_WINDOW_BYTES = MAXIMUM_MESSAGE_BYTES + 65_536
CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
# Of the messages of open streams, over all connections of a process: what of each goes beyond its
# first bytes. A message that comes in one frame is not counted where the end of its request comes
# with it.
MAXIMUM_HELD_BYTES = 8 * 1024 * 1024
UNCOUNTED_BODY_BYTES = 1024
# Of answers that the peer does not read.
MAXIMUM_UNSENT_BYTES = 1024 * 1024
# Streams that ended before their request did, and whose late frames are ignored.
REMEMBERED_STREAMS = 1024
# A connection is retired this many streams before its stream ids run out.
SPARE_STREAM_IDS = 2 * MAXIMUM_CONCURRENT_STREAMS

SETTINGS_TIMEOUT_S = 2.0
FRAME_TIMEOUT_S = 10.0  # for the rest of a frame, or of a header block
REQUEST_TIMEOUT_S = 20.0
BLOCKED_TIMEOUT_S = 10.0  # for the window that an answer waits for
SWEEP_S = 0.5  # how often these are looked at

RESETS_BURST, RESETS_PER_S = 1000, 400
SETTINGS_BURST, SETTINGS_PER_S = 1000, 100
CHATTER_BURST, CHATTER_PER_S = 25_000, 25_000
SMALL_DATA_BYTES = 16  # a DATA frame of less, which ends nothing, is chatter
MAXIMUM_EMPTY_DATA = 100  # in a row


class Allowance:
    """A token bucket: a burst, refilled at a rate.

    It looks at the clock only when it is empty. So where nothing was taken for a while, twice the
    burst goes at once.
    """

    __slots__ = ("_burst", "_clock_s", "_filled_s", "_left", "_per_s", "_what")

    def __init__(self, what: str, burst: int, per_s: float, clock_s: Callable[[], float]) -> None:
        self._what = what
        self._burst = burst
        self._per_s = per_s
        self._clock_s = clock_s
        self._left: float = burst
        self._filled_s = clock_s()

    def take(self, count: int = 1) -> None:
        """Takes one or more. Raises ConnectionFault where too few are left."""
        self._left -= count
        if self._left < 0:
            self._refill()

    def _refill(self) -> None:
        now_s = self._clock_s()
        self._left += min(self._burst, (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
        if self._left < 0:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {self._what}")


class Budget:
    """Bytes that may be held at once, over all connections."""

    __slots__ = ("left_bytes",)

    def __init__(self, size_bytes: int) -> None:
        self.left_bytes = size_bytes

    def take(self, size_bytes: int) -> bool:
        """Whether so many are left, which then are taken."""
        if size_bytes > self.left_bytes:
            return False
        self.left_bytes -= size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """What was taken before."""
        self.left_bytes += size_bytes
