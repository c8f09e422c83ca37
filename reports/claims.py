"""The post's claims, each answered by this run or said to be not measured by it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bakeoff.measure.document import RatioDocument, RunDocument
from bakeoff.measure.footprint import FootprintDocument
from bakeoff.measure.marks import NO_VERDICT, UNEQUAL_WORK
from bakeoff.measure.post import POST_CPUS, POST_SAYS, POST_SERVICES
from bakeoff.measure.records import RoundRecord
from bakeoff.measure.statistics import MINIMUM_BLOCKS, estimate
from bakeoff.measure.words import format_ratio
from reports import cells, facts, footprintclaims, phrases
from reports.work import audit_rows

_TEN_K_RPS = 10_000
_STATEMENTS = "statements"


@dataclass(frozen=True)
class Claim:
    """What the post claims, and what this run has to say to it."""

    number: int
    says: str
    answer: str


def claims(
    document: RunDocument,
    records: Sequence[RoundRecord],
    sizes: FootprintDocument | None = None,
) -> list[Claim]:
    """All seven claims in the post's order; `sizes` is the footprint that the folder has."""
    ours = facts.labels(document) == POST_SERVICES
    other = f"not measured: this run compares {' with '.join(facts.labels(document))}"
    elsewhere = "not measured by this run; `bakeoff footprint --into` this folder measures it"
    if sizes is not None:
        elsewhere = f"not measured: the footprint is of {' and '.join(sizes.services)}"
    sized = sizes if sizes is not None and footprintclaims.is_of_the_post(sizes) else None
    return [
        Claim(
            1,
            "About 1.5 times the throughput, 1.5 times lower latency and 3 times less memory "
            "for Rust.",
            _sizes(document) if ours else other,
        ),
        Claim(
            2,
            "The memory difference is larger than the throughput difference.",
            memory_against_throughput(document) if ours else other,
        ),
        Claim(
            3,
            "For a service bound by its database the difference is smaller.",
            "this run is of that workload: hold its ratios beside those of payment_status"
            if document.experiment.get("workload") == _STATEMENTS
            else f"not measured by this run; the workload '{_STATEMENTS}' measures it",
        ),
        Claim(
            4,
            "Cold builds are nearly 20 times slower in Rust, incremental ones 6 to 8 times.",
            footprintclaims.claim_4(sized) if sized else elsewhere,
        ),
        Claim(
            5,
            "The line counts are close.",
            footprintclaims.claim_5(sized) if sized else elsewhere,
        ),
        Claim(6, "Rewriting is almost never worth it.", _break_even(document)),
        Claim(
            7,
            "Comparing languages on a benchmark that does not match your workload misleads.",
            _equal_work(records),
        ),
    ]


def memory_against_throughput(document: RunDocument) -> str:
    """Claim 2: one interval on the per-block difference of the two log ratios."""
    second = facts.labels(document)[1]
    for name in ("throughput_rps", "rss_steady_bytes"):
        ratio = document.ratios.get(name)
        if ratio is None or ratio.value is None:
            return f"not measured: {phrases.title(name).lower()} has no ratio"
        if ratio.voided_by:
            return (
                f"no answer: {phrases.title(name).lower()} is voided ({', '.join(ratio.voided_by)})"
            )
        if unjudged := _unjudged(ratio):
            return f"no answer: {phrases.title(name).lower()} is {unjudged}"
    # Less memory and more throughput are both gains, so the memory's log changes its sign.
    logs = [
        -memory - throughput
        for memory, throughput in zip(
            block_logs(document, "rss_steady_bytes"),
            block_logs(document, "throughput_rps"),
            strict=False,
        )
        if memory is not None and throughput is not None
    ]
    if len(logs) < MINIMUM_BLOCKS:
        return f"no answer: {phrases.counted(len(logs), 'block')} with both figures are too few"
    found = estimate(logs)
    assert found.low is not None and found.high is not None
    word = "larger" if found.low > 1 else "smaller" if found.high < 1 else "not shown to differ"
    return (
        f"{word}: {second}'s factor in steady memory is {format_ratio(found.value)} times its "
        f"factor in throughput (95 % interval {format_ratio(found.low)} to "
        f"{format_ratio(found.high)}, {phrases.counted(len(logs), 'block')})"
    )


