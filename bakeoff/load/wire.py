"""What crosses the pipe between a Locust worker and its engine: framed msgpack.

A frame is a little-endian length of four bytes and one of the messages below. Samples travel as
they lie in memory: rows of `COLUMNS` 64-bit integers.
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

# Columns of a sample. Times are nanoseconds of CLOCK_MONOTONIC.
COLUMNS = 7
DUE, SENT, DONE, OUTCOME, SIZE, HASH, TAG = range(COLUMNS)
# OUTCOME: a status that was expected, or UNEXPECTED + status, or one of these.
BROKEN = 1
TIMED_OUT = 2
UNEXPECTED = 1000
# Where nothing is expected, a status from here on is no answer.
ERROR = 400
# TAG: four times the index of the request's name, plus these.
TAG_WAITED = 1  # the arrival found no free connection
TAG_FOLLOWED = 2  # not the first request of its arrival
TAG_NAMES = 4


class TaskEntry(msgspec.Struct, frozen=True):
    """A task of a user class, and its share of the arrivals."""

    user_class: str
    task: str
    weight: float


class Prepare(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Open `connections` to `host` for a run that `Go` starts; ends any run before it."""

    run: str
    host: str
    connections: int
    timeout_s: float
    entries: list[TaskEntry]
    options: dict[str, Any]


class Go(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Start at `start_ns` with part `index` of `count`; no `rate_rps`: closed model."""

    run: str
    start_ns: int
    index: int
    count: int
    rate_rps: float | None
    arrivals: str
    seed: int
    duration_s: float


class Finish(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """No more arrivals; wait at most `limit_s` for those under way, then the last batch."""

    run: str
    limit_s: float


class Loaded(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The engine has imported the Locust files and set up their users."""

    pid: int


class Prepared(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """All connections are open."""

    run: str


class Failed(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The run (or, without one, the engine) cannot go on."""

    reason: str
    run: str | None = None


class TaskError(msgspec.Struct, frozen=True, kw_only=True):
    """An exception that left a task."""

    message: str
    traceback: str
    count: int


class RequestError(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that got no whole answer, by name and reason."""

    name: int
    message: str
    count: int


class Batch(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The samples and errors since the batch before, and the counts so far.

    `elapsed_ns` is the length of the schedule once it is over, until then the time since start.
    """

    run: str
    samples: bytes
    names: list[tuple[str, str]]
    request_errors: list[RequestError]
    task_errors: list[TaskError]
    scheduled: int
    sent: int
    followed: int
    never_sent: int
    waited: int
    reconnects: int
    elapsed_ns: int
    final: bool


ToEngine = Prepare | Go | Finish
FromEngine = Loaded | Prepared | Failed | Batch

_LENGTH = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()


def encode(message: ToEngine | FromEngine) -> bytes:
    """One frame."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Cuts a stream of bytes into the bodies of frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that are complete with `data`."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            end = _LENGTH.size + length
            if len(buffer) < end:
                return
            body = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            yield body


def to_engine(body: bytes) -> ToEngine:
    """A message for the engine."""
    order: ToEngine = msgspec.msgpack.decode(body, type=ToEngine)
    return order


def from_engine(body: bytes) -> FromEngine:
    """A message from the engine."""
    message: FromEngine = msgspec.msgpack.decode(body, type=FromEngine)
    return message
