"""What a footprint says, as plain values: tables 1 and 2 of the post, row by row, beside it."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bakeoff.measure.footprint import (
    CONCERNS,
    Amount,
    FootprintDocument,
    FootprintRatio,
    FootprintService,
    ImageBuild,
    LineCount,
    TimesDocument,
)
from bakeoff.measure.footprintsummary import lines_total
from bakeoff.measure.metrics import format_bytes, format_number
from bakeoff.measure.operations import OPERATIONS
from bakeoff.measure.post import POST_COMPILE_S, POST_LINES, POST_SERVICES
from bakeoff.measure.words import format_ratio
from reports.cells import NO_RATIO, Cell
from reports.facts import Row
from reports.machines import machines
from reports.phrases import NOTHING, counted

_SIZES = {
    "direct_dependencies": "direct dependencies",
    "all_dependencies": "all dependencies",
    "binary_bytes": "binary",
    "image_bytes": "image",
}
_APART = {
    "generated": "generated code",
    "locks": "lock files",
    "sql": "SQL",
    "elsewhere": "of no concern",
}
_BYTES = frozenset({"binary_bytes", "image_bytes"})
# As much of a core as makes another process known during a comparison.
_OTHERS_CORES = 0.05


@dataclass(frozen=True)
class Use:
    """What an operation of one service used, and how it was done."""

    title: str
    label: str
    command: str
    runs: str
    cpu: str
    peak: str


def heading(document: FootprintDocument) -> str:
    """What was measured, such as `rust against go: footprint`."""
    return f"{' against '.join(reversed(list(document.services)))}: footprint"


def line_rows(document: FootprintDocument) -> list[Row]:
    """Table 1: lines of code by concern and in all, then what stands beside them."""
    rows = []
    for concern in (*CONCERNS, "total"):
        cells = [Cell(f"{_code(document, label, concern):,}") for label in document.services]
        rows.append(_row(document, f"lines_{concern}", concern, cells, POST_LINES.get(concern), ""))
    for name, title in _SIZES.items():
        cells = [_size(name, service) for service in document.services.values()]
        rows.append(_row(document, name, title, cells, None, ""))
    return rows


def apart_rows(document: FootprintDocument) -> list[tuple[str, list[str]]]:
    """What is no code of a concern, in lines: comments and blanks of the concerns, and the rest."""
    counts = [
        sum(service.lines.concerns.values(), _NO_LINES) for service in document.services.values()
    ]
    rows = [
        ("comments", [f"{count.comments:,}" for count in counts]),
        ("blank lines", [f"{count.blanks:,}" for count in counts]),
    ]
    rows += [
        (title, [f"{service.lines.apart[name].code:,}" for service in document.services.values()])
        for name, title in _APART.items()
    ]
    return rows


def time_rows(document: FootprintDocument) -> list[Row]:
    """Table 2: medians with their ranges."""
    rows = []
    for name, operation in OPERATIONS.items():
        cells = [_times(service.times[name]) for service in document.services.values()]
        rows.append(_row(document, name, operation.title, cells, POST_COMPILE_S.get(name), " s"))
    return rows


def uses(document: FootprintDocument) -> list[Use]:
    """CPU time, memory and command of all that was timed."""
    return [
        Use(
            title=OPERATIONS[name].title,
            label=label,
            command=" ".join(found.command),
            runs="; ".join(_seconds(run) for run in found.runs_s),
            cpu=_seconds(found.cpu_median_s),
            peak=NOTHING if found.peak_rss_bytes is None else format_bytes(found.peak_rss_bytes),
        )
        for name in OPERATIONS
        for label, service in document.services.items()
        if (found := service.times[name]).runs_s
    ]


def notes(document: FootprintDocument) -> list[str]:
    """What must be known before any figure is read."""
    found = []
    if not document.finished:
        found.append(
            f"This run did not come to its end: it has {counted(len(document.runs), 'timed run')}."
        )
    if "cold" in document.skipped:
        found.append("Nothing was built cold (--skip cold).")
    found += _not_alone(document)
    for label, service in document.services.items():
        inline = service.lines.inline_tests
        if inline.files:
            found.append(
                f"{counted(inline.code, 'line')} of {label} in {counted(inline.files, 'file')} are "
                "tests inside source files: they are counted where they stand, not as tests."
            )
    return found


def setup(document: FootprintDocument) -> list[str]:
    """The machine, with the cores that the builds could use; toolchains, linkers, and what one
    file is."""
    lines = machines(document)
    for label, service in document.services.items():
        parts = [service.toolchain or "unknown toolchain", f"linker {service.linker or 'unknown'}"]
        parts += [f"{name} {file}" for name, file in service.changes.items()]
        lines.append(f"{label}: {', '.join(parts)}")
    return lines


_NO_LINES = LineCount(files=0, code=0, comments=0, blanks=0)


def _not_alone(document: FootprintDocument) -> list[str]:
    """That the machine did something else meanwhile. Test runs are left out: Postgres, which they
    need, is something else, too."""
    others = [run.other_cores for run in document.runs if OPERATIONS[run.operation].work != "test"]
    typical = statistics.median(others) if others else 0.0
    if typical <= _OTHERS_CORES:
        return []
    return [
        f"This machine was not quiet: during the builds {format_number(typical)} cores were busy "
        "with something else (median). The times are longer for it, and the ratios less certain."
    ]


def _code(document: FootprintDocument, label: str, concern: str) -> int:
    lines = document.services[label].lines
    return lines_total(lines) if concern == "total" else lines.concerns[concern].code


def _row(
    document: FootprintDocument,
    name: str,
    title: str,
    cells: Iterable[Cell],
    says: Mapping[str, float] | None,
    unit: str,
) -> Row:
    labels = list(document.services)
    pair = [says[label] for label in labels if says and label in says]
    return Row(
        name=name,
        title=title[0].upper() + title[1:],
        cells=tuple(cells),
        ratio=_ratio(document.ratios.get(name)),
        word=None,
        rate_rps=None,
        post_cells=tuple(f"{says[one]:,g}{unit}" for one in POST_SERVICES) if says else (),
        # In the direction of our ratio, and only where that is of the same two services.
        post_ratio=format_ratio(pair[1] / pair[0]) if len(pair) == len(labels) == 2 else "",
    )


def _ratio(ratio: FootprintRatio | None) -> Cell:
    if ratio is None:
        return Cell(NOTHING, reason=NO_RATIO)
    if ratio.value is None:
        return Cell(NOTHING, reason=ratio.reason or NO_RATIO)
    if ratio.low is None or ratio.high is None:
        return Cell(format_ratio(ratio.value), reason=ratio.reason)
    return Cell(
        format_ratio(ratio.value), f"{format_ratio(ratio.low)} to {format_ratio(ratio.high)}"
    )


def _size(name: str, service: FootprintService) -> Cell:
    cell = _amount(name, service.sizes[name])
    if name == "image_bytes" and service.image is not None:
        return replace(cell, marks=(_built(service.image),))
    return cell


def _built(image: ImageBuild) -> str:
    """Which build an image is, such as `of an older build, 2026-01-02, by buildah 1.28.2`."""
    of = {True: "of these sources", False: "of an older build", None: "of sources not known"}
    when = image.built_at or "at a time not known"
    return f"{of[image.same_sources]}, built {when} by {image.built_with}"


def _amount(name: str, amount: Amount) -> Cell:
    if amount.value is None:
        return Cell(NOTHING, reason=amount.reason)
    return Cell(format_bytes(amount.value) if name in _BYTES else f"{amount.value:,}")


def _times(found: TimesDocument) -> Cell:
    if found.median_s is None or found.low_s is None or found.high_s is None:
        return Cell(NOTHING, reason=found.reason)
    span = (
        ""
        if len(found.runs_s) == 1
        else f"{format_number(found.low_s)} to {_seconds(found.high_s)}"
    )
    return Cell(_seconds(found.median_s), span)


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{format_number(value)} s"
