"""The language of `--check`: `ratio.cpu_us_per_request <= 1.2`, `rust.p99_ms < 25`.

A check passes when the one-sided 95 % bound is inside the limit, fails when the bound on the
other side is outside it, and is inconclusive in between. Without data it does not pass.
"""

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from bakeoff.errors import UsageError
from bakeoff.measure.document import MetricDocument, RatioDocument, RunDocument
from bakeoff.measure.marks import AT_LEAST, RIG_LIMITED, UNEQUAL_WORK
from bakeoff.measure.metrics import METRICS, format_value
from bakeoff.measure.statistics import MINIMUM_BLOCKS, one_sided_bound

RATIO = "ratio"
EXAMPLES = "'ratio.cpu_us_per_request <= 1.2' or 'rust.p99_ms < 25'"

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
Outcome = Literal["passed", "failed", "inconclusive", "no data"]

_SHAPE = re.compile(
    r"\s*(?P<subject>[a-z0-9][a-z0-9_-]*)\s*\.\s*(?P<metric>[A-Za-z0-9_]+)"
    r"\s*(?P<operator>[^\sA-Za-z0-9_.+-]+)\s*(?P<limit>\S+)\s*",
)


@dataclass(frozen=True)
class Check:
    """A parsed expression; `limit` is in the unit of the metric, or a plain ratio."""

    text: str
    subject: str
    metric: str
    operator: str
    limit: float

    def admits(self, value: float) -> bool:
        """Whether a value is inside the limit."""
        return OPERATORS[self.operator](value, self.limit)


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a check. `bound` is the one-sided 95 % bound that decided."""

    text: str
    outcome: Outcome
    found: str
    value: float | None = None
    bound: float | None = None


def parse_check(text: str, labels: Sequence[str] | None = None) -> Check:
    """An expression as a Check.

    Raises UsageError for what is no expression, an unknown metric, and, where the `labels` of
    the run are given, for a service that is not compared.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise UsageError(f"--check {text!r} is no check: write {EXAMPLES}")
    subject, metric, sign = match["subject"], match["metric"], match["operator"]
    if metric not in METRICS:
        close = difflib.get_close_matches(metric, METRICS, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else f"; known are: {', '.join(METRICS)}"
        raise UsageError(f"--check {text!r}: unknown metric {metric!r}{hint}")
    if labels is not None and subject not in (RATIO, *labels):
        raise UsageError(
            f"--check {text!r}: unknown service {subject!r}; this run has "
            f"{', '.join([RATIO, *labels])}"
        )
    if sign not in OPERATORS:
        raise UsageError(
            f"--check {text!r}: {sign!r} will not do; a measured figure is compared with "
            f"one of {' '.join(OPERATORS)}"
        )
    return Check(text.strip(), subject, metric, sign, _limit(text, match))


def evaluate(check: Check, document: RunDocument) -> CheckResult:
    """Holds a run against a check."""
    found: MetricDocument | RatioDocument | None
    if check.subject == RATIO:
        found = document.ratios.get(check.metric)
    else:
        service = document.services.get(check.subject)
        found = None if service is None else service.metrics.get(check.metric)
    if found is None:
        return _result(check, "no data", f"the run has no {check.subject}.{check.metric}")
    if found.voided_by:
        return _result(check, "no data", f"void: {', '.join(found.voided_by)}", found.value)
    if found.value is None:
        return _result(check, "no data", found.reason or "not measured")
    if _unqualified(document) & set(found.marks):
        why = f"{_shown(check, found.value)}, but {', '.join(found.marks)}"
        return _result(check, "no data", why, found.value)
    if found.low is None or found.high is None:
        why = f"{_shown(check, found.value)}, but a bound needs {MINIMUM_BLOCKS} rounds"
        return _result(check, "inconclusive", why, found.value)
    return _judged(check, found, found.value, found.low, found.high)


def evaluate_all(checks: Sequence[Check], document: RunDocument) -> RunDocument:
    """The document with the results of its checks, one dictionary each, in their order."""
    results: list[dict[str, Any]] = [
        msgspec.to_builtins(evaluate(check, document)) for check in checks
    ]
    return msgspec.structs.replace(document, checks=results)


def _unqualified(document: RunDocument) -> frozenset[str]:
    """Marks of figures that a limit cannot be held against."""
    if document.experiment.get("allow_unequal_work"):
        return frozenset((RIG_LIMITED,))
    return frozenset((RIG_LIMITED, UNEQUAL_WORK))


def _limit(text: str, match: re.Match[str]) -> float:
    try:
        limit = float(match["limit"])
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise UsageError(
            f"--check {text!r}: {match['limit']!r} is no number; write it without a unit, "
            "such as 25 or 200e6"
        )
    return limit


def _judged(
    check: Check, found: MetricDocument | RatioDocument, value: float, low: float, high: float
) -> CheckResult:
    count = (
        found.blocks
        if isinstance(found, RatioDocument)
        else sum(figure is not None for figure in found.rounds)
    )
    lower = one_sided_bound(low, high, count, "lower")
    upper = one_sided_bound(low, high, count, "upper")
    inside, outside = (upper, lower) if check.operator.startswith("<") else (lower, upper)
    notes = f" ({', '.join(found.marks)})" if found.marks else ""
    if check.admits(inside) or not check.admits(outside):
        outcome: Outcome = "passed" if check.admits(inside) else "failed"
        if AT_LEAST in found.marks and (outcome == "passed") == check.operator.startswith("<"):
            # The figure itself would be higher: only a limit that it is over already is answered.
            return _result(check, "no data", f"at least {_shown(check, value)}", value)
        bound = inside if outcome == "passed" else outside
        text = f"{_shown(check, value)}, 95 % bound {_shown(check, bound)}{notes}"
        return _result(check, outcome, text, value, bound)
    between = f"{_shown(check, value)}, between {_shown(check, lower)} and {_shown(check, upper)}"
    return _result(check, "inconclusive", between + notes, value)


def _shown(check: Check, value: float) -> str:
    return f"{value:.3f}" if check.subject == RATIO else format_value(check.metric, value)


def _result(
    check: Check,
    outcome: Outcome,
    found: str,
    value: float | None = None,
    bound: float | None = None,
) -> CheckResult:
    return CheckResult(text=check.text, outcome=outcome, found=found, value=value, bound=bound)
