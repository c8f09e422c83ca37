"""The summary at the end of a run: plain ASCII, 80 columns, styled where there is a terminal."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from bakeoff.measure.document import RunDocument
from bakeoff.measure.records import Finding
from reports import facts, phrases
from reports.cells import NO_RATIO, Cell

WIDTH = 80
_TITLE, _VALUE, _RATIO, _POST = 28, 10, 20, 4
_VOID = "x"
# Titles that are too long for their column.
_SHORT = {"system_cpu_us_per_request": "CPU a request, with Postgres"}


@dataclass(frozen=True)
class Line:
    """A line of the summary and how a terminal styles it."""

    text: str
    style: str = ""


def summary(document: RunDocument, folder: Path) -> Text:
    """The summary for `display.show`; its plain text is `summary_lines`."""
    text = Text(no_wrap=True)
    for line in _lines(document, folder):
        text.append(line.text + "\n", style=line.style or None)
    text.rstrip()
    return text


def summary_lines(document: RunDocument, folder: Path) -> list[str]:
    """The summary as lines of printable ASCII, none longer than 80 but the folder's own."""
    return [line.text for line in _lines(document, folder)]


def _lines(document: RunDocument, folder: Path) -> list[Line]:
    sections = [
        [Line(text, "bold") for text in wrapped(facts.heading(document))],
        [Line(text, "yellow") for note in facts.notes(document) for text in wrapped(note)],
        _table(document),
        _verdicts(document),
        _findings(document.validity),
        _checks(document),
        [Line("Report:"), Line(f"  {plain(str(folder / 'report.html'))}")],
    ]
    lines: list[Line] = []
    for section in filter(None, sections):
        lines += [*([Line("")] if lines else []), *section]
    return lines


def _table(document: RunDocument) -> list[Line]:
    names = list(facts.TABLE_3)
    names[3:3] = [name for name in document.family if name not in names]
    rows = [facts.metric_row(document, name) for name in names]
    post = {row.name: row.post_ratio for row in facts.post_rows(document)}
    letters: dict[str, str] = {}
    labels = facts.labels(document)
    lines = [Line(_columns("", labels, "ratio [95 %]", "post", ""), "bold")]
    for row in rows:
        notes = "".join(_letter(letters, remark) for remark in _remarks(row))
        cells = [_value(cell) for cell in row.cells]
        void = bool(row.ratio.voided_by)
        text = _columns(
            _SHORT.get(row.name, row.title), cells, _ratio(row.ratio), post.get(row.name, ""), notes
        )
        lines.append(Line(text, "dim strike" if void else ""))
    for remark, letter in letters.items():
        lines += [Line(text, "dim") for text in wrapped(f"{letter}: {remark}", "   ")]
    if any(remark.startswith("voided") for remark in letters):
        lines.append(Line(f"{_VOID}: a voided figure, no result", "dim"))
    if any(post.values()):
        lines.append(Line("post: the ratio that the blog post says", "dim"))
    return lines


def _remarks(row: facts.Row) -> Iterable[str]:
    at_rate = row.name == facts.CPU_AT_10K and row.rate_rps not in (None, 10_000)
    own = (f"at {row.rate_rps:,.0f} req/s",) if at_rate else ()
    cells = [remark for cell in row.cells for remark in cell.remarks]
    # Where a service has no figure, that the ratio has none either goes without saying.
    lacking = any(cell.text == phrases.NOTHING for cell in row.cells)
    ratio = () if lacking or row.ratio.reason == NO_RATIO else row.ratio.remarks
    return dict.fromkeys((*own, *cells, *ratio))


def _letter(letters: dict[str, str], remark: str) -> str:
    alphabet = "abcdefghijklmnopqrstuvw"
    if remark not in letters:
        letters[remark] = alphabet[len(letters)] if len(letters) < len(alphabet) else "*"
    return letters[remark]


def _value(cell: Cell) -> str:
    text = cell.text.replace(" req/s", "/s").replace(" % of a core", " %")
    return f"{_VOID}{text}" if cell.voided_by else text


def _ratio(cell: Cell) -> str:
    text = cell.text
    if cell.interval:
        text += f" [{cell.interval.replace(' to ', ',')}]"
    return f"{_VOID}{text}" if cell.voided_by else text


def _columns(title: str, values: Sequence[str], ratio: str, post: str, notes: str) -> str:
    fields = [cut(title, _TITLE).ljust(_TITLE)]
    # An interrupted run may have only one service.
    fields += [cut(text, _VALUE).rjust(_VALUE) for text in [*values, "", ""][:2]]
    fields += [cut(ratio, _RATIO).ljust(_RATIO), cut(post, _POST).rjust(_POST), notes[:3]]
    return " ".join(fields).rstrip()


def _verdicts(document: RunDocument) -> list[Line]:
    null = facts.null_verdict(document)
    lines = [Line(text) for text in wrapped(null, "  ")] if null else []
    for verdict in facts.verdicts(document):
        text = (
            f"{_VOID} {verdict.sentence} {verdict.struck}" if verdict.struck else verdict.sentence
        )
        style = "" if verdict.shown else "dim"
        lines += [Line(part, style) for part in wrapped(text, "  ")]
    return lines


def _findings(findings: Sequence[Finding]) -> list[Line]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.effect, finding.rule), []).append(finding)
    lines = []
    for (effect, rule), group in groups.items():
        one = group[0]
        more = f" (and {len(group) - 1} more)" if len(group) > 1 else ""
        what = f" {phrases.touched(one)}" if effect == "voids" else ""
        text = (
            f"{effect}{what}: {rule}: {one.where}: {one.found}, allowed {one.allowed}{more}; "
            f"{one.advice}"
        )
        style = "red" if effect == "voids" else "yellow"
        lines += [Line(part, style) for part in wrapped(text, "  ")]
    return lines


def _checks(document: RunDocument) -> list[Line]:
    lines = []
    for check in facts.checks(document):
        style = "green" if check.passed else "red"
        text = f"check {check.text}: {check.outcome}: {check.found}"
        lines += [Line(part, style) for part in wrapped(text, "  ")]
    return lines


def plain(text: str) -> str:
    """Printable ASCII on one line: what is in a name cannot steer a terminal."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def cut(text: str, width: int) -> str:
    """What of a text has room in a column."""
    text = plain(text)
    return text if len(text) <= width else text[: width - 2] + ".."


def wrapped(text: str, indent: str = "") -> list[str]:
    """A text as lines that are not too long; all but the first are indented."""
    return textwrap.wrap(plain(text), WIDTH, subsequent_indent=indent)
