"""The interval covers, the test keeps its level, the power is what is printed: by simulation."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bakeoff.measure.statistics import (
    ALPHA,
    estimate,
    geometric_mean,
    holm,
    log_ratios,
    one_sided_bound,
    paired_p,
    smallest_visible,
    within,
)

RUNS = 4000
TRUE_RATIO = 1.2

Logs = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], tuple[Logs, Logs]]
positive = st.floats(min_value=1e-6, max_value=1e9)


def _positions(blocks: int) -> tuple[list[int], list[int]]:
    """Where in time the rounds of two services stand that alternate AB BA."""
    first = [2 * k + (k % 2) for k in range(blocks)]
    return first, [4 * k + 1 - position for k, position in enumerate(first)]


def _common(spread: float, block: float) -> Noise:
    def draw(random: np.random.Generator, blocks: int) -> tuple[Logs, Logs]:
        shared = random.normal(0, block, (RUNS, blocks))
        first, second = random.normal(0, spread, (2, RUNS, blocks))
        return first + shared, second + shared

    return draw


def _heavy(random: np.random.Generator, blocks: int) -> tuple[Logs, Logs]:
    first, second = 0.05 * random.standard_t(3, (2, RUNS, blocks))
    return first, second


def _slow_rounds(random: np.random.Generator, blocks: int) -> tuple[Logs, Logs]:
    shape = (2, RUNS, blocks)
    slow = (random.random(shape) < 0.15) * np.log1p(random.exponential(0.3, shape))
    first, second = random.normal(0, 0.03, shape) + slow
    return first, second


def _unequal(random: np.random.Generator, blocks: int) -> tuple[Logs, Logs]:
    return random.normal(0, 0.03, (RUNS, blocks)), random.normal(0, 0.15, (RUNS, blocks))


def _drift(random: np.random.Generator, blocks: int) -> tuple[Logs, Logs]:
    first, second = random.normal(0, 0.03, (2, RUNS, blocks))
    a, b = _positions(blocks)
    return first + 0.02 * np.array(a), second + 0.02 * np.array(b)


def _walk(random: np.random.Generator, blocks: int) -> tuple[Logs, Logs]:
    first, second = random.normal(0, 0.03, (2, RUNS, blocks))
    walk = np.cumsum(random.normal(0, 0.04, (RUNS, 2 * blocks)), axis=1)
    a, b = _positions(blocks)
    return first + walk[:, a], second + walk[:, b]


NOISE: dict[str, Noise] = {
    "lognormal 5 %": _common(0.05, 0),
    "and 10 % a block": _common(0.05, 0.10),
    "heavy tails": _heavy,
    "slow rounds": _slow_rounds,
    "unequal": _unequal,
    "lognormal 50 %": _common(0.5, 0),
    "drift 2 % a round": _drift,
    "random walk 4 % a round": _walk,
}


@pytest.mark.parametrize("blocks", [3, 6, 10])
@pytest.mark.parametrize("noise", NOISE)
def test_the_interval_of_a_ratio_covers_the_truth(noise: str, blocks: int) -> None:
    first, second = NOISE[noise](np.random.default_rng([20261124, blocks]), blocks)
    covered = 0
    for a, b in zip(np.exp(first), TRUE_RATIO * np.exp(second), strict=True):
        found = estimate(log_ratios(list(a), list(b)))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= TRUE_RATIO <= found.high
    assert 0.94 <= covered / RUNS <= 0.98


def test_the_positions_are_ab_ba() -> None:
    assert _positions(4) == ([0, 3, 4, 7], [1, 2, 5, 6])


@pytest.mark.parametrize("blocks", [3, 6, 8])
def test_the_smallest_visible_difference_is_found_four_times_in_five(blocks: int) -> None:
    random = np.random.default_rng([7, blocks])
    spread = 0.07
    truth = math.log(smallest_visible(spread, blocks))
    found = sum(
        (p := paired_p(list(random.normal(truth, spread, blocks)))) is not None and p <= ALPHA
        for _ in range(RUNS)
    )
    assert found / RUNS == pytest.approx(0.8, abs=0.025)


def test_a_null_comparison_is_rejected_once_in_twenty() -> None:
    """Five figures of a service against itself, correlated as those of one round are."""
    random = np.random.default_rng(11)
    rejected = 0
    for _ in range(RUNS):
        rounds = random.normal(0, 0.03, 6)
        p_values = {}
        for name in "abcde":
            p = paired_p(list(rounds * random.uniform(0, 0.5) + random.normal(0, 0.05, 6)))
            assert p is not None
            p_values[name] = p
        rejected += min(holm(p_values).values()) <= ALPHA
    assert 0.035 <= rejected / RUNS <= 0.06


def test_a_service_made_a_fifth_dearer_is_found() -> None:
    random = np.random.default_rng(13)
    runs = 1000
    found = near = 0
    for _ in range(runs):
        first = list(400 * np.exp(random.normal(0, 0.05, 6)))
        second = list(480 * np.exp(random.normal(0, 0.05, 6)))
        result = estimate(log_ratios(first, second))
        assert result.low is not None
        assert result.spread is not None
        found += result.low > 1
        off = abs(math.log(result.value / 1.2))
        near += off <= 2 * math.log(smallest_visible(result.spread, 6))
    assert found / runs > 0.95
    assert near / runs > 0.95


def test_fifteen_per_cent_of_noise_hides_a_fifth() -> None:
    """Why the noise of a round is checked first."""
    random = np.random.default_rng(17)
    runs = 2000
    found = 0
    for _ in range(runs):
        first, second = random.normal(0, 0.15, (2, 6))
        p = paired_p(list(math.log(1.2) + second - first))
        assert p is not None
        found += p <= ALPHA
    assert found / runs == pytest.approx(0.4, abs=0.06)
    assert smallest_visible(0.15 * math.sqrt(2), 6) > 1.2


def test_the_interval_by_hand() -> None:
    # d = ln 2, ln 2, ln 4: mean 0.9242, s = 0.4002, t(2) = 4.3027.
    found = geometric_mean([2, 2, 4])
    assert found.value == pytest.approx(2 ** (4 / 3))
    assert found.spread == pytest.approx(math.log(2) / math.sqrt(3))
    assert found.high == pytest.approx(2 ** (4 / 3) * math.exp(4.302653 * math.log(2) / 3))
    assert found.low == pytest.approx(2 ** (4 / 3) / math.exp(4.302653 * math.log(2) / 3))


def test_p_is_that_of_scipy() -> None:
    logs = [0.11, -0.02, 0.07, 0.13, 0.02, 0.05]
    assert paired_p(logs) == pytest.approx(float(scipy.stats.ttest_1samp(logs, 0).pvalue))


def test_under_three_blocks_there_is_no_interval_and_no_test() -> None:
    found = estimate([0.1, 0.2])
    assert (found.low, found.high, found.spread) == (None, None, None)
    assert found.value == pytest.approx(math.exp(0.15))
    assert paired_p([0.1, 0.2]) is None
    assert not within([0.0, 0.0], 0.05)
    with pytest.raises(ValueError, match="at least one"):
        estimate([])


def test_without_any_spread_only_an_exact_one_is_the_same() -> None:
    assert paired_p([0.0, 0.0, 0.0]) == 1.0
    assert paired_p([0.5, 0.5, 0.5]) == 0.0
    assert smallest_visible(0.0, 6) == 1.0


def test_holm_by_hand() -> None:
    # 4 x 0.005, 3 x 0.01, then 2 x 0.03 = 0.06, and 0.04 may not come below it.
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(corrected) == ["a", "b", "c", "d"]
    assert holm({}) == {}


@given(st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=8))
def test_holm_rejects_what_its_definition_rejects(p_values: list[float]) -> None:
    """Holm's own words: go up the sorted p values while p(i) <= alpha / (m - i + 1)."""
    rejected: set[int] = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if (len(p_values) - rank) * p_values[index] > ALPHA:
            break
        rejected.add(index)
    corrected = holm({str(index): p for index, p in enumerate(p_values)})
    assert {int(name) for name, p in corrected.items() if p <= ALPHA} == rejected
    assert all(corrected[str(index)] >= p for index, p in enumerate(p_values))


