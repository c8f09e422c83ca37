"""The pieces that Markdown is made of."""

import re
from collections.abc import Iterable, Sequence

from reports.cells import Cell


def escape(text: str) -> str:
    """Text that Markdown and HTML take as it is, on one line."""
    line = "".join(c if c.isprintable() else " " for c in text)
    safe = re.sub(r"([\\`*_\[\]|~<>$#])", r"\\\1", line.replace("&", "&amp;"))
    return safe.replace("\\<", "&lt;").replace("\\>", "&gt;")


def paragraphs(lines: Iterable[str]) -> list[str]:
    """Lines that end where they end."""
    return [escape(line) + "  " for line in lines]


def bullets(lines: Iterable[str]) -> list[str]:
    """A list, or that there is none."""
    return [f"- {escape(line)}" for line in lines] or ["None."]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table, whose cells are Markdown already."""
    lines = [_row([escape(cell) for cell in header]), _row(["---"] * len(header))]
    return lines + [_row(row) for row in rows]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def cell(figure: Cell) -> str:
    """A figure with its interval and its remarks."""
    text = escape(f"{figure.text} [{figure.interval}]" if figure.interval else figure.text)
    text = f"~~{text}~~" if figure.voided_by else text
    return "<br>".join([text, *(f"<sub>{escape(remark)}</sub>" for remark in figure.remarks)])
