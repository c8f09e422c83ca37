"""What a run leaves behind, as types: the books of a phase, a round, the whole run.

These are the stages' only common language: `load` fills a `PhaseMeasurement`,
`run` turns it into a `RoundRecord`, `measure` into a `RunDocument`, and
`reports` reads the last two from a results folder. Histograms travel as
HdrHistogram V2 (deflated, base64) in whole microseconds.
"""

from typing import Any, Literal

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

    `body_hash_sum` adds a 63-bit hash of each body, so that it does not depend on the order; None
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


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A validity rule that struck: what was found, what is allowed, and what to do about it.

    `touches` are the classes of figures: L latency, C throughput and capacity, U CPU, R memory.
    `phase` limits it to the figures of one phase and `metrics`, where there are any, to those
    named.
    """

    rule: str
    effect: Literal["warns", "voids"]
    where: str
    found: str
    allowed: str
    advice: str
    touches: list[Literal["L", "C", "U", "R"]]
    phase: str | None = None
    metrics: list[str] = []


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one round; `value` is None only with a `reason`."""

    value: float | None
    reason: str | None = None
    samples: int | None = None
    marks: list[str] = []
    voided_by: list[str] = []


class PartUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one part of the rig used during a phase, all its processes together.

    `cpu_us` is a difference of CPU clocks over `wall_s`; `run_queue_us` is time spent waiting for
    a core. `rss_*` are None where the part's memory is not sampled.
    """

    cpu_us: int
    wall_s: float
    run_queue_us: int
    rss_median_bytes: int | None
    rss_peak_bytes: int | None
    threads: int
    open_files: int
    context_switches: int


class CoreUse(msgspec.Struct, frozen=True, kw_only=True):
    """Shares, 0 to 1, of one core during a phase."""

    core: int
    busy: float
    idle: float
    steal: float
    irq: float


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What the answered requests of a phase must have cost, as the workload declares it.

    `most_statements` and `most_stub_calls` are those of its dearest request: one that failed may
    have made as many or none. `rarest` are the answers to its rarest request.
    """

    statements: int
    stub_calls: int
    most_statements: int
    most_stub_calls: int
    rarest: int


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The equal-work audit of a phase: four counts of the same requests, and what they must be.

    A count is None where it cannot be had. `statements` are calls by normalised text; `background`
    are those that are no request's work, and stay out of the counts. `slack` is how many requests
    may have been in flight at the cuts.
    """

    answered: int
    declared: Declared
    log_lines: int | None
    stub_calls: int | None
    statements: dict[str, int] | None
    background: dict[str, int] = {}
    slack: int


class PhaseRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A phase of a round, without its histograms (those are in latency.hlog).

    Times are seconds on the round's clock, which starts with the service's start.
    """

    name: Literal["warm-up", "fixed", "closed", "pilot"]
    model: Model
    rate_rps: float | None
    connections: int
    start_s: float
    end_s: float
    offered_rps: float | None
    achieved_rps: float
    mean_ms: float | None
    counts: Counts
    sums: Sums
    statuses: dict[str, int]
    errors: dict[str, int]
    response_bytes: int
    # Answers by the request's name.
    requests: dict[str, Answers]
    workers: list[WorkerBooks]
    # By name: "service", "postgres", "stub", "generator" (workers with their engines, master),
    # "harness".
    parts: dict[str, PartUse]
    cores: list[CoreUse]
    audit: Audit | None
    # p50 and p99 of the stub's own time in a call beyond its setting, where it is measured.
    stub_excess_p50_ms: float | None = None
    stub_excess_p99_ms: float | None = None
    # The length of the schedule, without the time that the last answers took; None: end - start.
    duration_s: float | None = None


class RoundRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one service; `label` is the service's name, or go-a and go-b in a null test."""

    number: int
    block: int
    # 0 for the first of its block.
    position: int
    label: str
    service: str
    seed: int
    started_at: str
    phases: list[PhaseRecord]
    figures: dict[str, Figure]
    findings: list[Finding]
    # How the service died, or None.
    died: str | None = None
    # The fault of the rig for which this block was run again, or None.
    rerun_because: str | None = None


class MetricDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of one service over all rounds: geometric mean and the 95 % t interval on logs."""

    value: float | None
    low: float | None
    high: float | None
    unit: str
    rounds: list[float | None]
    samples: int | None
    rate_rps: float | None
    marks: list[str]
    voided_by: list[str]
    reason: str | None


class RatioDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The ratio of the second service to the first, from paired log ratios of the blocks.

    `p` is the two-sided p of the paired t test, `p_holm` after Holm's correction over the family
    (None outside it). `smallest_visible` is a ratio above 1: a difference of that size is found
    four times in five. `word` is None where no verdict word may be used.
    """

    of: str
    over: str
    value: float | None
    low: float | None
    high: float | None
    blocks: int
    p: float | None
    p_holm: float | None
    smallest_visible: float | None
    word: str | None
    marks: list[str]
    voided_by: list[str]
    reason: str | None = None


class ServiceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A service in `run.json`: where it came from, and its metrics."""

    title: str
    metrics: dict[str, MetricDocument]
    build: dict[str, Any] = {}
    died: list[str] = []


class BlockDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The order of the labels in a block; `rerun_of` names the block it replaces."""

    order: list[str]
    rerun_of: int | None
    rounds: list[int] = []


class RunDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`, schema `bakeoff.run/1`."""

    schema: Literal["bakeoff.run/1"]
    created_at: str
    finished: bool
    environment: dict[str, Any]
    experiment: dict[str, Any]
    reference_rate_rps: float | None
    rates_rps: list[float]
    connections: dict[str, int]
    seed: int
    blocks: list[BlockDocument]
    floor: dict[str, Any] | None
    post_says: dict[str, Any]
    services: dict[str, ServiceDocument]
    ratios: dict[str, RatioDocument]
    validity: list[Finding]
    # The family named before the run, in order.
    family: list[str]
    checks: list[dict[str, Any]] = []
