"""A footprint as Markdown."""

from collections.abc import Iterable

from bakeoff.measure.footprint import FootprintDocument
from bakeoff.measure.post import POST_TITLE
from reports import facts, footprint, footprintclaims
from reports.markup import bullets, cell, escape, paragraphs, table


def footprint_markdown(document: FootprintDocument) -> str:
    """summary.md of a folder that has a footprint alone."""
    head = [f"# {escape(footprint.heading(document))}"]
    parts = [head, [f"{document.created_at}."], *footprint_sections(document), *_claims(document)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def footprint_sections(document: FootprintDocument) -> list[list[str]]:
    """Both tables as sections of a summary."""
    labels = list(document.services)
    header = ["", *labels, "ratio", "post says: Go", "Rust", "post's ratio"]
    apart = [[title, *values] for title, values in footprint.apart_rows(document)]
    return [
        bullets(footprint.notes(document)),
        ["## Lines of code"],
        table(header, _rows(footprint.line_rows(document))),
        table(["lines apart from these", *labels], apart),
        ["## Compile times"],
        table(header, _rows(footprint.time_rows(document))),
        paragraphs(footprint.setup(document)),
        ["## What the builds used"],
        table(
            ["operation", "service", "CPU time", "peak memory", "runs", "command"],
            [
                [*map(escape, (use.title, use.label, use.cpu, use.peak, use.runs, use.command))]
                for use in footprint.uses(document)
            ],
        ),
    ]


def _claims(document: FootprintDocument) -> list[list[str]]:
    answers = footprintclaims.answers(document)
    if not answers:
        return []
    return [[f'## Claims of the post "{POST_TITLE}"'], bullets(f"{one}." for one in answers)]


def _rows(rows: Iterable[facts.Row]) -> list[list[str]]:
    return [
        [
            escape(row.title),
            *map(cell, (*row.cells, row.ratio)),
            *(row.post_cells or ("", "")),
            row.post_ratio,
        ]
        for row in rows
    ]
