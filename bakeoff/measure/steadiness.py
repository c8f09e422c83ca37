"""Whether a phase was steady: CPU a request from its first to its last third, and the p99 of
each second. Steadiness is tested after the fact, never waited for."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

# Its parts are imported when they are first asked for: they take as long as all else together.
import scipy

from bakeoff.measure.histograms import decode, percentiles_ms
from bakeoff.measure.measurement import Interval
from bakeoff.measure.records import Finding
from bakeoff.measure.samples import Sample

NOT_STEADY = "not steady"
DRIFT_SHARE = 0.10
# A trend in the p99 of the seconds (Kendall's tau) must be this unlikely by chance. A number in
# flight that grows shows here too: what waits longer is slower.
TREND_P = 0.001
MINIMUM_SECONDS = 6


def steadiness_findings(
    intervals: Sequence[Interval],
    service: Sequence[Sample],
    start_s: float,
    phase: str,
    where: str,
) -> list[Finding]:
    """Drifts of one phase that began at `start_s` on the clock of the service's samples.

    `intervals` are its whole seconds by time of completion, those of the schedule only.
    """
    if len(intervals) < MINIMUM_SECONDS:
        return []
    findings = []
    cpu = _cpu_drift(intervals, service, start_s)
    if cpu is not None and abs(cpu) > DRIFT_SHARE:
        findings.append(_finding(["U"], phase, where, f"CPU a request changed by {_percent(cpu)}"))
    trend = _p99_trend(intervals)
    if trend is not None and abs(trend) > DRIFT_SHARE:
        findings.append(
            _finding(["L"], phase, where, f"p99 of a second changed by {_percent(trend)}")
        )
    return findings


def _cpu_drift(
    intervals: Sequence[Interval], service: Sequence[Sample], start_s: float
) -> float | None:
    """The change of CPU a request from the first to the last third, as a share."""
    third = len(intervals) // 3
    if not service or service[0].t_s > start_s or service[-1].t_s < start_s + len(intervals):
        return None
    times_s, cpu_us = [s.t_s for s in service], [float(s.cpu_us) for s in service]
    costs = []
    for begin in (0, len(intervals) - third):
        completed = sum(one.completed for one in intervals[begin : begin + third])
        edges_s = [start_s + begin, start_s + begin + third]
        before, after = np.interp(edges_s, times_s, cpu_us)
        if not completed or after <= before:
            return None
        costs.append(float(after - before) / completed)
    return costs[1] / costs[0] - 1


def _p99_trend(intervals: Sequence[Interval]) -> float | None:
    """The change of the seconds' p99 from first to last third, where they have a trend."""
    found = [percentiles_ms(decode(one.latency), [99.0])[99.0] for one in intervals]
    p99_ms = [value for value in found if value is not None]
    if len(p99_ms) < MINIMUM_SECONDS:
        return None
    if not scipy.stats.kendalltau(range(len(p99_ms)), p99_ms).pvalue < TREND_P:
        return None
    third = len(p99_ms) // 3
    return float(np.median(p99_ms[-third:]) / np.median(p99_ms[:third])) - 1


def _finding(
    touches: list[Literal["L", "C", "U", "R"]], phase: str, where: str, found: str
) -> Finding:
    return Finding(
        rule=NOT_STEADY,
        effect="warns",
        where=where,
        found=f"{found} from the first to the last third",
        allowed=f"{100 * DRIFT_SHARE:.0f} %",
        advice="warm up for longer (warm_up_s), or look for what changes: caches, a growing "
        "table, the processor's clock",
        touches=touches,
        phase=phase,
    )


def _percent(share: float) -> str:
    return f"{100 * share:+.0f} %"
