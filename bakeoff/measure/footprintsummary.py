"""From counts and timed runs to `footprint.json`."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bakeoff.measure.footprint import (
    CONCERNS,
    Amount,
    FootprintDocument,
    FootprintRatio,
    FootprintService,
    ImageBuild,
    LinesDocument,
    TimedRun,
    TimesDocument,
)
from bakeoff.measure.operations import OPERATIONS, Repetitions
from bakeoff.measure.post import POST_COMPILE_S, POST_LINES
from bakeoff.measure.statistics import MINIMUM_BLOCKS, estimate, log_ratios

SIZES = ("direct_dependencies", "all_dependencies", "binary_bytes", "image_bytes")
NOT_REACHED = "the run ended before it"
SKIPPED = "skipped with --skip cold"


@dataclass
class ServiceFacts:
    """What is known of one service so far. `lacking` says for an operation why it is not done,
    `commands` with which command it is."""

    title: str
    lines: LinesDocument
    sizes: dict[str, Amount] = field(default_factory=dict)
    toolchain: str | None = None
    linker: str | None = None
    image: ImageBuild | None = None
    changes: dict[str, str] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)


@dataclass
class FootprintFacts:
    """All that is known of a run so far; the order of `services` is that of the columns."""

    created_at: str
    repetitions: Repetitions
    counter: str
    skipped: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    services: dict[str, ServiceFacts] = field(default_factory=dict)
    runs: list[TimedRun] = field(default_factory=list)


def footprint_document(facts: FootprintFacts, finished: bool) -> FootprintDocument:
    """The document of a run that is over, or of one that goes on."""
    services = {name: _service(name, one, facts) for name, one in facts.services.items()}
    return FootprintDocument(
        schema="bakeoff.footprint/1",
        created_at=facts.created_at,
        finished=finished,
        environment=facts.environment,
        repetitions=facts.repetitions,
        skipped=facts.skipped,
        counter=facts.counter,
        post_says={"lines": POST_LINES, "compile_s": POST_COMPILE_S},
        services=services,
        ratios=_ratios(services),
        runs=list(facts.runs),
    )


def lines_total(lines: LinesDocument) -> int:
    """Lines of code of all concerns."""
    return sum(count.code for count in lines.concerns.values())


def times(runs: Sequence[TimedRun], command: list[str], reason: str | None) -> TimesDocument:
    """One operation of one service, from its runs in their order."""
    if not runs:
        return TimesDocument(runs_s=[], command=command, reason=reason or NOT_REACHED)
    walls = [run.wall_s for run in runs]
    peaks = [run.peak_rss_bytes for run in runs if run.peak_rss_bytes is not None]
    return TimesDocument(
        runs_s=walls,
        median_s=statistics.median(walls),
        low_s=min(walls),
        high_s=max(walls),
        cpu_median_s=statistics.median(run.cpu_s for run in runs),
        peak_rss_bytes=max(peaks, default=None),
        command=command,
    )


def times_ratio(
    base: tuple[str, TimesDocument], other: tuple[str, TimesDocument]
) -> FootprintRatio:
    """The ratio of two services' times; repetitions pair up, since they took turns."""
    (over, first), (of, second) = base, other
    pairs = list(zip(first.runs_s, second.runs_s, strict=False))
    if not pairs:
        reason = first.reason or second.reason or NOT_REACHED
        return FootprintRatio(
            of=of, over=over, value=None, low=None, high=None, pairs=0, reason=reason
        )
    found = estimate(log_ratios([a for a, _ in pairs], [b for _, b in pairs]))
    count = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
    few = f"{count} of runs: an interval needs {MINIMUM_BLOCKS}"
    return FootprintRatio(
        of=of,
        over=over,
        value=found.value,
        low=found.low,
        high=found.high,
        pairs=len(pairs),
        reason=few if found.low is None else None,
    )


def _service(name: str, facts: ServiceFacts, run: FootprintFacts) -> FootprintService:
    def of(operation: str) -> TimesDocument:
        done = [one for one in run.runs if (one.service, one.operation) == (name, operation)]
        reason = facts.lacking.get(operation)
        if reason is None and OPERATIONS[operation].cold and "cold" in run.skipped:
            reason = SKIPPED
        return times(done, facts.commands.get(operation, []), reason)

    return FootprintService(
        title=facts.title,
        lines=facts.lines,
        sizes={key: facts.sizes.get(key, Amount(value=None, reason=NOT_REACHED)) for key in SIZES},
        times={operation: of(operation) for operation in OPERATIONS},
        toolchain=facts.toolchain,
        linker=facts.linker,
        changes=facts.changes,
        image=facts.image,
    )


def _ratios(services: Mapping[str, FootprintService]) -> dict[str, FootprintRatio]:
    if len(services) != 2:
        return {}
    (over, first), (of, second) = services.items()
    ratios = {name: _plain(over, a, of, b) for name, a, b in _counted(first, second)}
    for name in OPERATIONS:
        ratios[name] = times_ratio((over, first.times[name]), (of, second.times[name]))
    return ratios


def _counted(
    first: FootprintService, second: FootprintService
) -> Iterable[tuple[str, Amount, Amount]]:
    for concern in CONCERNS:
        pair = [Amount(value=one.lines.concerns[concern].code) for one in (first, second)]
        yield f"lines_{concern}", pair[0], pair[1]
    totals = [Amount(value=lines_total(one.lines)) for one in (first, second)]
    yield "lines_total", totals[0], totals[1]
    for name in SIZES:
        yield name, first.sizes[name], second.sizes[name]


def _plain(over: str, first: Amount, of: str, second: Amount) -> FootprintRatio:
    value = second.value / first.value if first.value and second.value is not None else None
    reason = None
    if value is None:
        reason = first.reason or second.reason or f"{over} has none"
    return FootprintRatio(
        of=of, over=over, value=value, low=None, high=None, pairs=0, reason=reason
    )
