"""How every plot looks, and how it becomes SVG and PNG."""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bakeoff.measure.document import RunDocument
from bakeoff.measure.metrics import format_number
from reports.cells import figure_cell
from reports.plot import Plot

WIDTH_IN = 8.6
_PNG_DPI = 150
# Of zlib's nine levels: a tenth larger than by default, in half the time.
_PNG_COMPRESSION = 3
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#d8d8d8",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    # A dollar sign in a name is no formula.
    "text.parse_math": False,
    # The same data gives the same file.
    "svg.hashsalt": "bakeoff",
}

Axes = Any


def draw(
    name: str, title: str, caption: str, height_in: float, fill: Callable[[Figure], None]
) -> Plot:
    """Draws one figure; `fill` puts the axes in it."""
    with _style():
        figure = Figure(
            figsize=(WIDTH_IN, height_in), dpi=_PNG_DPI, layout="constrained", facecolor="white"
        )
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        fill(figure)
        png = _png(figure)
        # Laid out once: each drawing would do it again.
        figure.set_layout_engine("none")
        return Plot(name, title, caption, _svg(figure), png)


def name_of(text: str, limit: int = 24) -> str:
    """A name for a plot: on one line, of characters that the font has, and not too long."""
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return shown if len(shown) <= limit else shown[: limit - 2] + ".."


def qualified(title: str, document: RunDocument, metrics: Iterable[str]) -> str:
    """A title with a second line that says what voids or marks the figures shown."""
    remarks: dict[str, None] = {}
    for metric in metrics:
        for service in document.services.values():
            cell = figure_cell(metric, service.metrics.get(metric))
            remarks |= dict.fromkeys(f"voided: {rule}" for rule in cell.voided_by)
            remarks |= dict.fromkeys(cell.marks)
    kept = [name_of(remark, 40) for remark in remarks][:3]
    return f"{title}\n{' | '.join(kept)}" if kept else title


def plain_numbers(axis: Axes) -> None:
    """Numbers as they are spoken."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def log_scale(axis: Axes) -> None:
    """A log axis with a labelled tick at 1, 2 and 5 of each decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    plain_numbers(axis)


def whole_seconds(axis: Axes) -> None:
    """Ticks at whole seconds only."""
    axis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def _short(value: float) -> str:
    text = format_number(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


# By the canvas itself, since Figure.savefig draws twice.
def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(
        file, metadata={"Software": None}, pil_kwargs={"compress_level": _PNG_COMPRESSION}
    )
    return file.getvalue()


def _svg(figure: Figure) -> bytes:
    file = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    return file.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(_STYLE):
        yield
