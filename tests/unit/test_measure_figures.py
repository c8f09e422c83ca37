"""From a phase to its figures: each under its own name, and nothing that was not measured."""

import dataclasses

import msgspec
import numpy as np
import pytest

from bakeoff.measure.figures import Measured, round_figures
from bakeoff.measure.marks import (
    AT_LEAST,
    CLIENT_LIMITED,
    CLOSED_MODEL,
    ELSEWHERE,
    INDICATIVE,
    SHARED_MACHINE,
    SHORT_WINDOW,
)
from bakeoff.measure.metrics import METRICS, format_number, format_value
from bakeoff.measure.rate import arrivals_rps, reference_rate
from bakeoff.measure.records import Figure
from tests.unit.healthy import REQUESTS, histogram, latency_us, measured, part, phase

replace = msgspec.structs.replace


def figures_of(subject: Measured, **phases: Measured) -> dict[str, Figure]:
    return round_figures({"fixed": subject, **phases}, shared=False)


def test_a_known_distribution_comes_out_under_its_own_names() -> None:
    # 1 to 100,000 us, each once: the percentile p is p / 100 * 100 ms.
    values = np.arange(1, 100_001)
    late = np.arange(1, 100_001) // 100 + 1
    figures = figures_of(Measured(phase(), histogram(values), histogram(late)))
    expected = {"p50_ms": 50, "p90_ms": 90, "p95_ms": 95, "p99_ms": 99, "p999_ms": 99.9}
    for name, value_ms in {**expected, "max_ms": 100, "lateness_p99_ms": 0.991}.items():
        assert figures[name].value == pytest.approx(value_ms, rel=0.001), name
        assert figures[name].samples == 100_000
        assert figures[name].marks == []


def test_every_metric_has_a_figure_or_a_reason() -> None:
    closed = measured(name="closed", model="closed", rate_rps=None, achieved_rps=2500.0)
    figures = figures_of(measured(), closed=closed)
    assert list(figures) == list(METRICS)
    values = {name: figure.value for name, figure in figures.items()}
    # Not measured, or with another rate or too few requests.
    absent = {"capacity_rps", "rss_idle_bytes", "cpu_percent_at_10k_rps"}
    assert {name for name, value in values.items() if value is None} == absent
    assert all(figures[name].reason for name in absent)
    assert all(figure.reason is None for name, figure in figures.items() if name not in absent)
    assert figures["p999_ms"].marks == [INDICATIVE]
    rest = {
        "offered_rps": 1000,
        "achieved_rps": 1000,
        "mean_ms": 4.5,
        "throughput_rps": 2500,
        "cpu_us_per_request": 400,
        "system_cpu_us_per_request": 700,
        "postgres_cpu_us_per_request": 300,
        "stub_cpu_us_per_request": 60,
        "generator_cpu_us_per_request": 40,
        "rss_steady_bytes": 90e6,
        "rss_peak_bytes": 180e6,
        "sql_statements_per_request": 2,
        "grpc_calls_per_request": 1,
        "log_lines_per_request": 1,
        "response_bytes_per_request": 400,
    }
    assert {name: values[name] for name in rest} == pytest.approx(rest)


