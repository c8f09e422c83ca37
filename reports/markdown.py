"""summary.md: the report as a CI job's summary shows it."""

from collections.abc import Sequence

from bakeoff.measure.document import RunDocument
from bakeoff.measure.footprint import FootprintDocument
from bakeoff.measure.post import POST_SERVICES, POST_SETUP, POST_TITLE
from bakeoff.measure.records import RoundRecord
from reports import facts, phrases
from reports.claims import claims, cpu_readings
from reports.footprintmarkdown import footprint_sections
from reports.machines import machines
from reports.markup import bullets, cell, escape, paragraphs, table
from reports.work import audit_rows, use_rows


def markdown(
    document: RunDocument,
    records: Sequence[RoundRecord],
    sizes: FootprintDocument | None = None,
) -> str:
    """The whole summary, in GitHub's Markdown; `sizes` is the footprint that the folder has."""
    counted = facts.counted_rounds(document, records)
    sections = [
        [f"# {escape(facts.heading(document))}"],
        paragraphs([f"{document.created_at}. {'. '.join(machines(document))}."]),
        bullets(facts.notes(document)),
        ["## Verdicts"],
        _verdicts(document),
        ["## Figures"],
        _figures(document),
        paragraphs(cpu_readings(document)),
        ["## Checks"],
        bullets(f"{c.outcome}: {c.text}: {c.found}" for c in facts.checks(document)),
        ["## Validity"],
        _validity(document),
        ["## Equal work"],
        _audit(counted),
        ["## CPU of every part"],
        _uses(counted),
        [f'## Claims of the post "{POST_TITLE}"'],
        bullets(
            f"Claim {c.number}: {c.says} - Here: {c.answer}."
            for c in claims(document, counted, sizes)
        ),
        *(footprint_sections(sizes) if sizes is not None else []),
        ["## Environment and settings"],
        _settings(document),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _verdicts(document: RunDocument) -> list[str]:
    null = facts.null_verdict(document)
    lines = [f"- {escape(null)}"] if null else []
    for verdict in facts.verdicts(document):
        text = escape(verdict.sentence)
        lines.append(f"- ~~{text}~~ {escape(verdict.struck)}" if verdict.struck else f"- {text}")
    return lines or ["None."]


def _figures(document: RunDocument) -> list[str]:
    posts = {row.name: row for row in facts.post_rows(document)}
    header = ["metric", *facts.labels(document), "ratio", "post says", "post's ratio"]
    rows = []
    for name in facts.metric_names(document):
        row = facts.metric_row(document, name)
        post = posts.get(name)
        says = [
            f"{service.capitalize()} {text}"
            for service, text in zip(POST_SERVICES, post.post_cells if post else (), strict=False)
        ]
        cells = [cell(figure) for figure in (*row.cells, row.ratio)]
        ratio = post.post_ratio if post else ""
        rows.append([escape(row.title), *cells, escape(", ".join(says)), escape(ratio)])
    lines = table(header, rows)
    return [*lines, "", escape(f"The post's setup: {POST_SETUP}; its figures are not ours.")]


def _validity(document: RunDocument) -> list[str]:
    if not document.validity:
        return ["Every rule holds."]
    return table(
        ["effect", "rule", "where", "found", "allowed", "advice"],
        [
            [
                escape(text)
                for text in (
                    f"{finding.effect} {phrases.touched(finding)}",
                    finding.rule,
                    finding.where,
                    finding.found,
                    finding.allowed,
                    finding.advice,
                )
            ]
            for finding in document.validity
        ],
    )


def _audit(records: Sequence[RoundRecord]) -> list[str]:
    rows = audit_rows(records)
    if not rows:
        return ["No phase was audited."]
    return table(
        [
            "round",
            "service",
            "phase",
            "answered",
            "log lines",
            "stub calls",
            "statements",
            "balance",
        ],
        [
            [
                str(row.round_number),
                escape(row.label),
                row.phase,
                f"{row.answered:,}",
                _count(row.log_lines),
                _of_declared(row.stub_calls, row.declared_calls),
                _of_declared(row.statement_calls, row.declared_statements),
                "**no**" if row.verdict == "no" else row.verdict,
            ]
            for row in rows
        ],
    )


def _of_declared(value: int | None, declared: int) -> str:
    return _count(value) if value is None else f"{value:,} of {declared:,}"


def _count(value: int | None) -> str:
    return "not counted" if value is None else f"{value:,}"


def _uses(records: Sequence[RoundRecord]) -> list[str]:
    rows = use_rows(records)
    if not rows:
        return ["No phase was measured."]
    return table(
        ["service", "phase", "rate, req/s", "part", "CPU a request, us", "share of one core"],
        [
            [
                escape(row.label),
                row.phase,
                "closed model" if row.rate_rps is None else f"{row.rate_rps:,.0f}",
                escape(row.part),
                phrases.optional(row.cpu_us_per_request),
                phrases.share(row.share),
            ]
            for row in rows
        ],
    )


def _settings(document: RunDocument) -> list[str]:
    tree = {"environment": document.environment, "experiment": document.experiment}
    lines = table(["setting", "value"], [[escape(k), escape(v)] for k, v in phrases.flat(tree)])
    return ["<details><summary>All of them</summary>", "", *lines, "", "</details>"]
