"""What is kept of a round: its phases with what every part used, its figures, what was found.

`rounds` makes a `RoundRecord` of each round's measurements, and `measure` a document of them all.
"""

from typing import Literal

import msgspec

from bakeoff.measure.measurement import Answers, Counts, Model, Sums, WorkerBooks


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
