"""From what was measured and sampled in a phase to its record."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from bakeoff.experiment import Work
from bakeoff.measure.figures import Measured
from bakeoff.measure.measurement import Answers, PhaseMeasurement
from bakeoff.measure.phase import merged_latency, merged_lateness
from bakeoff.measure.records import Audit, PartUse, PhaseRecord
from bakeoff.measure.samples import CoreSample, Sample, core_uses, part_uses

PhaseName = Literal["warm-up", "fixed", "closed", "pilot"]
# Of the answers: where more come after the schedule's end, the phase lasts until the last cut.
_LATE_SHARE = 0.01


@dataclass(frozen=True)
class PhaseSpec:
    """What a phase shall be; `rate_rps` None is the closed model."""

    name: PhaseName
    rate_rps: float | None
    duration_s: float
    connections: int


@dataclass(frozen=True)
class PhaseInputs:
    """What was seen of one phase. Samples are by host, all times on the round's clock.

    `start_s` is the first arrival, `cut_s` the reading after the last answer. `work` is what the
    workload declares; `elsewhere` is a service that the rig did not start.
    """

    spec: PhaseSpec
    measurement: PhaseMeasurement
    start_s: float
    cut_s: float
    samples: Mapping[str, Sequence[Sample]]
    cores: Sequence[CoreSample]
    audit: Audit
    stub_excess_ms: tuple[float, float] | None
    work: Mapping[str, Work]
    elsewhere: bool


def measured_phase(inputs: PhaseInputs) -> Measured:
    """The record of the phase with its merged histograms."""
    measurement, spec = inputs.measurement, inputs.spec
    end_s = _end_s(inputs)
    sums, ended = measurement.sums, measurement.counts.answered + measurement.counts.timed_out
    excess = inputs.stub_excess_ms or (None, None)
    record = PhaseRecord(
        name=spec.name,
        model=measurement.model,
        rate_rps=spec.rate_rps,
        connections=spec.connections,
        start_s=inputs.start_s,
        end_s=end_s,
        offered_rps=None
        if spec.rate_rps is None
        else measurement.counts.scheduled / measurement.elapsed_s,
        achieved_rps=measurement.completed_in_window / measurement.elapsed_s,
        mean_ms=sums.latency_us / ended / 1000 if ended else None,
        counts=measurement.counts,
        sums=sums,
        statuses=measurement.statuses,
        errors=measurement.errors,
        response_bytes=measurement.response_bytes,
        requests=_comparable(measurement.requests, inputs.work),
        workers=measurement.workers,
        parts=_parts(inputs.samples, inputs.start_s, end_s),
        cores=core_uses(inputs.cores, inputs.start_s, end_s),
        audit=inputs.audit,
        stub_excess_p50_ms=excess[0],
        stub_excess_p99_ms=excess[1],
        duration_s=measurement.duration_s,
    )
    return Measured(
        phase=record,
        latency=merged_latency(measurement),
        lateness=merged_lateness(measurement),
        elsewhere=inputs.elsewhere,
    )


def excess_ms(under_load: Sequence[float], at_rest: Sequence[float]) -> tuple[float, float] | None:
    """p50 and p99 of the stub's answers beyond those at rest, in milliseconds; None without any."""
    if not under_load or not at_rest:
        return None
    loaded, rest = (np.percentile(values, (50, 99)) for values in (under_load, at_rest))
    return float(loaded[0] - rest[0]), float(loaded[1] - rest[1])


def _comparable(requests: Mapping[str, Answers], work: Mapping[str, Work]) -> dict[str, Answers]:
    """The answers without the hashes of bodies that no other service can have made."""
    return {
        name: msgspec.structs.replace(one, body_hash_sum=None) if work[name].own_bodies else one
        for name, one in requests.items()
    }


def _end_s(inputs: PhaseInputs) -> float:
    """The schedule's end, or the last cut where many answers came after it: a part's use must
    enclose the requests that it is divided by."""
    measurement = inputs.measurement
    late = measurement.counts.answered - measurement.completed_in_window
    if late > _LATE_SHARE * measurement.counts.answered:
        return inputs.cut_s
    return min(inputs.start_s + measurement.elapsed_s, inputs.cut_s)


def _parts(
    samples: Mapping[str, Sequence[Sample]], start_s: float, end_s: float
) -> dict[str, PartUse]:
    """What each part used, over all hosts that it stands on."""
    by_part: dict[str, list[PartUse]] = {}
    for of_host in samples.values():
        for part, use in part_uses(of_host, start_s, end_s).items():
            by_part.setdefault(part, []).append(use)
    return {part: _together(uses) for part, uses in by_part.items()}


def _together(uses: Sequence[PartUse]) -> PartUse:
    if len(uses) == 1:
        return uses[0]
    medians = [use.rss_median_bytes for use in uses]
    peaks = [use.rss_peak_bytes for use in uses]
    return PartUse(
        cpu_us=sum(use.cpu_us for use in uses),
        wall_s=max(use.wall_s for use in uses),
        run_queue_us=sum(use.run_queue_us for use in uses),
        rss_median_bytes=_sum(medians),
        rss_peak_bytes=_sum(peaks),
        threads=sum(use.threads for use in uses),
        open_files=sum(use.open_files for use in uses),
        context_switches=sum(use.context_switches for use in uses),
    )


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
