"""What all rules of a phase share: what they look at, and how a finding is worded."""

from collections.abc import Sequence
from typing import Literal

from bakeoff.measure.figures import Measured
from bakeoff.measure.histograms import percentiles_ms
from bakeoff.measure.metrics import SHARED_CORES
from bakeoff.measure.records import Finding, PhaseRecord

FigureClass = Literal["L", "C", "U", "R"]
ALL: tuple[FigureClass, ...] = ("L", "C", "U", "R")


class PhaseRules:
    """The rules of one phase; `shared` is a machine whose cores service and rig share."""

    def __init__(self, measured: Measured, shared: bool, where: str) -> None:
        self.phase: PhaseRecord = measured.phase
        self.shared = shared
        self.where = where
        self.latency_ms = percentiles_ms(measured.latency, (50.0, 99.0))
        self.lateness_ms = percentiles_ms(measured.lateness, (50.0, 99.0))

    def small(self) -> str:
        """What to add to the advice where a rule warns only because cores are shared."""
        if not self.shared:
            return ""
        return f" (shared machine: under {SHARED_CORES} cores this warns instead of voiding)"

    def shared_finding(
        self, rule: str, touches: Sequence[FigureClass], found: str, allowed: str, advice: str
    ) -> Finding:
        """A finding that voids, and under four cores warns."""
        effect: Literal["warns", "voids"] = "warns" if self.shared else "voids"
        return self.finding(rule, effect, touches, found, allowed, advice + self.small())

    def finding(
        self,
        rule: str,
        effect: Literal["warns", "voids"],
        touches: Sequence[FigureClass],
        found: str,
        allowed: str,
        advice: str,
        metrics: Sequence[str] = (),
    ) -> Finding:
        """A finding about this phase, or only about some metrics of it."""
        return Finding(
            rule=rule,
            effect=effect,
            where=self.where,
            found=found,
            allowed=allowed,
            advice=advice,
            touches=list(touches),
            phase=self.phase.name,
            metrics=list(metrics),
        )


def percent(share: float) -> str:
    """A share for people: 0.031 is "3.1 %"."""
    return f"{100 * share:.3g} %"
