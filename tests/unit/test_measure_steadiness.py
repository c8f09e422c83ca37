"""A phase that drifts is named; one that scatters is not."""

from collections.abc import Sequence

import numpy as np
import pytest

from bakeoff.measure.histograms import encode
from bakeoff.measure.measurement import Interval
from bakeoff.measure.samples import Sample
from bakeoff.measure.steadiness import NOT_STEADY, steadiness_findings
from tests.unit.healthy import histogram

START_S = 9.0
SECONDS = 15
STEADY_MS = [5.0, 5.2, 4.9, 5.1, 4.8, 5.3, 5.0, 4.9, 5.2, 5.1, 4.8, 5.0, 5.1, 4.9, 5.0]


def seconds(p99_ms: Sequence[float], completed: int = 1000) -> list[Interval]:
    """Seconds whose requests all took the p99 wanted."""
    empty = encode(histogram([]))
    return [
        Interval(
            start_s=float(second),
            completed=completed,
            latency=encode(histogram(np.full(completed, 1000 * value))),
            lateness=empty,
        )
        for second, value in enumerate(p99_ms)
    ]


def samples(cost_us: Sequence[float], completed: int = 1000) -> list[Sample]:
    """Reads every fifth of a second of a service whose requests cost so much in each second."""
    spent = np.concatenate([[0.0], np.cumsum(np.asarray(cost_us) * completed)])
    times = START_S + np.arange(len(spent))
    return [
        Sample(
            t_s=float(t),
            part="service",
            processes=1,
            rss_bytes=1,
            peak_rss_bytes=1,
            cpu_us=round(float(np.interp(t, times, spent))),
            run_queue_us=0,
            threads=1,
            open_files=1,
            context_switches=0,
        )
        for t in np.arange(START_S - 0.5, START_S + SECONDS + 0.5, 0.2)
    ]


STEADY = samples([400.0] * SECONDS)


def found(intervals: list[Interval], service: list[Sample]) -> list[str]:
    findings = steadiness_findings(intervals, service, START_S, "fixed", "round 1 (go), fixed")
    assert all((one.rule, one.effect) == (NOT_STEADY, "warns") for one in findings)
    return [one.found for one in findings]


def test_a_steady_phase_is_without_findings() -> None:
    assert found(seconds(STEADY_MS), STEADY) == []


@pytest.mark.parametrize(("last", "text"), [(440.0, None), (448.0, "+12 %"), (352.0, "-12 %")])
def test_a_drift_of_the_cost_is_named(last: float, text: str | None) -> None:
    drifting = samples([400.0] * 5 + [420.0] * 5 + [last] * 5)
    expected = [f"CPU a request changed by {text} from the first to the last third"]
    assert found(seconds(STEADY_MS), drifting) == ([] if text is None else expected)


def test_a_tail_that_grows_is_named() -> None:
    growing = [5.0 + 0.2 * second for second in range(SECONDS)]
    assert found(seconds(growing), STEADY) == [
        "p99 of a second changed by +37 % from the first to the last third"
    ]


def test_a_tail_that_grows_by_little_is_not() -> None:
    assert found(seconds([5.0 + 0.03 * second for second in range(SECONDS)]), STEADY) == []


def test_one_bad_second_is_no_trend() -> None:
    assert found(seconds([*STEADY_MS[:-1], 500.0]), STEADY) == []


def test_a_phase_too_short_to_tell_is_left_alone() -> None:
    assert found(seconds([1.0, 2.0, 3.0, 4.0, 5.0]), samples([1.0] * 2 + [9.0] * 13)) == []


def test_without_samples_only_the_tail_is_looked_at() -> None:
    assert found(seconds(STEADY_MS), []) == []
    assert found(seconds(STEADY_MS), STEADY[:20]) == []
