"""The closed list of metrics: unit, class, which way is better, and the requests it takes.

The classes are those of the validity rules: L latency, C throughput and capacity, U CPU,
R memory; W is the count of work and the instrument's own figures, which only a rule that voids
everything touches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MetricClass = Literal["L", "C", "U", "R", "W"]
Better = Literal["lower", "higher"]
PhaseName = Literal["fixed", "closed"]

# A hundred observations beyond a percentile make it a figure; from ten on it is "indicative".
BEYOND = 100
INDICATIVE_SHARE = 0.1
TEN_K_RPS = 10_000.0
# Under this many cores service and rig share them, and the tail is the scheduler's.
SHARED_CORES = 4


@dataclass(frozen=True)
class Metric:
    """One metric. `phase` is the phase it is measured in, None where no phase of a round is.

    `quantile` is that of a latency percentile; `title` is how a sentence names it.
    """

    name: str
    title: str
    unit: str
    metric_class: MetricClass
    better: Better | None
    phase: PhaseName | None = "fixed"
    quantile: float | None = None

    @property
    def minimum_samples(self) -> int:
        """The requests a round that make it a figure; under a tenth of that it is not had."""
        return 1 if self.quantile is None else round(BEYOND / (1 - self.quantile))

    @property
    def indicative_samples(self) -> int:
        """From this many requests a round on it is shown, as "indicative"."""
        return max(1, round(self.minimum_samples * INDICATIVE_SHARE))


def _latency(name: str, title: str, quantile: float | None = None) -> Metric:
    return Metric(name, title, "ms", "L", "lower", quantile=quantile)


def _cpu(name: str, title: str) -> Metric:
    return Metric(name, title, "us", "U", "lower")


def _memory(name: str, title: str, phase: PhaseName | None = "fixed") -> Metric:
    return Metric(name, title, "bytes", "R", "lower", phase=phase)


def _work(name: str, title: str, unit: str = "per request") -> Metric:
    return Metric(name, title, unit, "W", None)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("offered_rps", "offered rate", "req/s", "W", None),
        Metric("achieved_rps", "achieved rate", "req/s", "C", "higher"),
        _latency("mean_ms", "mean latency"),
        _latency("p50_ms", "p50 latency", 0.5),
        _latency("p90_ms", "p90 latency", 0.9),
        _latency("p95_ms", "p95 latency", 0.95),
        _latency("p99_ms", "p99 latency", 0.99),
        _latency("p999_ms", "p99.9 latency", 0.999),
        _latency("max_ms", "highest latency"),
        Metric("lateness_p99_ms", "lateness of the generator, p99", "ms", "W", None, "fixed", 0.99),
        Metric("throughput_rps", "throughput", "req/s", "C", "higher", phase="closed"),
        Metric("capacity_rps", "capacity", "req/s", "C", "higher", phase=None),
        _cpu("cpu_us_per_request", "CPU a request"),
        _cpu("system_cpu_us_per_request", "CPU a request of service and Postgres"),
        _cpu("postgres_cpu_us_per_request", "CPU a request of Postgres"),
        _cpu("stub_cpu_us_per_request", "CPU a request of the stub"),
        _cpu("generator_cpu_us_per_request", "CPU a request of the generator"),
        Metric("cpu_percent_at_10k_rps", "CPU at 10,000 req/s", "% of one core", "U", "lower"),
        _memory("rss_idle_bytes", "idle memory", phase=None),
        _memory("rss_steady_bytes", "steady memory"),
        _memory("rss_peak_bytes", "peak memory"),
        _work("sql_statements_per_request", "SQL statements a request"),
        _work("grpc_calls_per_request", "gRPC calls a request"),
        _work("log_lines_per_request", "log lines a request"),
        _work("response_bytes_per_request", "response bytes a request", "bytes"),
    )
}

# Named before the run: only these get verdict words.
FAMILY = (
    "throughput_rps",
    "p50_ms",
    "p99_ms",
    "rss_steady_bytes",
    "rss_peak_bytes",
    "cpu_us_per_request",
    "system_cpu_us_per_request",
)
SHARED_FAMILY = (
    "cpu_us_per_request",
    "system_cpu_us_per_request",
    "p50_ms",
    "rss_steady_bytes",
    "rss_peak_bytes",
)


def family(cores: int) -> tuple[str, ...]:
    """The metrics that get verdict words on a machine with this many cores."""
    return SHARED_FAMILY if cores < SHARED_CORES else FAMILY


def format_value(name: str, value: float) -> str:
    """A metric's value for people, with its unit: "4.21 ms", "18,400 req/s", "95.3 MB"."""
    unit = METRICS[name].unit
    if unit == "bytes":
        return format_bytes(value)
    return f"{format_number(value)} {unit.replace('% of one core', '% of a core')}"


def format_number(value: float) -> str:
    """Three significant digits, with thousands apart: "0.620", "4.21", "18,400"."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    for limit, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(rounded) >= limit:
            return f"{rounded:,.{digits}f}"
    return f"{rounded:#.3g}"


def format_bytes(value: float) -> str:
    """Bytes for people, in decimal units: "95.3 MB"."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        # A value that rounds up to the next unit is printed in that unit.
        if abs(value) >= limit * 0.9995:
            return f"{format_number(value / limit)} {unit}"
    return f"{format_number(value)} B"
