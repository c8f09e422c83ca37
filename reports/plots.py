"""The plots that compare: latency by percentile, its density, and the ratio of each block."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bakeoff.measure.document import RatioDocument
from reports import facts, phrases
from reports.canvas import Axes, draw, log_scale, name_of, qualified
from reports.cells import ratio_cell
from reports.claims import block_logs
from reports.data import Distribution, ReportData, distribution
from reports.footprintplots import footprint_plots
from reports.plot import COLOURS, DASHES, GREY, Plot
from reports.timelines import resources_over_time, traffic_over_time

# A percentile that fewer samples lie beyond is not drawn.
_FEWEST_BEYOND = 10
_NINES = {1: "0 %", 2: "50 %", 10: "90 %", 100: "99 %", 1000: "99.9 %", 10_000: "99.99 %"}
_BINS_A_DECADE = 40
_LATENCIES = ("p50_ms", "p99_ms")


def all_plots(data: ReportData) -> list[Plot]:
    """Every plot that the data allows, in the order of the page."""
    makers = (block_ratios, percentiles, density, traffic_over_time, resources_over_time)
    plots = [plot for make in makers if (plot := make(data)) is not None]
    return plots + (footprint_plots(data.footprint) if data.footprint is not None else [])


def percentiles(data: ReportData) -> Plot | None:
    """Latency against 1 / (1 - percentile), the axis of HdrHistogram's plots."""
    shown = _distributions(data)
    if not shown:
        return None

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (label, whole, rounds) in enumerate(shown):
            for one in rounds:
                axes.plot(*percentile_line(one), color=COLOURS[index], alpha=0.25, linewidth=0.8)
            axes.plot(
                *percentile_line(whole),
                color=COLOURS[index],
                linestyle=DASHES[index],
                linewidth=2,
                label=f"{name_of(label)}, {whole.total:,} requests",
            )
        log_scale(axes.xaxis)
        log_scale(axes.yaxis)
        # The fastest request of all would stretch the axis and say nothing.
        axes.set_ylim(bottom=0.8 * min(percentile_ms(whole, 1) for _, whole, _ in shown))
        last = max(whole.total / _FEWEST_BEYOND for _, whole, _ in shown)
        nines = [nine for nine in _NINES if nine <= max(last, 10)]
        axes.set_xticks(nines, [_NINES[nine] for nine in nines])
        axes.set_xlabel("percentile")
        axes.set_ylabel("latency, ms")
        axes.legend(loc="upper left")

    return draw(
        "percentiles",
        qualified(f"Latency by percentile{_at_rate(data)}", data.document, _LATENCIES),
        "Bold: all rounds together; thin: each round. From the intended start of each request "
        f"(open model). A line ends where fewer than {_FEWEST_BEYOND} requests lie beyond.",
        4.2,
        fill,
    )


def density(data: ReportData) -> Plot | None:
    """How the latencies are spread, on a log axis."""
    shown = _distributions(data)
    if not shown:
        return None
    edges = _log_edges([whole for _, whole, _ in shown])

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (label, whole, _) in enumerate(shown):
            binned, _edges = np.histogram(whole.values_ms, edges, weights=whole.counts)
            axes.stairs(
                100 * binned / whole.total,
                edges,
                color=COLOURS[index],
                linestyle=DASHES[index],
                linewidth=1.6,
                label=name_of(label),
            )
            axes.stairs(
                100 * binned / whole.total, edges, color=COLOURS[index], fill=True, alpha=0.12
            )
        log_scale(axes.xaxis)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("latency, ms")
        axes.set_ylabel(f"% of requests\nper 1/{_BINS_A_DECADE} of a decade")
        axes.legend()

    return draw(
        "density",
        qualified(f"How latencies are spread{_at_rate(data)}", data.document, _LATENCIES),
        "All rounds together. Several humps mean that requests took several different ways.",
        3.4,
        fill,
    )


