"""Statistics of a comparison: the paired t on log ratios, Holm, power, equivalence.

A round is one observation. With d = ln(second / first) in each block, the ratio is exp(mean d)
and its 95 % interval exp(mean d ± t·s/√n) with n - 1 degrees of freedom.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

# Its parts are imported when they are first asked for: they take as long as all else together.
import scipy

LEVEL = 0.95
ALPHA = 1 - LEVEL
POWER = 0.8
# Under this many blocks a spread says nothing: no interval, no test, no word.
MINIMUM_BLOCKS = 3
# Up to this many blocks a result is marked "few rounds".
FEW_BLOCKS = 5


@dataclass(frozen=True)
class Estimate:
    """A geometric mean or a ratio; `low` and `high` are None under three observations.

    `spread` is the standard deviation of the logs, so about the relative one.
    """

    value: float
    low: float | None
    high: float | None
    count: int
    spread: float | None


def estimate(logs: Sequence[float], level: float = LEVEL) -> Estimate:
    """exp of the mean of logs, with its t interval at `level` from three logs on.

    Raises ValueError where there is none.
    """
    if not logs:
        raise ValueError("an estimate needs at least one observation")
    mean = math.fsum(logs) / len(logs)
    if len(logs) < MINIMUM_BLOCKS:
        return Estimate(math.exp(mean), None, None, len(logs), None)
    spread = float(np.std(logs, ddof=1))
    half = _quantile(len(logs), (1 + level) / 2) * spread / math.sqrt(len(logs))
    low, high = math.exp(mean - half), math.exp(mean + half)
    return Estimate(math.exp(mean), low, high, len(logs), spread)


def geometric_mean(values: Sequence[float]) -> Estimate:
    """The geometric mean of positive figures of one service, and the t interval on their logs."""
    return estimate([math.log(value) for value in values])


def log_ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """ln(second / first) of each block; figures are positive and pair up."""
    return [math.log(b) - math.log(a) for a, b in zip(first, second, strict=True)]


def paired_p(logs: Sequence[float]) -> float | None:
    """The two-sided p of the paired t test that the ratio is 1; None under three blocks.

    Without any spread it is 1 for a ratio of exactly 1 and 0 for any other.
    """
    if len(logs) < MINIMUM_BLOCKS:
        return None
    mean, spread = math.fsum(logs) / len(logs), float(np.std(logs, ddof=1))
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    t = abs(mean) * math.sqrt(len(logs)) / spread
    return float(2 * scipy.special.stdtr(len(logs) - 1, -t))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for their number: the step-down method of S. Holm, Scand. J. Statist.
    6 (1979). A difference is shown where the corrected value is at most 5 %."""
    corrected: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = highest
    return {name: corrected[name] for name in p_values}


def smallest_visible(spread: float, count: int) -> float:
    """The ratio above 1 whose 95 % interval excludes 1 in four runs of five.

    `spread` is the standard deviation of the log ratios of `count` blocks. The power of the t
    test follows the noncentral t distribution (J. Cohen, Statistical Power Analysis, ch. 2).
    """
    return math.exp(_noncentrality(count) * spread / math.sqrt(count))


def within(logs: Sequence[float], margin: float) -> bool:
    """Whether the 90 % interval of the ratio lies inside 1/(1 + margin) and 1 + margin: two
    one-sided tests at 5 % (D. J. Schuirmann, J. Pharmacokin. Biopharm. 15, 1987)."""
    interval = estimate(logs, level=1 - 2 * ALPHA)
    if interval.low is None or interval.high is None:
        return False
    return interval.low > 1 / (1 + margin) and interval.high < 1 + margin


def one_sided_bound(low: float, high: float, count: int, side: Literal["lower", "upper"]) -> float:
    """The one-sided 95 % bound that belongs to a two-sided 95 % t interval on logs.

    `count` is the number of observations behind it, three at least.
    """
    if low == high:
        return low
    middle = (math.log(high) + math.log(low)) / 2
    half = (math.log(high) - math.log(low)) / 2
    half *= _quantile(count, LEVEL) / _quantile(count, (1 + LEVEL) / 2)
    return math.exp(middle + half if side == "upper" else middle - half)


@lru_cache(maxsize=256)
def _quantile(count: int, probability: float) -> float:
    return float(scipy.special.stdtrit(count - 1, probability))


@lru_cache(maxsize=256)
def _noncentrality(count: int) -> float:
    critical, freedom = _quantile(count, (1 + LEVEL) / 2), count - 1

    def lacking(shift: float) -> float:
        missed = scipy.special.nctdtr(freedom, shift, critical)
        return float(1 - missed + scipy.special.nctdtr(freedom, shift, -critical)) - POWER

    # The power is 50 to 62 % at the critical value and 84 to 88 % at 1.5 of it, from three
    # observations on; far above, scipy's noncentral t loses its digits.
    return float(scipy.optimize.brentq(lacking, critical, 1.5 * critical))
