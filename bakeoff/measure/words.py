"""The only sentences that judge: what a ratio of the family may be called.

A difference is named where Holm's correction leaves it at most 5 %. "No difference shown" always
says what would not have been seen. "The same within m %" needs the 90 % interval inside ±m.
"""

import math
from collections.abc import Mapping, Sequence

from bakeoff.measure.document import RatioDocument
from bakeoff.measure.metrics import METRICS
from bakeoff.measure.statistics import ALPHA, within

# Set beforehand: a margin chosen after the fact would always be found.
SAME_MARGIN = 0.05


def verdict(metric: str, ratio: RatioDocument, logs: Sequence[float], compared: int) -> str | None:
    """The verdict on one ratio of the family; None where there was no test.

    `logs` are the log ratios of its blocks, `compared` the figures that Holm corrected for.
    """
    if ratio.value is None or ratio.p_holm is None or ratio.smallest_visible is None:
        return None
    if ratio.p_holm <= ALPHA:
        return difference(metric, ratio.of, ratio.over, ratio.value)
    if within(logs, SAME_MARGIN):
        return f"the same within {SAME_MARGIN:.0%}".replace("%", " %")
    corrected = ""
    if ratio.p is not None and ratio.p <= ALPHA:
        corrected = f" once corrected for {compared} comparisons"
    return f"no difference shown{corrected}; {unseen(ratio.smallest_visible)}"


def difference(metric: str, of: str, over: str, value: float) -> str:
    """A difference in words: "rust's CPU a request is lower: 0.62 of go's"."""
    title = METRICS[metric].title
    if value < 1:
        return f"{of}'s {title} is lower: {format_ratio(value)} of {over}'s"
    return f"{of}'s {title} is higher: {format_ratio(value)} times {over}'s"


def unseen(smallest_visible: float) -> str:
    """What a test without a finding leaves open, from the smallest visible ratio."""
    return f"differences under {format_percent(smallest_visible)} would not be seen"


def null_verdict(ratios: Mapping[str, RatioDocument], family: Sequence[str]) -> str:
    """How a comparison of a service with itself came out, and the resolution of this machine."""
    tested = [name for name in family if _p_holm(ratios, name) is not None]
    if not tested:
        return "null test: no figure of the family could be tested"
    rejected = [name for name in tested if (_p_holm(ratios, name) or 0.0) <= ALPHA]
    which = f" ({', '.join(rejected)})" if rejected else ""
    seen = ", ".join(
        f"{name} {format_percent(visible)}"
        for name in tested
        if (visible := ratios[name].smallest_visible) is not None
    )
    return (
        f"null test: Holm rejected {len(rejected)} of the {len(tested)} figures of the family"
        f"{which}; smallest visible differences: {seen}"
    )


def format_ratio(value: float) -> str:
    """A ratio with two digits behind the point, or as many as tell it from 1."""
    for digits in (2, 3, 4):
        text = f"{value:.{digits}f}"
        if float(text) not in (0.0, 1.0):
            return text
    return f"{value:.3g}"


def format_percent(ratio: float) -> str:
    """A ratio above 1 as a per cent difference, rounded up: 1.1134 is "12 %"."""
    percent = 100 * (ratio - 1)
    if percent >= 10:
        return f"{math.ceil(percent - 1e-9)} %"
    return f"{math.ceil(10 * percent - 1e-9) / 10:g} %"


def _p_holm(ratios: Mapping[str, RatioDocument], name: str) -> float | None:
    return ratios[name].p_holm if name in ratios else None