def block_ratios(data: ReportData) -> Plot | None:
    """The ratio of each block as a dot, with geometric mean and interval, metric by metric."""
    document = data.document
    names = [*document.family, *(n for n in facts.TABLE_3 if n not in document.family)]
    rows = [
        (name, ratio, [float(np.exp(log)) for log in block_logs(document, name) if log is not None])
        for name in names
        if (ratio := document.ratios.get(name)) is not None and ratio.value is not None
    ]
    if not rows:
        return None
    first, second = map(name_of, facts.labels(document))

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        for y, (name, ratio, dots) in enumerate(rows):
            _ratio_row(axes, y, ratio, dots, name in document.family)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_yticks(range(len(rows)), [_ratio_label(name, ratio) for name, ratio, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        log_scale(axes.xaxis)
        _ratio_ticks(axes, rows)
        axes.set_xlabel(f"{second} / {first}")

    return draw(
        "blocks",
        f"{second} over {first}: the ratio in each block",
        "Dots: one block each. Diamond and bar: geometric mean and 95 % interval; black for the "
        "family that was named before the run, grey for what was explored, hollow for voided. "
        "1 means equal; to the left the second service has less.",
        1.3 + 0.42 * len(rows),
        fill,
    )


def percentile_ms(found: Distribution, percent: float) -> float:
    """The latency in ms that this share of the requests did not exceed."""
    rank = np.ceil(percent / 100 * found.total)
    return float(found.values_ms[np.searchsorted(np.cumsum(found.counts), rank)])


def percentile_line(found: Distribution) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1 / (1 - p) and the latency in ms at p, as far as ten samples lie beyond."""
    last = max(found.total / _FEWEST_BEYOND, 1)
    x = np.geomspace(1, last, 400)
    ranks = np.clip(np.ceil((1 - 1 / x) * found.total), 1, found.total)
    return x, found.values_ms[np.searchsorted(np.cumsum(found.counts), ranks)]


def _distributions(
    data: ReportData,
) -> list[tuple[str, Distribution, list[Distribution]]]:
    """Each label's latencies over all rounds and in each."""
    shown = []
    for label in facts.labels(data.document):
        rounds = data.of(label)
        whole = distribution(rounds)
        if whole.total:
            each = [distribution([one]) for one in rounds]
            shown.append((label, whole, [one for one in each if one.total]))
    return shown


def _log_edges(found: Sequence[Distribution]) -> NDArray[np.float64]:
    low = min(one.values_ms[0] for one in found)
    high = max(one.values_ms[-1] for one in found)
    start, end = np.floor(np.log10(low) * _BINS_A_DECADE), np.ceil(np.log10(high) * _BINS_A_DECADE)
    return np.asarray(10 ** (np.arange(start, end + 2) / _BINS_A_DECADE))


def _ratio_row(
    axes: Axes, y: int, ratio: RatioDocument, dots: Sequence[float], in_family: bool
) -> None:
    voided = bool(ratio.voided_by)
    colour = "black" if in_family and not voided else GREY
    spread = np.linspace(-0.16, 0.16, len(dots)) if len(dots) > 1 else np.zeros(len(dots))
    axes.plot(dots, y + spread, "o", color=GREY, alpha=0.6, markersize=4.5, mew=0)
    if ratio.low is not None and ratio.high is not None:
        axes.plot([ratio.low, ratio.high], [y, y], color=colour, linewidth=1.6)
    face = "white" if voided else colour
    axes.plot([ratio.value], [y], "D", color=colour, markerfacecolor=face, markersize=6)
    cell = ratio_cell(ratio)
    text = f"{cell.text}  [{cell.interval}]" if cell.interval else cell.text
    axes.text(1.01, y, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9)


def _ratio_label(name: str, ratio: RatioDocument) -> str:
    qualifiers = ["voided"] if ratio.voided_by else []
    qualifiers += [mark for mark in ratio.marks if mark != "explored"][:1]
    note = f"\n({name_of(', '.join(qualifiers), 32)})" if qualifiers else ""
    return phrases.title(name) + note


_RATIO_TICKS = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.7,
    0.85,
    1,
    1.2,
    1.5,
    2,
    3,
    5,
    10,
    20,
    50,
    100,
)
_COARSE_TICKS = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100)
# More labels than these run into each other.
_MOST_TICKS = 9


def _ratio_ticks(axes: Axes, rows: Sequence[tuple[str, RatioDocument, list[float]]]) -> None:
    values = [1.0]
    for _, ratio, dots in rows:
        values += [value for value in (ratio.value, ratio.low, ratio.high) if value is not None]
        values += dots
    low, high = min(values) / 1.06, max(values) * 1.06
    axes.set_xlim(low, high)
    ticks = [tick for tick in _RATIO_TICKS if low <= tick <= high]
    if len(ticks) > _MOST_TICKS:
        ticks = [tick for tick in ticks if tick in _COARSE_TICKS]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _at_rate(data: ReportData) -> str:
    rate = data.document.reference_rate_rps
    return "" if rate is None else f" at {rate:,.0f} req/s"
