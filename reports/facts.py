"""What a report says, as plain values: every form of the report is drawn from these."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff.measure import words
from bakeoff.measure.document import RatioDocument, RunDocument
from bakeoff.measure.equality import UNEQUAL_BODIES, UNEQUAL_WORK
from bakeoff.measure.metrics import METRICS
from bakeoff.measure.post import POST_SERVICES
from bakeoff.measure.records import RoundRecord
from bakeoff.measure.words import format_ratio
from reports.cells import Cell, figure_cell, ratio_cell, ratio_interval
from reports.phrases import counted, quantity, title

CPU_AT_10K = "cpu_percent_at_10k_rps"
# The rows of the post's table 3, in its order.
TABLE_3 = (
    "throughput_rps",
    "p50_ms",
    "p99_ms",
    "rss_steady_bytes",
    "rss_peak_bytes",
    CPU_AT_10K,
)


@dataclass(frozen=True)
class Row:
    """A metric: a cell for each service and their ratio; what the post says of Go and Rust, and
    its ratio where the two services are those."""

    name: str
    title: str
    cells: tuple[Cell, ...]
    ratio: Cell
    word: str | None
    rate_rps: float | None
    post_cells: tuple[str, ...] = ()
    post_ratio: str = ""


@dataclass(frozen=True)
class Verdict:
    """One sentence on one metric of the family; it judges only where it is `shown`.

    Where the figure is voided, `struck` says why, and the sentence is shown struck out.
    """

    name: str
    sentence: str
    shown: bool
    struck: str = ""


@dataclass(frozen=True)
class Check:
    """A `--check`: its text, `passed` or how else it ended, and what was found."""

    text: str
    outcome: str
    found: str

    @property
    def passed(self) -> bool:
        """Whether it holds; a check that is inconclusive or has no data does not."""
        return self.outcome == "passed"


def labels(document: RunDocument) -> tuple[str, ...]:
    """The columns, the first service first; an interrupted run may have only one."""
    for ratio in document.ratios.values():
        return ratio.over, ratio.of
    return tuple(document.services)


def heading(document: RunDocument) -> str:
    """What was compared, such as `rust against go: payment_status`."""
    names = labels(document)
    what = " against ".join(reversed(names)) if names else "no service"
    return f"{what}: {document.experiment.get('workload', 'unknown workload')}"


def null_service(document: RunDocument) -> str | None:
    """The service that was compared with itself, if this is a null test."""
    service = document.experiment.get("null")
    return service if isinstance(service, str) else None


def counted_rounds(document: RunDocument, records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """The rounds that count: not those of a block that was run again as a whole, nor those of an
    earlier attempt to run it again."""
    replaced: set[int] = set()
    for number, block in enumerate(document.blocks, 1):
        if block.rerun_of is not None and len(block.rounds) == len(block.order):
            replaced.add(block.rerun_of)
            replaced |= {
                earlier
                for earlier, other in enumerate(document.blocks[: number - 1], 1)
                if other.rerun_of == block.rerun_of
            }
    return [record for record in records if record.block not in replaced]


def metric_row(document: RunDocument, name: str) -> Row:
    """A metric of all services, without the post."""
    figures = [document.services[label].metrics.get(name) for label in labels(document)]
    ratio = document.ratios.get(name)
    rates = {figure.rate_rps for figure in figures if figure is not None}
    return Row(
        name=name,
        title=title(name),
        cells=tuple(figure_cell(name, figure) for figure in figures),
        ratio=ratio_cell(ratio),
        word=ratio.word if ratio else None,
        rate_rps=rates.pop() if len(rates) == 1 else None,
    )


def metric_names(document: RunDocument) -> list[str]:
    """Every metric that any service has, in the order of the list of metrics."""
    found = {name for service in document.services.values() for name in service.metrics}
    return [name for name in METRICS if name in found] + sorted(found - set(METRICS))


def post_rows(document: RunDocument) -> list[Row]:
    """The post's table 3 row by row, ours with what the post says beside it."""
    return [_with_post(document, metric_row(document, name)) for name in TABLE_3]


def verdicts(document: RunDocument) -> list[Verdict]:
    """A sentence for each metric of the family that was named before the run, in its order."""
    return [_verdict(name, document.ratios.get(name)) for name in document.family]


