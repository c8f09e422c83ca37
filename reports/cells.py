"""A figure with what qualifies it: its marks, the rules that voided it, or the reason why there is
none. No report shows one without."""

from dataclasses import dataclass

from bakeoff.measure.document import MetricDocument, RatioDocument
from bakeoff.measure.words import format_ratio
from reports.phrases import NOTHING, interval, quantity

NO_RATIO = "no ratio"


@dataclass(frozen=True)
class Cell:
    """A figure as text. `reason` says why there is none; `voided_by` strikes it out."""

    text: str
    interval: str = ""
    marks: tuple[str, ...] = ()
    voided_by: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """All that qualifies the figure, the gravest first."""
        voided = tuple(f"voided: {rule}" for rule in self.voided_by)
        return (*voided, *((self.reason,) if self.reason else ()), *self.marks)


def figure_cell(name: str, figure: MetricDocument | None) -> Cell:
    """A metric of one service."""
    if figure is None:
        return Cell(NOTHING, reason="not measured")
    return Cell(
        text=NOTHING if figure.value is None else quantity(name, figure.value),
        interval=interval(name, figure.low, figure.high),
        marks=tuple(figure.marks),
        voided_by=tuple(figure.voided_by),
        reason=(figure.reason or "no reason given") if figure.value is None else figure.reason,
    )


def ratio_cell(ratio: RatioDocument | None) -> Cell:
    """The ratio of the second service to the first."""
    if ratio is None:
        return Cell(NOTHING, reason=NO_RATIO)
    return Cell(
        text=NOTHING if ratio.value is None else format_ratio(ratio.value),
        interval=ratio_interval(ratio),
        marks=tuple(ratio.marks),
        voided_by=tuple(ratio.voided_by),
        reason=(ratio.reason or NO_RATIO) if ratio.value is None else ratio.reason,
    )


def ratio_interval(ratio: RatioDocument) -> str:
    """`0.63 to 0.67`; empty where there is none."""
    if ratio.low is None or ratio.high is None:
        return ""
    return f"{format_ratio(ratio.low)} to {format_ratio(ratio.high)}"
