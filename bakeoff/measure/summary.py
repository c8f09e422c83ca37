"""From the rounds of a run to its document: metrics, ratios, words, validity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bakeoff.measure.document import (
    BlockDocument,
    MetricDocument,
    RatioDocument,
    RunDocument,
    ServiceDocument,
)
from bakeoff.measure.equality import UNEQUAL_BODIES, UNEQUAL_WORK, block_findings
from bakeoff.measure.marks import FEW_ROUNDS
from bakeoff.measure.metrics import METRICS, Metric, family
from bakeoff.measure.ratios import ratio_documents, spread_of
from bakeoff.measure.records import Figure, Finding, RoundRecord
from bakeoff.measure.statistics import ALPHA, FEW_BLOCKS, MINIMUM_BLOCKS, geometric_mean
from bakeoff.measure.words import null_verdict, unseen

# A figure void in more of the blocks than this is void.
VOID_SHARE = 1 / 3
# A ratio that scatters more than this between blocks is named, with what it cannot see.
BLOCK_SPREAD = 0.10


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What stands in `run.json` beside the figures, and what decides on the words.

    `labels` are the two columns in the order of --services; `titles` and `builds` are by label.
    `cores` are those of the machine of the service; `null` is the service that is compared with
    itself; `findings` are those of the whole run.
    """

    created_at: str
    finished: bool
    environment: dict[str, Any]
    experiment: dict[str, Any]
    labels: tuple[str, str]
    titles: Mapping[str, str]
    builds: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    cores: int
    reference_rate_rps: float | None
    rates_rps: Sequence[float]
    connections: dict[str, int]
    seed: int
    floor: dict[str, Any] | None = None
    post_says: dict[str, Any] = field(default_factory=dict)
    null: str | None = None
    allow_unequal_work: bool = False
    findings: Sequence[Finding] = ()


def run_document(
    rounds: Sequence[RoundRecord], blocks: Sequence[BlockDocument], facts: RunFacts
) -> RunDocument:
    """The document of a run, finished or not.

    A round belongs to the block of its number, counted from 1. A block that was run again counts
    no more once its rerun is whole; its rounds are null in every list of rounds.
    """
    named = family(facts.cores)
    by_block = _counted(rounds, blocks, facts.labels)
    services = {
        label: ServiceDocument(
            title=facts.titles.get(label, label),
            metrics=_metric_documents([pair.get(label) for pair in by_block]),
            build=facts.builds.get(label, {}),
            died=[f"round {r.number}: {r.died}" for r in rounds if r.label == label and r.died],
        )
        for label in facts.labels
    }
    unequal = [
        finding
        for pair in by_block
        if len(pair) == len(facts.labels)
        for finding in block_findings(*(pair[label] for label in facts.labels))
    ]
    first, second = facts.labels
    ratios = ratio_documents(
        (first, services[first].metrics),
        (second, services[second].metrics),
        named,
        voided=_voided_pairs(by_block),
        unequal_work=any(f.rule in (UNEQUAL_WORK, UNEQUAL_BODIES) for f in unequal),
        allow_unequal_work=facts.allow_unequal_work,
    )
    validity = [
        *facts.findings,
        *(finding for record in rounds for finding in record.findings),
        *unequal,
        *_disagreements(ratios, named),
        *(_null_findings(ratios, named) if facts.null is not None else []),
    ]
    return RunDocument(
        schema="bakeoff.run/1",
        created_at=facts.created_at,
        finished=facts.finished,
        environment=facts.environment,
        experiment=facts.experiment,
        reference_rate_rps=facts.reference_rate_rps,
        rates_rps=list(facts.rates_rps),
        connections=facts.connections,
        seed=facts.seed,
        blocks=list(blocks),
        floor=facts.floor,
        post_says=facts.post_says,
        services=services,
        ratios=ratios,
        validity=validity,
        family=list(named),
    )


def stands(document: RunDocument) -> bool:
    """Whether any figure of the family stands; where none does, the run is not valid."""
    return any(
        metric.value is not None and not metric.voided_by
        for service in document.services.values()
        for name in document.family
        if (metric := service.metrics.get(name)) is not None
    )


def _counted(
    rounds: Sequence[RoundRecord], blocks: Sequence[BlockDocument], labels: Sequence[str]
) -> list[dict[str, RoundRecord]]:
    """The rounds that count, by label, for each block; none for one that was run again."""
    pairs: list[dict[str, RoundRecord]] = [{} for _ in blocks]
    for record in rounds:
        if not 1 <= record.block <= len(blocks):
            raise ValueError(f"round {record.number} is of block {record.block} of {len(blocks)}")
        pairs[record.block - 1][record.label] = record
    for number, (block, pair) in enumerate(zip(blocks, pairs, strict=True)):
        if block.rerun_of is not None and len(pair) == len(labels):
            pairs[block.rerun_of - 1].clear()
            for earlier in range(number):
                if blocks[earlier].rerun_of == block.rerun_of:
                    pairs[earlier].clear()
    return pairs


