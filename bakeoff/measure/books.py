"""The books of a phase must balance: every request is accounted for, every sample arrived."""

from collections.abc import Iterator

import msgspec

from bakeoff.measure.measurement import Counts
from bakeoff.measure.records import Finding, PhaseRecord

UNBALANCED = "books do not balance"
SAMPLES_LOST = "samples lost"
WORKER_LOST = "a worker was lost"
WORKERS_DISAGREE = "workers disagree"
UNKNOWN_CPU = "CPU not accounted for"

# Each time is rounded to a microsecond for itself.
ROUNDING_US = 1
WORKER_P99_SHARE = 0.20
# A p99 of fewer samples differs by chance.
WORKER_MINIMUM_SAMPLES = 1000
UNKNOWN_CPU_SHARE = 0.10
KNOWN_PARTS = frozenset(("service", "postgres", "stub", "generator"))


def books(phase: PhaseRecord, recorded: int | None, where: str) -> list[Finding]:
    """What does not add up in the counts and sums of a phase; `recorded` are the values in its
    latency histogram, which has the answered and the timed-out requests."""
    return [
        Finding(
            rule=UNBALANCED,
            effect="voids",
            where=where,
            found=found,
            allowed="equal",
            advice="a fault of the instrument: please report it with the results folder",
            touches=["L", "C", "U"],
            phase=phase.name,
        )
        for found in _imbalances(phase, recorded)
    ]


def _imbalances(phase: PhaseRecord, recorded: int | None) -> Iterator[str]:
    counts, sums = phase.counts, phase.sums
    if phase.model == "open" and counts.scheduled != counts.sent + counts.never_sent:
        yield (
            f"scheduled {counts.scheduled:,} but sent {counts.sent:,} "
            f"and never sent {counts.never_sent:,}"
        )
    ended = counts.answered + counts.failed + counts.timed_out + counts.in_flight
    if counts.sent != ended:
        yield f"sent {counts.sent:,} but answered, failed, timed out or in flight {ended:,}"
    if counts.in_flight:
        # A measurement is complete when every request is over.
        yield f"{counts.in_flight:,} requests were sent and never ended"
    timed = counts.answered + counts.timed_out
    off_us = sums.latency_us - sums.lateness_us - sums.service_us
    if abs(off_us) > ROUNDING_US * timed:
        yield f"response times are {off_us:,} us off lateness and sent-to-done together"
    if recorded is not None and recorded != timed:
        yield f"{recorded:,} latencies of {timed:,} answered and timed-out requests"
    replies = sum(phase.statuses.values())
    if not counts.answered <= replies <= counts.answered + counts.failed:
        yield (
            f"{replies:,} statuses of {counts.answered:,} answered "
            f"and {counts.failed:,} failed requests"
        )
    if phase.workers:
        for name in msgspec.structs.fields(Counts):
            whole = getattr(counts, name.name)
            parts = sum(getattr(worker.counts, name.name) for worker in phase.workers)
            if whole != parts:
                yield f"{name.name} {whole:,}, but {parts:,} of all workers"


def worker_findings(
    phase: PhaseRecord, workers: int, merged_p99_ms: float | None, where: str
) -> list[Finding]:
    """Lost samples, lost workers and workers that disagree with the p99 of all together;
    `workers` should have taken part."""
    return [
        *_lost_samples(phase, where),
        *_lost_workers(phase, workers, where),
        *_disagreeing_workers(phase, merged_p99_ms, where),
    ]


def _lost_samples(phase: PhaseRecord, where: str) -> Iterator[Finding]:
    for worker in phase.workers:
        if worker.recorded == worker.merged and not worker.gaps:
            continue
        yield Finding(
            rule=SAMPLES_LOST,
            effect="voids",
            where=where,
            found=f"worker {worker.worker} recorded {worker.recorded:,}, merged "
            f"{worker.merged:,}, with {worker.gaps} gaps in its reports",
            allowed="recorded = merged, no gap",
            advice="see the logs of the worker and of the master",
            touches=["L", "C", "U", "R"],
            phase=phase.name,
        )


def _lost_workers(phase: PhaseRecord, workers: int, where: str) -> Iterator[Finding]:
    unfinished = [worker.worker for worker in phase.workers if not worker.final]
    if not unfinished and len(phase.workers) == workers:
        return
    silent = f"; no last report of {', '.join(unfinished)}" if unfinished else ""
    yield Finding(
        rule=WORKER_LOST,
        effect="voids",
        where=where,
        found=f"{len(phase.workers)} workers{silent}",
        allowed=f"{workers} workers from first to last report",
        advice="see the worker's log; a worker must not join or leave during a phase",
        touches=["L", "C"],
        phase=phase.name,
    )


def _disagreeing_workers(
    phase: PhaseRecord, merged_p99_ms: float | None, where: str
) -> Iterator[Finding]:
    if merged_p99_ms is None:
        return
    for worker in phase.workers:
        if worker.p99_ms is None or worker.recorded < WORKER_MINIMUM_SAMPLES:
            continue
        if abs(worker.p99_ms - merged_p99_ms) > WORKER_P99_SHARE * merged_p99_ms:
            yield Finding(
                rule=WORKERS_DISAGREE,
                effect="warns",
                where=where,
                found=f"p99 of worker {worker.worker} {worker.p99_ms:.2f} ms, "
                f"of all {merged_p99_ms:.2f} ms",
                allowed="20 % from all",
                advice="one worker is slower than the rest: see its cores and its network",
                touches=["L"],
                phase=phase.name,
            )


def cpu_findings(phase: PhaseRecord, cores: int, where: str) -> list[Finding]:
    """CPU of all known processes + irq + steal + idle = cores x wall, where all is sampled."""
    if not phase.parts.keys() >= KNOWN_PARTS or len(phase.cores) != cores:
        return []
    known = sum(part.cpu_us / part.wall_s / 1e6 for part in phase.parts.values())
    other = sum(core.idle + core.irq + core.steal for core in phase.cores)
    unknown = (cores - known - other) / cores
    if abs(unknown) <= UNKNOWN_CPU_SHARE:
        return []
    return [
        Finding(
            rule=UNKNOWN_CPU,
            effect="warns",
            where=where,
            found=f"{100 * unknown:.0f} % of {cores} cores",
            allowed=f"{100 * UNKNOWN_CPU_SHARE:.0f} %",
            advice="other processes use this machine: end them, or use another one",
            touches=["L", "C", "U"],
            phase=phase.name,
        )
    ]
