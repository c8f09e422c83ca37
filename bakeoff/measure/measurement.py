"""What the load measured in a phase: its books, sums, and histograms second by second.

`load` fills a `PhaseMeasurement`, the only language between it and the rest. Histograms travel as
HdrHistogram V2 (deflated, base64) in whole microseconds.
"""

from typing import Literal

import msgspec

LATENCY_MINIMUM_US = 1
LATENCY_MAXIMUM_US = 3_600_000_000
LATENCY_DIGITS = 3

Model = Literal["open", "closed"]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The books of a phase: scheduled = sent + never_sent; sent = answered + failed + timed_out
    + in_flight.

    `waited` counts arrivals that found no free connection, `reconnects` connections opened
    again after the first time. `answered` has the expected status and a whole body. `followed` are
    those sent after another one of the same arrival, so arrivals = scheduled - followed.
    """

    scheduled: int = 0
    sent: int = 0
    never_sent: int = 0
    answered: int = 0
    failed: int = 0
    timed_out: int = 0
    in_flight: int = 0
    waited: int = 0
    reconnects: int = 0
    followed: int = 0

    @property
    def arrivals(self) -> int:
        """How often a task was due."""
        return self.scheduled - self.followed


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The answered requests of one name.

    `body_hash_sum` adds up the CRC-32 of each body, so that it does not depend on the order; None
    where bodies hold what the service made up itself, such as ids.
    """

    answered: int
    response_bytes: int
    body_hash_sum: int | None


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Exact sums over the answered and timed-out requests, in microseconds:
    latency = lateness + service."""

    latency_us: int = 0
    lateness_us: int = 0
    service_us: int = 0


class WorkerBooks(msgspec.Struct, frozen=True, kw_only=True):
    """What the master has from one worker: reports by sequence number, and its own sums."""

    worker: str
    index: int
    reports: int
    last_sequence: int
    gaps: int
    repeats: int
    final: bool
    counts: Counts
    # What the worker says it recorded, against what the master merged of it.
    recorded: int
    merged: int
    p99_ms: float | None


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """One second of a phase, by time of completion, from the phase's start."""

    start_s: float
    completed: int
    latency: str
    # Lateness of the arrivals that found a free connection.
    lateness: str


class PhaseMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """What the load measured in one phase, merged over all workers.

    `complete` says that every worker's last report is in. `started_monotonic_s` is
    CLOCK_MONOTONIC on the master's machine. `requests` are the answers by the request's name.
    """

    test_id: str
    complete: bool
    model: Model
    rate_rps: float | None
    arrivals: str | None
    seed: int
    duration_s: float
    connections: int
    started_unix_s: float
    started_monotonic_s: float
    # From the first arrival to the end of the schedule; completions after it are not counted
    # in achieved_rps.
    elapsed_s: float
    # Completed (answered) within elapsed_s.
    completed_in_window: int
    counts: Counts
    sums: Sums
    statuses: dict[str, int]
    errors: dict[str, int]
    requests: dict[str, Answers]
    workers: list[WorkerBooks]
    intervals: list[Interval]

    @property
    def response_bytes(self) -> int:
        """Bytes of all answered bodies."""
        return sum(one.response_bytes for one in self.requests.values())
