"""Made-up runs with something wrong with them, for every form of the report."""

import msgspec

from bakeoff.measure.document import MetricDocument, RatioDocument, RunDocument
from bakeoff.measure.records import Finding
from tests.unit.fake_run import FakeRun, checks_of, fake_run, with_changes

HOSTILE = "<script>alert(1)</script>'\"&|`*_[x](javascript:alert(1))\x1b[31m\n$\\frac{"


def one_round() -> FakeRun:
    """Interrupted after the first service's first round."""
    run = fake_run(blocks=1)
    document = run.document
    first = document.blocks[0].order[0]
    return FakeRun(
        msgspec.structs.replace(
            document,
            finished=False,
            services={first: document.services[first]},
            ratios={},
            blocks=[msgspec.structs.replace(document.blocks[0], rounds=[1])],
            checks=[],
        ),
        run.records[:1],
        run.intervals[:1],
        run.samples[:1],
    )


def no_round() -> FakeRun:
    """Interrupted before any round ended."""
    document = fake_run(blocks=1).document
    empty = msgspec.structs.replace(
        document, finished=False, services={}, ratios={}, blocks=[], validity=[], checks=[]
    )
    return FakeRun(empty, [], [], [])


def all_voided() -> FakeRun:
    """Every figure is voided by one rule."""
    run = fake_run(blocks=3)
    rule = "samples lost"
    voided = with_changes(
        run,
        services={
            label: msgspec.structs.replace(
                service,
                metrics={name: _void(metric, rule) for name, metric in service.metrics.items()},
            )
            for label, service in run.document.services.items()
        },
        ratios={name: _void_ratio(ratio, rule) for name, ratio in run.document.ratios.items()},
        validity=[
            Finding(
                rule=rule,
                effect="voids",
                where="round 2, go, fixed",
                found="the workers sent 10,950, the master merged 10,949",
                allowed="all of them",
                advice="look for a worker that lost its connection",
                touches=["L", "C", "U", "R"],
            )
        ],
    )
    return with_changes(voided, checks=checks_of(voided.document))


def second_without_figures() -> FakeRun:
    """The second service is reached at a URL only, so most of it cannot be had."""
    run = fake_run(blocks=3)
    document = run.document
    second = list(document.services)[1]
    reason = "the service runs elsewhere (service.toml has a url)"
    metrics = {
        name: _null(metric, reason) for name, metric in document.services[second].metrics.items()
    }
    services = dict(document.services)
    services[second] = msgspec.structs.replace(services[second], metrics=metrics)
    ratios = {
        name: msgspec.structs.replace(
            ratio, value=None, low=None, high=None, word=None, p=None, p_holm=None, reason=reason
        )
        for name, ratio in document.ratios.items()
    }
    lacking = with_changes(run, services=services, ratios=ratios)
    return with_changes(lacking, checks=checks_of(lacking.document))


def hostile() -> FakeRun:
    """Names and findings that try to be markup, control characters or formulas."""
    run = fake_run(blocks=3)
    document = run.document
    names = {label: f"{label}{HOSTILE}" for label in document.services}
    finding = Finding(
        rule=HOSTILE,
        effect="warns",
        where=HOSTILE,
        found=HOSTILE,
        allowed=HOSTILE,
        advice=HOSTILE,
        touches=["L"],
    )
    changed = msgspec.structs.replace(
        document,
        experiment={**document.experiment, "workload": HOSTILE, HOSTILE: HOSTILE},
        environment={**document.environment, HOSTILE: {HOSTILE: HOSTILE}},
        services={
            names[label]: msgspec.structs.replace(
                service,
                title=HOSTILE,
                died=[HOSTILE],
                build={HOSTILE: HOSTILE},
                metrics={
                    name: msgspec.structs.replace(metric, marks=[HOSTILE])
                    for name, metric in service.metrics.items()
                },
            )
            for label, service in document.services.items()
        },
        ratios={
            name: msgspec.structs.replace(
                ratio, of=names[ratio.of], over=names[ratio.over], marks=[HOSTILE]
            )
            for name, ratio in document.ratios.items()
        },
        blocks=[
            msgspec.structs.replace(block, order=[names[label] for label in block.order])
            for block in document.blocks
        ],
        validity=[finding],
        checks=[{"text": HOSTILE, "outcome": HOSTILE, "found": HOSTILE}],
    )
    records = [
        msgspec.structs.replace(record, label=names[record.label], died=HOSTILE)
        for record in run.records
    ]
    return FakeRun(changed, records, run.intervals, run.samples)


def null_test() -> FakeRun:
    """One service compared with itself."""
    return fake_run(("go-a", "go-b"), blocks=6, null=True)


def few_blocks(blocks: int) -> RunDocument:
    """A run with this many blocks."""
    return fake_run(blocks=blocks).document


def _void(metric: MetricDocument, rule: str) -> MetricDocument:
    return msgspec.structs.replace(metric, voided_by=[rule])


def _void_ratio(ratio: RatioDocument, rule: str) -> RatioDocument:
    return msgspec.structs.replace(ratio, voided_by=[rule], word=None, p=None, p_holm=None)


def _null(metric: MetricDocument, reason: str) -> MetricDocument:
    return msgspec.structs.replace(
        metric,
        value=None,
        low=None,
        high=None,
        rounds=[None for _ in metric.rounds],
        samples=None,
        marks=[],
        reason=reason,
    )
