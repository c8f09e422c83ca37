"""The figures of one round: from a phase's books, histograms and CPU clocks to the metrics.

Every metric of the list gets a figure; what cannot be had is None with its reason, never 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from hdrh.histogram import HdrHistogram

from bakeoff.measure.histograms import count, percentiles_ms
from bakeoff.measure.metrics import METRICS, TEN_K_RPS, Metric, format_number
from bakeoff.measure.records import Audit, Figure, Finding, PartUse, PhaseRecord

US_PER_MS = 1000.0
ALL_CLASSES = frozenset("LCUR")
# Two reads of a CPU clock closer than this make no figure for a verdict.
MINIMUM_CPU_WINDOW_S = 5.0
# Of the arrivals of a phase: over this share without a free connection it is "client-limited".
WAITED_SHARE = 0.01
# Of the requests sent: over this share of errors and timeouts a rate is "failed".
ERROR_SHARE = 0.001

SHARED_MACHINE = "shared machine"
INDICATIVE = "indicative"
AT_LEAST = "at least"
CLIENT_LIMITED = "client-limited"
CLOSED_MODEL = "closed model"
SHORT_WINDOW = "CPU reads under 5 s apart"
# Figures with one of these marks get no verdict word.
NO_VERDICT_MARKS = frozenset((INDICATIVE, SHORT_WINDOW, AT_LEAST))


@dataclass(frozen=True)
class Measured:
    """A phase with the merged histograms (microseconds) of its latency and of its lateness.

    The lateness is that of the arrivals that found a free connection.
    """

    phase: PhaseRecord
    latency: HdrHistogram
    lateness: HdrHistogram


def round_figures(
    measured: Mapping[str, Measured],
    findings: Sequence[Finding] = (),
    *,
    shared: bool,
    died: str | None = None,
) -> dict[str, Figure]:
    """One figure for each metric, in the order of the list.

    `measured` has the phases "fixed" and "closed" by name, where the round came to them;
    `findings` are those of this round; `shared` marks figures of a machine on which service and
    rig share cores; `died` says how the service died.
    """
    figures = {}
    for metric in METRICS.values():
        figure = _figure(metric, measured, died)
        marks = list(figure.marks)
        if shared and metric.metric_class != "W":
            marks.append(SHARED_MACHINE)
        rules = [f.rule for f in findings if f.effect == "voids" and touches(f, metric)]
        if metric.metric_class == "C" and any(
            f.rule == RIG_SATURATED and f.effect == "warns" and touches(f, metric) for f in findings
        ):
            marks.append(AT_LEAST)
        figures[metric.name] = msgspec.structs.replace(
            figure,
            marks=list(dict.fromkeys(marks)),
            voided_by=list(dict.fromkeys(rules)) if figure.value is not None else [],
        )
    return figures


# Named here because it qualifies figures of class C instead of voiding them.
RIG_SATURATED = "rig's cores saturated"


def touches(finding: Finding, metric: Metric) -> bool:
    """Whether a finding speaks of this metric: by phase, by name, else by class.

    The counts of work and the instrument's own figures are touched by what touches everything.
    """
    if finding.phase is not None and finding.phase != metric.phase:
        return False
    if finding.metrics:
        return metric.name in finding.metrics
    if metric.metric_class == "W":
        return frozenset(finding.touches) >= ALL_CLASSES
    return metric.metric_class in finding.touches


def _figure(metric: Metric, measured: Mapping[str, Measured], died: str | None) -> Figure:
    if metric.phase is None:
        return _absent(_NOT_MEASURED[metric.name])
    found = measured.get(metric.phase)
    if found is None:
        why = f": the service died: {died}" if died else ""
        return _absent(f"the {metric.phase} phase was not finished{why}")
    return _SOURCES[metric.name](metric, found)


_NOT_MEASURED = {
    "capacity_rps": "not measured: this profile has no capacity search",
    "rss_idle_bytes": "not measured: this profile has no idle tail",
}


def _absent(reason: str, samples: int | None = None) -> Figure:
    return Figure(value=None, reason=reason, samples=samples)


def _no_answer(phase: PhaseRecord) -> Figure:
    return _absent(
        f"no request of the {phase.name} phase was answered "
        f"({phase.counts.failed:,} failed, {phase.counts.timed_out:,} timed out)",
        samples=0,
    )


def phase_marks(phase: PhaseRecord) -> list[str]:
    """What the reader of any latency or rate of this phase has to know."""
    counts = phase.counts
    marks = []
    if phase.model == "closed":
        marks.append(CLOSED_MODEL)
    elif counts.scheduled and counts.waited > WAITED_SHARE * counts.scheduled:
        marks.append(CLIENT_LIMITED)
    if counts.sent and counts.failed + counts.timed_out > ERROR_SHARE * counts.sent:
        rate = phase.rate_rps if phase.rate_rps is not None else phase.achieved_rps
        marks.append(f"failed at {rate:,.0f} req/s")
    return marks


def _offered(_metric: Metric, found: Measured) -> Figure:
    if found.phase.offered_rps is None:
        return _absent("a closed model offers no rate")
    return Figure(value=found.phase.offered_rps, samples=found.phase.counts.scheduled)


def _rate(_metric: Metric, found: Measured) -> Figure:
    phase = found.phase
    if not phase.counts.answered:
        return _no_answer(phase)
    return Figure(value=phase.achieved_rps, samples=phase.counts.answered, marks=phase_marks(phase))


def _mean(_metric: Metric, found: Measured) -> Figure:
    phase = found.phase
    if phase.mean_ms is None or not phase.counts.answered:
        return _no_answer(phase)
    return Figure(
        value=phase.mean_ms,
        samples=count(found.latency),
        marks=phase_marks(phase) + ([AT_LEAST] if phase.counts.timed_out else []),
    )


def _maximum(_metric: Metric, found: Measured) -> Figure:
    phase = found.phase
    if not phase.counts.answered:
        return _no_answer(phase)
    return Figure(
        value=found.latency.get_max_value() / US_PER_MS,
        samples=count(found.latency),
        marks=phase_marks(phase) + ([AT_LEAST] if phase.counts.timed_out else []),
    )


def _latency_percentile(metric: Metric, found: Measured) -> Figure:
    phase = found.phase
    if not phase.counts.answered:
        return _no_answer(phase)
    figure = _percentile(metric, found.latency)
    if figure.value is None:
        return figure
    marks = phase_marks(phase) + figure.marks
    # A timeout is entered at its timeout: had it been waited for, it would be more.
    if phase.counts.timed_out > (1 - _quantile(metric)) * (figure.samples or 0):
        marks.append(AT_LEAST)
    return msgspec.structs.replace(figure, marks=marks)


def _lateness(metric: Metric, found: Measured) -> Figure:
    return _percentile(metric, found.lateness)


def _percentile(metric: Metric, histogram: HdrHistogram) -> Figure:
    samples, percentile = count(histogram), 100 * _quantile(metric)
    value_ms = percentiles_ms(histogram, [percentile])[percentile]
    if value_ms is None or samples < metric.indicative_samples:
        return _absent(
            f"needs {metric.indicative_samples:,} requests a round, had {samples:,}", samples
        )
    marks = [INDICATIVE] if samples < metric.minimum_samples else []
    return Figure(value=value_ms, samples=samples, marks=marks)


def _quantile(metric: Metric) -> float:
    if metric.quantile is None:
        raise ValueError(f"{metric.name} is no percentile")
    return metric.quantile


def _cpu(*parts: str) -> Callable[[Metric, Measured], Figure]:
    """CPU of some parts over the answered requests; an error costs CPU but is no answer."""

    def cpu_a_request(_metric: Metric, found: Measured) -> Figure:
        phase = found.phase
        if not phase.counts.answered:
            return _no_answer(phase)
        missing = [name for name in parts if name not in phase.parts]
        if missing:
            return _absent(f"the CPU of {' and '.join(missing)} is not sampled here")
        cpu_us = sum(phase.parts[name].cpu_us for name in parts)
        short = any(phase.parts[name].wall_s < MINIMUM_CPU_WINDOW_S for name in parts)
        return Figure(
            value=cpu_us / phase.counts.answered,
            samples=phase.counts.answered,
            marks=[SHORT_WINDOW] if short else [],
        )

    return cpu_a_request


def _cpu_percent(_metric: Metric, found: Measured) -> Figure:
    phase, part = found.phase, found.phase.parts.get("service")
    if part is None:
        return _absent("the CPU of service is not sampled here")
    if not phase.counts.answered:
        return _no_answer(phase)
    percent = 100 * part.cpu_us / phase.counts.answered * phase.achieved_rps / 1e6
    if phase.rate_rps != TEN_K_RPS:
        rate = phase.achieved_rps if phase.rate_rps is None else phase.rate_rps
        return _absent(
            f"the rate was {rate:,.0f} req/s, not 10,000; there the service used "
            f"{format_number(percent)} % of one core"
        )
    short = part.wall_s < MINIMUM_CPU_WINDOW_S
    return Figure(
        value=percent,
        samples=phase.counts.answered,
        marks=phase_marks(phase) + ([SHORT_WINDOW] if short else []),
    )


def _memory(read: Callable[[PartUse], int | None]) -> Callable[[Metric, Measured], Figure]:
    def memory(_metric: Metric, found: Measured) -> Figure:
        part = found.phase.parts.get("service")
        value = None if part is None else read(part)
        if value is None:
            return _absent("the memory of the service is not sampled here")
        return Figure(value=float(value))

    return memory


def _audited(
    what: str, read: Callable[[Audit], int | None]
) -> Callable[[Metric, Measured], Figure]:
    def work(_metric: Metric, found: Measured) -> Figure:
        audit = found.phase.audit
        done = None if audit is None else read(audit)
        if audit is None or done is None:
            return _absent(f"{what} cannot be counted here")
        if not audit.answered:
            return _no_answer(found.phase)
        return Figure(value=done / audit.answered, samples=audit.answered)

    return work


def _response_bytes(_metric: Metric, found: Measured) -> Figure:
    phase = found.phase
    if not phase.counts.answered:
        return _no_answer(phase)
    return Figure(value=phase.response_bytes / phase.counts.answered, samples=phase.counts.answered)


def _statement_calls(audit: Audit) -> int | None:
    return None if audit.statements is None else sum(audit.statements.values())


_SOURCES: dict[str, Callable[[Metric, Measured], Figure]] = {
    "offered_rps": _offered,
    "achieved_rps": _rate,
    "mean_ms": _mean,
    "p50_ms": _latency_percentile,
    "p90_ms": _latency_percentile,
    "p95_ms": _latency_percentile,
    "p99_ms": _latency_percentile,
    "p999_ms": _latency_percentile,
    "max_ms": _maximum,
    "lateness_p99_ms": _lateness,
    "throughput_rps": _rate,
    "cpu_us_per_request": _cpu("service"),
    "system_cpu_us_per_request": _cpu("service", "postgres"),
    "postgres_cpu_us_per_request": _cpu("postgres"),
    "stub_cpu_us_per_request": _cpu("stub"),
    "generator_cpu_us_per_request": _cpu("generator"),
    "cpu_percent_at_10k_rps": _cpu_percent,
    "rss_steady_bytes": _memory(lambda part: part.rss_median_bytes),
    "rss_peak_bytes": _memory(lambda part: part.rss_peak_bytes),
    "sql_statements_per_request": _audited("SQL statements", _statement_calls),
    "grpc_calls_per_request": _audited("calls of the stub", lambda audit: audit.stub_calls),
    "log_lines_per_request": _audited("log lines", lambda audit: audit.log_lines),
    "response_bytes_per_request": _response_bytes,
}
