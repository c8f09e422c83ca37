"""The figures of one round: each metric of the list, from the phase that it is measured in.

What cannot be had is None with its reason, never 0; what is void keeps its value and says why.
"""

from collections.abc import Mapping, Sequence

import msgspec

from bakeoff.measure.marks import AT_LEAST, ELSEWHERE, SHARED_MACHINE
from bakeoff.measure.metrics import METRICS, Metric
from bakeoff.measure.readings import READINGS, Measured, absent
from bakeoff.measure.records import Figure, Finding

__all__ = ["RIG_SATURATED", "Measured", "round_figures", "touches"]

ALL_CLASSES = frozenset("LCUR")
# The one rule that qualifies figures instead of voiding them: they are then "at least".
RIG_SATURATED = "rig's cores saturated"

_NOT_MEASURED = {
    "capacity_rps": "not measured: this profile has no capacity search",
    "rss_idle_bytes": "not measured: this profile has no idle tail",
}


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
        if any(phase.elsewhere for phase in measured.values()):
            marks.append(ELSEWHERE)
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
        return absent(_NOT_MEASURED[metric.name])
    found = measured.get(metric.phase)
    if found is None:
        why = f": the service died: {died}" if died else ""
        return absent(f"the {metric.phase} phase was not finished{why}")
    return READINGS[metric.name](metric, found)
