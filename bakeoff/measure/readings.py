"""How each metric is read from a phase: its books, histograms, CPU clocks and audit."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from hdrh.histogram import HdrHistogram

from bakeoff.measure.histograms import count, percentiles_ms
from bakeoff.measure.marks import AT_LEAST, INDICATIVE, SHORT_WINDOW, phase_marks
from bakeoff.measure.metrics import TEN_K_RPS, Metric, format_number
from bakeoff.measure.records import Audit, Figure, PartUse, PhaseRecord

US_PER_MS = 1000.0
# Two reads of a CPU clock closer than this make no figure for a verdict.
MINIMUM_CPU_WINDOW_S = 5.0


@dataclass(frozen=True)
class Measured:
    """A phase with the merged histograms (microseconds) of its latency and of its lateness.

    The lateness is that of the arrivals that found a free connection. `elsewhere` is a service that
    the rig did not start, of which it can read nothing.
    """

    phase: PhaseRecord
    latency: HdrHistogram
    lateness: HdrHistogram
    elsewhere: bool = False


def absent(reason: str, samples: int | None = None) -> Figure:
    """No figure, and why."""
    return Figure(value=None, reason=reason, samples=samples)


def _unread(what: str, found: Measured, ours: bool = False) -> Figure:
    """No figure of what lies beside the answers; `ours` is a part that stands here in any case."""
    if found.elsewhere and not ours:
        return absent(f"the service runs elsewhere (`url` in its service.toml): no {what}")
    return absent(f"{what} cannot be read here")


def _no_answer(phase: PhaseRecord) -> Figure:
    return absent(
        f"no request of the {phase.name} phase was answered "
        f"({phase.counts.failed:,} failed, {phase.counts.timed_out:,} timed out)",
        samples=0,
    )


def _offered(_metric: Metric, found: Measured) -> Figure:
    if found.phase.offered_rps is None:
        return absent("a closed model offers no rate")
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
        return absent(
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
            return _unread(f"CPU of {' and '.join(missing)}", found, missing == ["generator"])
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
        return _unread("CPU of service", found)
    if not phase.counts.answered:
        return _no_answer(phase)
    percent = 100 * part.cpu_us / phase.counts.answered * phase.achieved_rps / 1e6
    if phase.rate_rps != TEN_K_RPS:
        rate = phase.achieved_rps if phase.rate_rps is None else phase.rate_rps
        return absent(
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
            return _unread("memory of the service", found)
        return Figure(value=float(value))

    return memory


def _audited(
    what: str, read: Callable[[Audit], int | None]
) -> Callable[[Metric, Measured], Figure]:
    def work(_metric: Metric, found: Measured) -> Figure:
        audit = found.phase.audit
        done = None if audit is None else read(audit)
        if audit is None or done is None:
            return _unread(f"count of {what}", found)
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


READINGS: dict[str, Callable[[Metric, Measured], Figure]] = {
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
