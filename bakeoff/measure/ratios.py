"""Ratios of the second service to the first: one log ratio a block, Holm over the family."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from bakeoff.measure.document import MetricDocument, RatioDocument
from bakeoff.measure.marks import (
    AT_LEAST,
    EXPLORED,
    FEW_ROUNDS,
    NO_VERDICT,
    RIG_LIMITED,
    UNEQUAL_WORK,
)
from bakeoff.measure.metrics import METRICS
from bakeoff.measure.statistics import (
    FEW_BLOCKS,
    MINIMUM_BLOCKS,
    Estimate,
    estimate,
    holm,
    log_ratios,
    paired_p,
    smallest_visible,
)
from bakeoff.measure.words import verdict


@dataclass(frozen=True)
class _Paired:
    """A ratio before its correction, with the log ratios that it rests on."""

    ratio: RatioDocument
    logs: list[float]


def ratio_documents(
    first: tuple[str, Mapping[str, MetricDocument]],
    second: tuple[str, Mapping[str, MetricDocument]],
    family: Sequence[str],
    *,
    voided: Mapping[str, Sequence[str]] | None = None,
    unequal_work: bool = False,
    allow_unequal_work: bool = False,
) -> dict[str, RatioDocument]:
    """The ratio second / first of every metric; label and metrics of each service.

    The `rounds` of both pair up by block. `voided` has the rules that void a ratio beside those
    that void one of its figures. Words stand only in the family; unequal work withholds them
    unless it is allowed.
    """
    over, of = first[0], second[0]
    also = voided or {}
    pairs = {
        name: _pair(name, (over, first[1][name]), (of, second[1][name]), also.get(name, ()))
        for name in METRICS
    }
    corrected = holm(
        {name: p for name in family if (p := pairs[name].ratio.p) is not None},
    )
    documents = {}
    for name, pair in pairs.items():
        marks = list(pair.ratio.marks)
        if name not in family:
            marks.append(EXPLORED)
        if unequal_work:
            marks.append(UNEQUAL_WORK)
        ratio = msgspec.structs.replace(pair.ratio, p_holm=corrected.get(name), marks=marks)
        speak = not unequal_work or allow_unequal_work
        if speak and NO_VERDICT.isdisjoint(marks):
            word = verdict(name, ratio, pair.logs, len(corrected))
            ratio = msgspec.structs.replace(ratio, word=word)
        documents[name] = ratio
    return documents


def _pair(
    name: str,
    base: tuple[str, MetricDocument],
    other: tuple[str, MetricDocument],
    voided: Sequence[str],
) -> _Paired:
    (over, first), (of, second) = base, other
    both = [
        (a, b)
        for a, b in zip(first.rounds, second.rounds, strict=True)
        if a is not None and b is not None and a > 0 and b > 0
    ]
    logs = log_ratios([a for a, _ in both], [b for _, b in both])
    marks = list(dict.fromkeys([*first.marks, *second.marks]))
    marks = [mark for mark in marks if mark != FEW_ROUNDS]
    if MINIMUM_BLOCKS <= len(logs) <= FEW_BLOCKS:
        marks.append(FEW_ROUNDS)
    reason = None
    if not logs:
        reason = first.reason or second.reason or "no block has a figure above 0 of both services"
    elif len(logs) < MINIMUM_BLOCKS:
        reason = f"{len(logs)} blocks: an interval needs {MINIMUM_BLOCKS}"
    elif AT_LEAST in marks and METRICS[name].metric_class == "C":
        marks.append(RIG_LIMITED)
    voided_by = list(dict.fromkeys([*first.voided_by, *second.voided_by, *voided]))
    found = estimate(logs) if logs else None
    ratio = RatioDocument(
        of=of,
        over=over,
        value=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        blocks=len(logs),
        p=None if voided_by else paired_p(logs),
        p_holm=None,
        smallest_visible=_visible(found),
        word=None,
        marks=marks,
        voided_by=voided_by,
        reason=reason,
    )
    return _Paired(ratio, logs)


def _visible(found: Estimate | None) -> float | None:
    if found is None or found.spread is None:
        return None
    return smallest_visible(found.spread, found.count)


def spread_of(ratio: RatioDocument) -> float | None:
    """The standard deviation of a ratio's logs, from its interval; None without one."""
    if ratio.low is None or ratio.high is None or ratio.smallest_visible is None:
        return None
    unit = smallest_visible(1.0, ratio.blocks)
    return math.log(ratio.smallest_visible) / math.log(unit)