def block_logs(document: RunDocument, name: str) -> list[float | None]:
    """ln(second / first) of a metric for each block, None where a block has no such pair."""
    services = [document.services[label] for label in facts.labels(document)]
    figures = [service.metrics.get(name) for service in services]
    if len(figures) != 2 or figures[0] is None or figures[1] is None:
        return []
    return [
        math.log(second / first) if first and second else None
        for first, second in zip(figures[0].rounds, figures[1].rounds, strict=False)
    ]


def cpu_readings(document: RunDocument) -> list[str]:
    """CPU at 10,000 req/s in both readings, of one CPU or of the post's four."""
    says = POST_SAYS[facts.CPU_AT_10K]
    lines = [
        "The post does not say whether its "
        + " and ".join(f"{says[name]:g} %" for name in POST_SERVICES)
        + " are of one CPU or of its four: "
        + ", ".join(
            f"of {'one' if cpus == 1 else 'four'} that is "
            + " and ".join(
                f"{says[name] / 100 * cpus * 1e6 / _TEN_K_RPS:g}" for name in POST_SERVICES
            )
            + " us a request"
            for cpus in (1, POST_CPUS)
        )
        + "."
    ]
    for label in facts.labels(document):
        figure = document.services[label].metrics.get(facts.CPU_AT_10K)
        if figure is None or figure.value is None:
            continue
        rate = "" if figure.rate_rps is None else f" at {figure.rate_rps:,.0f} req/s"
        lines.append(
            f"Ours, {label}{rate}: {phrases.quantity(facts.CPU_AT_10K, figure.value)}, "
            f"or {figure.value / POST_CPUS:.3g} % of four."
        )
    return lines


def _sizes(document: RunDocument) -> str:
    parts = []
    for name in ("throughput_rps", "p50_ms", "p99_ms", "rss_steady_bytes", "rss_peak_bytes"):
        ratio = document.ratios.get(name)
        cell = cells.ratio_cell(ratio)
        lead = phrases.title(name).lower() if not name.startswith("p") else phrases.title(name)
        if ratio is None or ratio.value is None:
            parts.append(f"{lead}: {cell.reason}")
            continue
        if ratio.voided_by:
            parts.append(f"{lead}: voided ({', '.join(ratio.voided_by)})")
            continue
        text = f"{lead} {cell.text} times"
        qualified = (*((cell.interval,) if cell.interval else ()), *cell.remarks)
        parts.append(f"{text} ({'; '.join(qualified)})" if qualified else text)
    return "Rust over Go: " + ", ".join(parts)


def _break_even(document: RunDocument) -> str:
    name = "system_cpu_us_per_request"
    ratio = document.ratios.get(name)
    if ratio is None or ratio.value is None or ratio.voided_by:
        return "not measured: the CPU a request of the whole system has no ratio"
    if unjudged := _unjudged(ratio):
        return f"no answer: {phrases.title(name).lower()} is {unjudged}"
    saved = 1 - ratio.value
    if ratio.low is None or ratio.high is None or not saved > 0 or ratio.high >= 1:
        return (
            f"no saving shown: {ratio.of}'s system (service + Postgres) takes "
            f"{format_ratio(ratio.value)} times the CPU a request of {ratio.over}'s"
        )
    return (
        f"{ratio.of}'s system (service + Postgres) takes {phrases.share(saved)} less CPU a request "
        f"({phrases.share(1 - ratio.high)} to {phrases.share(1 - ratio.low)}). Put your own prices "
        f"in: with a bill of B a month that grows with the CPU, a rewrite that costs C is paid "
        f"back after C / ({saved:.2f} x B) months"
    )


def _unjudged(ratio: RatioDocument) -> str:
    """The marks for which a ratio carries no verdict; empty where it may."""
    return ", ".join(mark for mark in ratio.marks if mark in NO_VERDICT | {UNEQUAL_WORK})


def _equal_work(records: Sequence[RoundRecord]) -> str:
    rows = audit_rows(records)
    audited = [row for row in rows if row.complete]
    if not audited:
        return "no round of this run was audited for equal work"
    equal = sum(row.balances for row in audited)
    return (
        f"equal work was audited in the measured windows: {equal} of "
        f"{phrases.counted(len(audited), 'window')} balance. A service of your own joins with a "
        "service.toml"
    )
