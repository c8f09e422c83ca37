"""A footprint on a terminal: plain ASCII, 80 columns, styled where there is a terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from bakeoff.measure.footprint import FootprintDocument
from bakeoff.measure.post import POST_LINES_SETUP
from reports import facts, footprint, phrases
from reports.terminal import cut, plain, wrapped

_TITLE, _VALUE, _RATIO, _POST = 27, 11, 19, 5
# CPU time and peak memory side by side.
_WIDE, _PEAK = 18, 8


def footprint_terminal(document: FootprintDocument, folder: Path) -> Text:
    """Both tables for `display.show`, in 80 columns."""
    text = Text(no_wrap=True)
    for line, style in _lines(document, folder):
        text.append(line + "\n", style=style or None)
    text.rstrip()
    return text


def _lines(document: FootprintDocument, folder: Path) -> list[tuple[str, str]]:
    lines = [(text, "bold") for text in wrapped(footprint.heading(document))]
    for note in footprint.notes(document):
        lines += [(text, "yellow") for text in wrapped(note)]
    letters: dict[str, str] = {}
    for title, rows, spans in (
        ("Lines of code", footprint.line_rows(document), False),
        ("Median time (range)", footprint.time_rows(document), True),
    ):
        head = _columns(title, list(document.services), "ratio [95 %]", "post", "")
        lines += [("", ""), (head, "bold")]
        for row in rows:
            lines += _row(row, letters, spans)
    for remark, letter in letters.items():
        lines += [(text, "dim") for text in wrapped(f"{letter}: {remark}", "   ")]
    lines.append((f"post: the ratio that the blog post says ({POST_LINES_SETUP})", "dim"))
    lines += _uses(document)
    lines.append(("", ""))
    for text in footprint.setup(document):
        lines += [(part, "") for part in wrapped(text, "  ")]
    lines += [("", ""), ("Report:", ""), (f"  {plain(str(folder / 'report.html'))}", "")]
    return lines


def _row(row: facts.Row, letters: dict[str, str], spans: bool) -> list[tuple[str, str]]:
    remarks = dict.fromkeys(one for found in (*row.cells, row.ratio) for one in found.remarks)
    notes = "".join(letters.setdefault(one, _letter(len(letters))) for one in remarks)
    ratio = row.ratio.text
    if row.ratio.interval:
        ratio += f" [{row.ratio.interval.replace(' to ', ',')}]"
    values = [one.text for one in row.cells]
    lines = [(_columns(row.title, values, ratio, row.post_ratio, notes), "")]
    if spans and any(one.interval for one in row.cells):
        ranges = [one.interval.replace(" to ", "-").removesuffix(" s") for one in row.cells]
        lines.append((_columns("", ranges, "", "", ""), "dim"))
    return lines


def _uses(document: FootprintDocument) -> list[tuple[str, str]]:
    """CPU time and peak memory of what was timed, a line for each operation."""
    labels = list(document.services)
    found: dict[str, dict[str, str]] = {}
    for use in footprint.uses(document):
        found.setdefault(use.title, {})[use.label] = f"{use.cpu} {use.peak.rjust(_PEAK)}"
    lines = [("", ""), (_wide("CPU time, peak memory", labels), "bold")] if found else []
    for title, by_label in found.items():
        texts = [by_label.get(label, phrases.NOTHING) for label in labels]
        lines.append((_wide(title.capitalize(), texts), ""))
    return lines


def _wide(title: str, values: Sequence[str]) -> str:
    """A title and two columns for two figures each."""
    fields = [cut(text, _WIDE).rjust(_WIDE) for text in [*values, "", ""][:2]]
    return " ".join([cut(title, _TITLE).ljust(_TITLE), *fields]).rstrip()


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else "*"


def _columns(title: str, values: Sequence[str], ratio: str, post: str, notes: str) -> str:
    fields = [cut(title, _TITLE).ljust(_TITLE)]
    fields += [cut(text, _VALUE).rjust(_VALUE) for text in [*values, "", ""][:2]]
    fields += [cut(ratio, _RATIO).ljust(_RATIO), cut(post, _POST).rjust(_POST), notes[:2]]
    return " ".join(fields).rstrip()
