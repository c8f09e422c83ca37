"""The plots over time: what was answered and how fast, and what each part of the rig used."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from bakeoff.measure.samples import Sample
from reports import facts
from reports.canvas import Axes, draw, name_of, plain_numbers, qualified, whole_seconds
from reports.data import ReportData, RoundData, Second
from reports.plot import COLOURS, DASHES, GREY, Plot

_PHASES = ("warm-up", "fixed", "closed")
_PHASE_TITLES = {
    "warm-up": "warm-up (not counted)",
    "fixed": "fixed rate (open model)",
    "closed": "closed model",
}
_PARTS = ("service", "postgres", "stub", "generator")
_MB = 1e6

Line = list[tuple[float, float]]


def traffic_over_time(data: ReportData) -> Plot | None:
    """Answers, p50 and p99 of each second, phase by phase."""
    phases = [p for p in _PHASES if any(s.phase == p for d in data.rounds for s in d.seconds)]
    if not phases:
        return None
    rows: list[tuple[str, Callable[[Second], float | None]]] = [
        ("answered a second", lambda second: float(second.completed)),
        ("p50 latency, ms", lambda second: second.p50_ms),
        ("p99 latency, ms", lambda second: second.p99_ms),
    ]

    def fill(figure: Figure) -> None:
        grid = figure.subplots(len(rows), len(phases), squeeze=False, sharex="col")
        for column, phase in enumerate(phases):
            grid[0][column].set_title(_PHASE_TITLES[phase], loc="left")
            grid[-1][column].set_xlabel("seconds of the phase")
            for axes, (_, value) in zip((row[column] for row in grid), rows, strict=True):
                _draw_rounds(axes, data, partial(_series, phase=phase, value=value))
        for row, (title, _) in zip(grid, rows, strict=True):
            row[0].set_ylabel(title)
        grid[0][0].legend(loc="lower right", fontsize=9)

    return draw(
        "traffic",
        qualified("Answers and latency, second by second", data.document, ("p99_ms",)),
        "Thin: each round; bold: the median over the rounds. Each panel has its own scale from 0. "
        "A p99 is drawn for seconds with at least 100 answers.",
        6.2,
        fill,
    )


def resources_over_time(data: ReportData) -> Plot | None:
    """CPU and resident memory of every part that was sampled."""
    parts = _sampled_parts(data)
    if not parts:
        return None

    def fill(figure: Figure) -> None:
        grid = figure.subplots(len(parts), 2, squeeze=False, sharex=True)
        for row, part in zip(grid, parts, strict=True):
            row[0].set_ylabel(name_of(part))
            _draw_rounds(row[0], data, partial(_cpu_of, part=part))
            _draw_rounds(row[1], data, partial(_rss_of, part=part))
            for axes in row:
                _shade(axes, data.rounds[0])
            if not row[1].lines:
                row[1].text(0.5, 0.5, "not sampled", transform=row[1].transAxes, ha="center")
        grid[0][0].set_title("CPU, % of one core", loc="left")
        grid[0][1].set_title("resident memory, MB", loc="left")
        for axes in grid[-1]:
            axes.set_xlabel("seconds since the service started")
        grid[0][0].legend(loc="lower right", fontsize=9)

    return draw(
        "resources",
        qualified("CPU and memory of every part", data.document, ("cpu_us_per_request",)),
        "Thin: each round; bold: the median over the rounds. All processes of a part together. "
        "Grey bands: the measured phases, fixed rate then closed model.",
        1.2 + 1.5 * len(parts),
        fill,
    )


def cpu_line(samples: Sequence[Sample]) -> Line:
    """Per cent of one core between two samples, at the later one's time.

    A counter that falls back (its process is new) makes no point.
    """
    return [
        (after.t_s, (after.cpu_us - before.cpu_us) / (after.t_s - before.t_s) / 1e4)
        for before, after in pairwise(samples)
        if after.t_s > before.t_s and after.cpu_us >= before.cpu_us
    ]


def _cpu_of(data: RoundData, part: str) -> Line:
    return cpu_line(_of_part(data.samples, part))


def _rss_of(data: RoundData, part: str) -> Line:
    samples = _of_part(data.samples, part)
    return [(one.t_s, one.rss_bytes / _MB) for one in samples if one.rss_bytes is not None]


def _series(data: RoundData, phase: str, value: Callable[[Second], float | None]) -> Line:
    found = [(s.offset_s, value(s)) for s in data.seconds if s.phase == phase]
    return [(at, number) for at, number in found if number is not None]


def _draw_rounds(axes: Axes, data: ReportData, line: Callable[[RoundData], Line]) -> None:
    for index, label in enumerate(facts.labels(data.document)):
        lines = [drawn for one in data.of(label) if (drawn := line(one))]
        for drawn in lines:
            axes.plot(*zip(*drawn, strict=True), color=COLOURS[index], alpha=0.25, linewidth=0.7)
        if lines:
            axes.plot(
                *zip(*_median_line(lines), strict=True),
                color=COLOURS[index],
                linestyle=DASHES[index],
                linewidth=1.8,
                label=name_of(label),
            )
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)
    plain_numbers(axes.yaxis)
    whole_seconds(axes.xaxis)


def _median_line(lines: Sequence[Line]) -> Line:
    """The median over the rounds in each whole second, at the mean of the points' times."""
    seconds: dict[int, Line] = {}
    for line in lines:
        for point in line:
            seconds.setdefault(int(point[0]), []).append(point)
    return [
        (float(np.mean([at for at, _ in points])), float(np.median([v for _, v in points])))
        for _, points in sorted(seconds.items())
    ]


def _shade(axes: Axes, data: RoundData) -> None:
    for phase in data.record.phases:
        if phase.name in ("fixed", "closed"):
            axes.axvspan(phase.start_s, phase.end_s, color=GREY, alpha=0.12, linewidth=0)


def _sampled_parts(data: ReportData) -> list[str]:
    found = {sample.part for one in data.rounds for sample in one.samples}
    return [part for part in _PARTS if part in found]


def _of_part(samples: Iterable[Sample], part: str) -> list[Sample]:
    return [sample for sample in samples if sample.part == part]