@pytest.mark.parametrize(
    ("name", "enough"), [("p50_ms", 200), ("p99_ms", 10_000), ("p999_ms", 100_000)]
)
def test_a_percentile_needs_its_requests(name: str, enough: int) -> None:
    def figure(count: int) -> Figure:
        return figures_of(Measured(phase(), histogram(latency_us(count)), histogram([60])))[name]

    assert figure(enough).marks == []
    assert figure(enough - 1).marks == [INDICATIVE]
    assert figure(enough // 10).marks == [INDICATIVE]
    too_few = figure(enough // 10 - 1)
    assert too_few.value is None
    assert too_few.reason == f"needs {enough // 10:,} requests a round, had {enough // 10 - 1:,}"


def test_cpu_at_ten_thousand_a_second_only_at_that_rate() -> None:
    at_rate = measured(rate_rps=10_000.0, achieved_rps=10_000.0)
    assert figures_of(at_rate)["cpu_percent_at_10k_rps"].value == pytest.approx(400)
    below = figures_of(measured())["cpu_percent_at_10k_rps"]
    assert below.value is None
    assert below.reason == (
        "the rate was 1,000 req/s, not 10,000; there the service used 40.0 % of one core"
    )


def test_cpu_reads_close_together_are_marked() -> None:
    near = {**phase().parts, "service": replace(part(400, 1), wall_s=4.9)}
    figures = figures_of(measured(parts=near))
    assert figures["cpu_us_per_request"].marks == [SHORT_WINDOW]
    assert figures["system_cpu_us_per_request"].marks == [SHORT_WINDOW]
    assert figures["postgres_cpu_us_per_request"].marks == []


def test_a_service_that_is_not_ours_has_no_cpu_and_no_memory() -> None:
    found = measured(parts={"generator": part(40)}, audit=None)
    for elsewhere, reason in ((True, "runs elsewhere"), (False, "cannot be read here")):
        figures = figures_of(dataclasses.replace(found, elsewhere=elsewhere))
        for name in (
            *("cpu_us_per_request", "system_cpu_us_per_request", "postgres_cpu_us_per_request"),
            *("rss_steady_bytes", "rss_peak_bytes", "cpu_percent_at_10k_rps"),
            *("sql_statements_per_request", "grpc_calls_per_request", "log_lines_per_request"),
        ):
            assert figures[name].value is None
            assert reason in str(figures[name].reason)
        assert figures["generator_cpu_us_per_request"].value == pytest.approx(40)
        blind = figures_of(dataclasses.replace(found, phase=phase(parts={}), elsewhere=elsewhere))
        assert "cannot be read here" in str(blind["generator_cpu_us_per_request"].reason)
        # What it answers is measured as ever, and says how it was.
        assert figures["p50_ms"].value is not None
        assert (ELSEWHERE in figures["p50_ms"].marks) == elsewhere


def _changed(**counts: int) -> Measured:
    return measured(counts=replace(phase().counts, **counts))


def test_a_timeout_is_at_least() -> None:
    some = figures_of(_changed(answered=REQUESTS - 300, timed_out=300))
    assert AT_LEAST in some["p99_ms"].marks
    assert AT_LEAST in some["max_ms"].marks
    assert AT_LEAST in some["mean_ms"].marks
    assert AT_LEAST not in some["p50_ms"].marks


def test_errors_are_named_with_the_rate() -> None:
    failing = figures_of(_changed(answered=REQUESTS - 16, failed=16))
    assert failing["p50_ms"].marks == ["failed at 1,000 req/s"]
    assert figures_of(_changed(answered=REQUESTS - 15, failed=15))["p50_ms"].marks == []


def test_a_client_that_held_back_is_named() -> None:
    assert figures_of(_changed(waited=151))["p99_ms"].marks == [CLIENT_LIMITED]
    assert figures_of(_changed(waited=150))["p99_ms"].marks == []


def test_the_closed_model_is_labelled() -> None:
    closed = measured(name="closed", model="closed", rate_rps=None, offered_rps=None)
    figures = figures_of(measured(), closed=closed)
    assert figures["throughput_rps"].marks == [CLOSED_MODEL]
    assert figures["achieved_rps"].marks == []


def test_without_an_answer_there_is_no_figure_but_a_reason() -> None:
    dead = figures_of(_changed(answered=0, failed=REQUESTS))
    for name in ("p50_ms", "mean_ms", "achieved_rps", "cpu_us_per_request", "max_ms"):
        assert dead[name].value is None
        assert "15,000 failed" in str(dead[name].reason)
    assert dead["offered_rps"].value == 1000


def test_a_service_that_died_says_how() -> None:
    figures = round_figures({"fixed": measured()}, shared=False, died="signal 11")
    assert "signal 11" in str(figures["throughput_rps"].reason)
    assert figures["p50_ms"].value is not None


def test_a_shared_machine_is_beside_every_figure_but_the_counts() -> None:
    figures = round_figures({"fixed": measured()}, shared=True)
    marked = {name for name, figure in figures.items() if SHARED_MACHINE in figure.marks}
    assert marked == {name for name, metric in METRICS.items() if metric.metric_class != "W"}


@pytest.mark.parametrize(
    ("pilots", "rate"),
    [
        ([2468.0, 3000.0], 1200),
        ([19_999.0, 2_000_000.0], 9900),
        ([8.77, 9.0], 4.3),
        ([1240.0], 620),
    ],
)
def test_the_reference_rate_is_half_of_the_lower_rounded_down(
    pilots: list[float], rate: float
) -> None:
    assert reference_rate(pilots) == pytest.approx(rate)


@pytest.mark.parametrize("pilots", [[0.0, 5.0], [float("nan")]])
def test_a_pilot_without_answers_sets_no_rate(pilots: list[float]) -> None:
    with pytest.raises(ValueError, match="answered nothing"):
        reference_rate(pilots)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("p50_ms", 4.2061, "4.21 ms"),
        ("p50_ms", 0.0712, "0.0712 ms"),
        ("throughput_rps", 18_412.3, "18,400 req/s"),
        ("rss_steady_bytes", 95.31e6, "95.3 MB"),
        ("rss_steady_bytes", 999.96e6, "1.00 GB"),
        ("response_bytes_per_request", 412.0, "412 B"),
        ("cpu_us_per_request", 99.96, "100 us"),
    ],
)
def test_figures_have_three_digits_and_a_unit(name: str, value: float, text: str) -> None:
    assert format_value(name, value) == text


def test_zero_is_zero() -> None:
    assert format_number(0.0) == "0"


def test_a_pilots_rate_is_that_of_arrivals() -> None:
    """Of 15,000 requests 5,000 followed another: 1,000 requests a second were 667 arrivals."""
    counts = replace(phase().counts, followed=5000)
    assert arrivals_rps(phase(counts=counts)) == pytest.approx(1000 * 2 / 3)
    assert arrivals_rps(phase()) == 1000
    assert arrivals_rps(phase(counts=replace(counts, scheduled=0, followed=0))) == 0
