"""A footprint as bars: lines by concern, and times with their ranges."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bakeoff.measure.footprint import CONCERNS, FootprintDocument, FootprintService
from bakeoff.measure.operations import OPERATIONS
from bakeoff.measure.post import POST_COMPILE_S, POST_LINES
from reports.canvas import Axes, draw, name_of
from reports.plot import COLOURS, Plot

_BAR = 0.38


def footprint_plots(document: FootprintDocument) -> list[Plot]:
    """Both plots, or as many as there is data for; two services have room in them."""
    plots = [_lines(document)]
    if any(found.runs_s for one in document.services.values() for found in one.times.values()):
        plots.append(_times(document))
    return plots


def _lines(document: FootprintDocument) -> Plot:
    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (label, service) in _columns(document):
            values = [service.lines.concerns[concern].code for concern in CONCERNS]
            places = _places(len(CONCERNS), index)
            axes.barh(places, values, _BAR, color=COLOURS[index], label=name_of(label))
            says = [POST_LINES[concern].get(label) for concern in CONCERNS]
            _post(axes, places, says)
        _finish(axes, list(CONCERNS), "lines of code")

    caption = "Neither blank nor comment alone. Hollow: what the post says."
    return draw("lines", "Lines of code by concern", caption, 3.0, fill)


def _times(document: FootprintDocument) -> Plot:
    done = [
        name
        for name in OPERATIONS
        if any(service.times[name].runs_s for service in document.services.values())
    ]
    # Bars begin at nothing, so what takes minutes has an axis of its own.
    panels = [
        panel
        for panel in ([name for name in done if _is_long(name) == long] for long in (True, False))
        if panel
    ]

    def fill(figure: Figure) -> None:
        ratios = [len(panel) for panel in panels]
        found = figure.subplots(len(panels), 1, squeeze=False, height_ratios=ratios)
        for axes, panel in zip(found[:, 0], panels, strict=True):
            _panel(axes, document, panel)

    caption = "Bars: medians; lines: ranges of the runs. Hollow: what the post says."
    height_in = 0.8 + 0.6 * len(panels) + 0.4 * len(done)
    return draw("compile_times", "Compile times", caption, height_in, fill)


def _panel(axes: Axes, document: FootprintDocument, names: Sequence[str]) -> None:
    for index, (label, service) in _columns(document):
        places = _places(len(names), index)
        found = [service.times[name] for name in names]
        medians = np.array([one.median_s or np.nan for one in found])
        reach = [
            medians - [one.low_s or np.nan for one in found],
            [one.high_s or np.nan for one in found] - medians,
        ]
        axes.barh(places, medians, _BAR, color=COLOURS[index], label=name_of(label), xerr=reach)
        _post(axes, places, [POST_COMPILE_S.get(name, {}).get(label) for name in names])
    _finish(axes, [OPERATIONS[name].title for name in names], "seconds")


def _is_long(name: str) -> bool:
    return OPERATIONS[name].cold or OPERATIONS[name].work == "release build"


def _columns(document: FootprintDocument) -> list[tuple[int, tuple[str, FootprintService]]]:
    return list(enumerate(document.services.items()))[: len(COLOURS)]


def _places(count: int, index: int) -> NDArray[np.float64]:
    return np.asarray(np.arange(count) + (index - 0.5) * _BAR, dtype=np.float64)


def _post(axes: Axes, places: NDArray[np.float64], says: Sequence[float | None]) -> None:
    for place, value in zip(places, says, strict=True):
        if value is not None:
            axes.plot([value], [place], "D", color="black", markerfacecolor="white", markersize=5)


def _finish(axes: Axes, titles: Sequence[str], unit: str) -> None:
    axes.set_yticks(range(len(titles)), titles)
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(unit)
    axes.legend(loc="best")