def null_verdict(document: RunDocument) -> str | None:
    """What the null test found and what to make of it, or None where the run is none."""
    if null_service(document) is None:
        return None
    found = words.null_verdict(document.ratios, document.family)
    return (
        f"{found[0].upper()}{found[1:]}. A healthy rig rejects one once in twenty runs; twice "
        "in a row is a fault of the rig."
    )


def checks(document: RunDocument) -> list[Check]:
    """The run's checks with their outcomes."""
    return [
        Check(
            text=str(check.get("text", "")),
            outcome=str(check.get("outcome", "")),
            found=str(check.get("found", "")),
        )
        for check in document.checks
    ]


def notes(document: RunDocument) -> list[str]:
    """What must be known before any figure is read."""
    found = []
    if not document.finished:
        rounds = sum(len(block.rounds) for block in document.blocks)
        found.append(f"This run did not come to its end: it has {counted(rounds, 'round')}.")
    urls = {
        label: service.build["url"]
        for label, service in document.services.items()
        if "url" in service.build
    }
    found += [f"{label} runs elsewhere: {url}." for label, url in urls.items()]
    if not urls or len(urls) < len(document.services):
        found += _core_notes(document)
    if any(finding.rule in (UNEQUAL_WORK, UNEQUAL_BODIES) for finding in document.validity):
        found.append(_unequal_note(document))
    return found


def _with_post(document: RunDocument, row: Row) -> Row:
    says = document.post_says.get(row.name) or {}
    if any(service not in says for service in POST_SERVICES):
        return row
    pair = [float(says[label]) for label in labels(document) if label in says]
    return dataclasses.replace(
        row,
        post_cells=tuple(_post_figure(row.name, float(says[name])) for name in POST_SERVICES),
        # In the direction of our ratio, and only where that is of the same two services.
        post_ratio=format_ratio(pair[1] / pair[0]) if len(pair) == 2 else "",
    )


def _post_figure(name: str, value: float) -> str:
    # The post does not say whether its per cent are of one CPU or of its four.
    return f"{value:g} %" if name == CPU_AT_10K else quantity(name, value)


def _verdict(name: str, ratio: RatioDocument | None) -> Verdict:
    lead = title(name)
    if ratio is None or ratio.value is None:
        reason = (ratio.reason if ratio else None) or "not measured"
        return Verdict(name, f"{lead}: no ratio, {reason}.", shown=False)
    size = f"{format_ratio(ratio.value)} of {ratio.over}'s"
    span = f"95 % interval {ratio_interval(ratio)}" if ratio.low is not None else "no interval"
    if ratio.voided_by:
        sentence = f"{lead}: {ratio.of}'s is {size} ({span})."
        return Verdict(name, sentence, False, f"voided: {', '.join(ratio.voided_by)}")
    span = "; ".join((span, *ratio.marks))
    if ratio.word is None:
        why = f", {ratio.reason}" if ratio.reason else ""
        sentence = f"{lead}: {ratio.of}'s is {size} ({span}); no verdict{why}."
        return Verdict(name, sentence, shown=False)
    if ratio.word.startswith(ratio.of):
        return Verdict(name, f"{ratio.word} ({span}).", shown=True)
    return Verdict(
        name, f"{lead}: {ratio.word} (ratio {format_ratio(ratio.value)}, {span}).", shown=True
    )


def _unequal_note(document: RunDocument) -> str:
    if document.experiment.get("allow_unequal_work"):
        return "The services did not do equal work, and --allow-unequal-work takes it as meant."
    return (
        "The services did not do equal work, so no verdict word is used (see Validity; "
        "--allow-unequal-work is for two versions that differ on purpose)."
    )


def _core_notes(document: RunDocument) -> list[str]:
    cores = document.environment.get("cores")
    service = cores.get("service") if isinstance(cores, dict) else None
    if not isinstance(service, list) or not service:
        return []
    names = ", ".join(map(str, service))
    if len(service) == 1:
        return [
            f"The service is pinned to core {names}, and one pinned core means GOMAXPROCS = 1 "
            "for Go and one tokio worker for Rust."
        ]
    return [f"The service is pinned to cores {names}."]
