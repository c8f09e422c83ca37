"""report.html: one page that asks for nothing else, with the answer first."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from bakeoff.measure.document import RunDocument
from bakeoff.measure.footprint import FootprintDocument
from bakeoff.measure.metrics import METRICS
from bakeoff.measure.post import POST_LINES_SETUP, POST_SETUP, POST_TITLE
from bakeoff.measure.words import format_percent
from reports import facts, footprint, footprintclaims, phrases
from reports.claims import claims, cpu_readings
from reports.data import ReportData
from reports.machines import machines
from reports.plot import COLOURS, Plot
from reports.work import UseRow, audit_rows, use_rows

# The classes of metrics, as the page groups them.
_GROUPS = {
    "L": "Latency at the fixed rate (open model, from the intended start)",
    "C": "Throughput and capacity",
    "U": "CPU",
    "R": "Memory",
    "W": "Work of a request, and the instrument itself",
}


def html(data: ReportData, plots: Sequence[Plot]) -> str:
    """The page. Whatever comes from data is escaped by the template engine."""
    document = data.document
    counted = [one.record for one in data.rounds]
    uses = use_rows(counted)
    return _template("report.html.j2").render(
        phrases=phrases,
        document=document,
        records=data.records,
        labels=facts.labels(document),
        colours=COLOURS,
        heading=facts.heading(document),
        machines=machines(document),
        notes=facts.notes(document),
        null_verdict=facts.null_verdict(document),
        verdicts=facts.verdicts(document),
        post_rows=facts.post_rows(document),
        post_title=POST_TITLE,
        post_setup=POST_SETUP,
        cpu_readings=cpu_readings(document),
        claims=claims(document, counted, data.footprint),
        plots=[(plot, _data_uri(plot)) for plot in plots],
        groups=_groups(document),
        own_use=_own_use(uses),
        uses=uses,
        audits=audit_rows(counted),
        checks=facts.checks(document),
        floor=list(phrases.flat(document.floor)) if document.floor else [],
        environment=list(phrases.flat(document.environment)),
        experiment=list(phrases.flat(document.experiment)),
        builds={
            label: list(phrases.flat(service.build)) for label, service in document.services.items()
        },
        **_footprint(data.footprint),
    )


def footprint_html(document: FootprintDocument, plots: Sequence[Plot]) -> str:
    """The page of a folder that has a footprint alone."""
    return _template("footprintpage.html.j2").render(
        document=document,
        colours=COLOURS,
        heading=footprint.heading(document),
        claims=footprintclaims.answers(document),
        plots=[(plot, _data_uri(plot)) for plot in plots],
        environment=list(phrases.flat(document.environment)),
        **_footprint(document),
    )


def _footprint(document: FootprintDocument | None) -> dict[str, Any]:
    return {
        "footprint": document,
        "footprint_facts": footprint,
        "post_lines_setup": POST_LINES_SETUP,
    }


def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda value: "not counted" if value is None else f"{value:,}"
    environment.filters["percent_over_one"] = format_percent
    return environment.get_template(name)


def _groups(document: RunDocument) -> list[tuple[str, list[facts.Row]]]:
    """All metrics by class; those that the list of metrics does not know stand with the last."""
    rows: dict[str, list[facts.Row]] = {letter: [] for letter in _GROUPS}
    for name in facts.metric_names(document):
        letter = METRICS[name].metric_class if name in METRICS else "W"
        rows[letter].append(facts.metric_row(document, name))
    return [(title, rows[letter]) for letter, title in _GROUPS.items() if rows[letter]]


def _own_use(uses: Sequence[UseRow]) -> list[str]:
    """How busy each service was at each fixed rate, since latency means little without it."""
    return [
        f"{use.label} at {use.rate_rps:,.0f} req/s: {phrases.share(use.share)} of one core"
        for use in uses
        if use.part == "service" and use.phase == "fixed" and use.rate_rps is not None
    ]


def _data_uri(plot: Plot) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(plot.svg).decode()}"