def _metric_documents(rounds: Sequence[RoundRecord | None]) -> dict[str, MetricDocument]:
    rate = next(
        (p.rate_rps for r in rounds if r is not None for p in r.phases if p.name == "fixed"), None
    )
    return {
        metric.name: _metric_document(
            metric,
            [None if record is None else record.figures.get(metric.name) for record in rounds],
            rate if metric.phase == "fixed" else None,
        )
        for metric in METRICS.values()
    }


def _metric_document(
    metric: Metric, figures: Sequence[Figure | None], rate_rps: float | None
) -> MetricDocument:
    had = [figure for figure in figures if figure is not None and figure.value is not None]
    void = [figure for figure in had if figure.voided_by]
    struck = len(void) > VOID_SHARE * sum(figure is not None for figure in figures)
    # A figure that is void as a whole keeps its value; else the void rounds do not count.
    values = [
        figure.value if figure is not None and (struck or not figure.voided_by) else None
        for figure in figures
    ]
    numbers = [value for value in values if value is not None]
    mean = _mean_of(numbers)
    marks = list(dict.fromkeys(mark for figure in had for mark in figure.marks))
    if void and not struck:
        marks.append(f"void in {len(void)} of {len(figures)} rounds")
    if MINIMUM_BLOCKS <= len(numbers) <= FEW_BLOCKS:
        marks.append(FEW_ROUNDS)
    samples = [figure.samples for figure in had if figure.samples is not None]
    return MetricDocument(
        value=mean[0],
        low=mean[1],
        high=mean[2],
        unit=metric.unit,
        rounds=values,
        samples=sum(samples) if samples else None,
        rate_rps=rate_rps,
        marks=marks,
        voided_by=list(dict.fromkeys(r for f in void for r in f.voided_by)) if struck else [],
        reason=None if mean[0] is not None else _reason(figures, numbers),
    )


def _mean_of(values: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Geometric mean and interval; of counts that are all 0 it is 0."""
    if values and min(values) > 0:
        found = geometric_mean(values)
        return found.value, found.low, found.high
    if values and max(values) == 0:
        edge = 0.0 if len(values) >= MINIMUM_BLOCKS else None
        return 0.0, edge, edge
    return None, None, None


def _reason(figures: Sequence[Figure | None], numbers: Sequence[float]) -> str:
    if numbers:
        return "0 in some rounds and not in others: no geometric mean"
    reasons = [figure.reason for figure in figures if figure is not None and figure.reason]
    return reasons[0] if reasons else "no round was finished"


def _voided_pairs(pairs: Sequence[Mapping[str, RoundRecord]]) -> dict[str, list[str]]:
    """The rules that void a ratio: one of its two figures is void in over a third of the blocks."""
    counted = [pair for pair in pairs if pair]
    voided = {}
    for name in METRICS:
        rules = [
            [rule for r in pair.values() if name in r.figures for rule in r.figures[name].voided_by]
            for pair in counted
        ]
        if sum(map(bool, rules)) > VOID_SHARE * len(counted):
            voided[name] = list(dict.fromkeys(rule for block in rules for rule in block))
    return voided


def _disagreements(ratios: Mapping[str, RatioDocument], named: Sequence[str]) -> list[Finding]:
    findings = []
    for name in named:
        ratio, metric = ratios[name], METRICS[name]
        spread = spread_of(ratio)
        if spread is None or spread <= BLOCK_SPREAD or ratio.smallest_visible is None:
            continue
        findings.append(
            Finding(
                rule="blocks disagree",
                effect="warns",
                where=f"ratio of {name}",
                found=f"it scatters by {spread:.1%} between blocks".replace("%", " %"),
                allowed=f"{BLOCK_SPREAD:.0%}".replace("%", " %"),
                advice=f"{unseen(ratio.smallest_visible)}; add rounds or quiet the machine",
                touches=[metric.metric_class] if metric.metric_class != "W" else [],
                metrics=[name],
            )
        )
    return findings


def _null_findings(ratios: Mapping[str, RatioDocument], named: Sequence[str]) -> list[Finding]:
    rejected = [n for n in named if (p := ratios[n].p_holm) is not None and p <= ALPHA]
    if not rejected:
        return []
    return [
        Finding(
            rule="null test",
            effect="warns",
            where="the whole run",
            found=null_verdict(ratios, named),
            allowed="none rejected: both columns are one service",
            advice="a healthy rig shows this once in twenty runs; run it again, "
            "a second time in a row is a fault of the rig",
            touches=[],
            metrics=rejected,
        )
    ]