@given(st.lists(st.tuples(positive, positive), min_size=3, max_size=12))
def test_swapping_the_labels_inverts_a_ratio(pairs: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = estimate(log_ratios(first, second)), estimate(log_ratios(second, first))
    assert there.low is not None
    assert there.high is not None
    assert back.value == pytest.approx(1 / there.value, rel=1e-12)
    assert back.low == pytest.approx(1 / there.high, rel=1e-12)
    assert back.high == pytest.approx(1 / there.low, rel=1e-12)
    assert paired_p(log_ratios(first, second)) == paired_p(log_ratios(second, first))


@given(
    st.lists(st.floats(min_value=-1, max_value=1), min_size=3, max_size=12),
    st.sampled_from(["lower", "upper"]),
)
def test_one_sided_bounds_are_those_of_a_ninety_per_cent_interval(
    logs: list[float], side: str
) -> None:
    two_sided, ninety = estimate(logs), estimate(logs, level=0.90)
    assert two_sided.low is not None
    assert two_sided.high is not None
    bound = one_sided_bound(
        two_sided.low, two_sided.high, len(logs), "lower" if side == "lower" else "upper"
    )
    assert bound == pytest.approx(ninety.low if side == "lower" else ninety.high, rel=1e-9)


def test_the_same_needs_the_ninety_per_cent_interval_inside() -> None:
    logs = [0.01, -0.02, 0.015, 0.0, -0.01, 0.02]
    found = estimate(logs, level=0.90)
    assert found.low is not None
    assert found.high is not None
    margin = max(found.high, 1 / found.low) - 1
    assert within(logs, margin * 1.001)
    assert not within(logs, margin * 0.999)


def test_equivalence_is_claimed_wrongly_once_in_twenty() -> None:
    """Of services that differ by just the margin."""
    random = np.random.default_rng(19)
    claimed = sum(within(list(random.normal(math.log(1.05), 0.03, 6)), 0.05) for _ in range(RUNS))
    assert 0.04 <= claimed / RUNS <= 0.06
