"""From rounds to the document: pairs, Holm, words, and what withholds them."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from bakeoff.measure import histograms
from bakeoff.measure.document import BlockDocument, RunDocument
from bakeoff.measure.equality import UNEQUAL_BODIES, UNEQUAL_WORK
from bakeoff.measure.figures import Measured, round_figures
from bakeoff.measure.measurement import Answers
from bakeoff.measure.metrics import FAMILY, METRICS, SHARED_FAMILY
from bakeoff.measure.records import Figure, Finding, PhaseRecord, RoundRecord
from bakeoff.measure.statistics import holm
from bakeoff.measure.summary import RunFacts, run_document, stands
from bakeoff.measure.words import format_percent, format_ratio, null_verdict
from tests.unit.healthy import NAME, REQUESTS, STATEMENTS, histogram, phase, round_record

replace = msgspec.structs.replace
Figures = Sequence[float | Figure]
LABELS = ("go", "rust")
# The figure of each of six rounds; rust needs 0.6 of go, in every block nearly.
GO = [400.0, 410.0, 395.0, 402.0, 405.0, 399.0]
RUST = [240.0, 247.0, 236.0, 240.0, 244.0, 239.0]
# t(5) = 2.5706 times the standard deviation of the logs over the root of 6.
HALF_WIDTH_OF_GO = 2.570582 * statistics.stdev(map(math.log, GO)) / math.sqrt(6)
# Nobody could tell these from GO.
LIKE_GO = [401.0, 408.0, 397.0, 400.0, 406.0, 398.0]


def facts(**changes: Any) -> RunFacts:
    settings: dict[str, Any] = {
        "created_at": "2026-01-02T03:04:05+00:00",
        "finished": True,
        "environment": {},
        "experiment": {},
        "labels": LABELS,
        "titles": {"go": "Go", "rust": "Rust"},
        "cores": 8,
        "reference_rate_rps": 1000.0,
        "rates_rps": [1000.0],
        "connections": {"open": 256, "closed": 64},
        "seed": 1,
    }
    return RunFacts(**{**settings, **changes})


def blocks(count: int) -> list[BlockDocument]:
    return [
        BlockDocument(order=list(LABELS), rerun_of=None, rounds=[2 * n - 1, 2 * n])
        for n in range(1, count + 1)
    ]


def rounds_with(name: str, first: Figures, second: Figures) -> list[RoundRecord]:
    """Healthy rounds that all have the same figures but this one."""
    made = []
    for block, pair in enumerate(zip(first, second, strict=True), 1):
        for label, value in zip(LABELS, pair, strict=True):
            figure = value if isinstance(value, Figure) else Figure(value=value)
            record = round_record(block, label)
            made.append(replace(record, figures={**record.figures, name: figure}))
    return made


def document_of(
    name: str,
    first: Figures = GO,
    second: Figures = RUST,
    **changes: Any,
) -> RunDocument:
    return run_document(rounds_with(name, first, second), blocks(len(first)), facts(**changes))


def test_a_metric_is_the_geometric_mean_of_its_rounds() -> None:
    metric = document_of("cpu_us_per_request").services["go"].metrics["cpu_us_per_request"]
    assert metric.rounds == GO
    assert metric.value == pytest.approx(math.exp(sum(map(math.log, GO)) / 6))
    assert metric.value is not None
    assert metric.low == pytest.approx(metric.value * math.exp(-HALF_WIDTH_OF_GO))
    assert metric.high == pytest.approx(metric.value * math.exp(HALF_WIDTH_OF_GO))
    assert (metric.unit, metric.rate_rps, metric.voided_by, metric.reason) == (
        "us",
        1000.0,
        [],
        None,
    )


def test_a_difference_gets_its_word() -> None:
    ratio = document_of("cpu_us_per_request").ratios["cpu_us_per_request"]
    logs = [math.log(b / a) for a, b in zip(GO, RUST, strict=True)]
    assert (ratio.of, ratio.over, ratio.blocks) == ("rust", "go", 6)
    assert ratio.value == pytest.approx(math.exp(sum(logs) / 6))
    assert ratio.high is not None
    assert ratio.high < 0.61
    assert ratio.word == "rust's CPU a request is lower: 0.60 of go's"
    assert ratio.marks == []


def test_no_difference_says_what_would_not_be_seen() -> None:
    noisy = [430.0, 380.0, 420.0, 370.0, 440.0, 390.0]
    ratio = document_of("cpu_us_per_request", GO, noisy).ratios["cpu_us_per_request"]
    assert ratio.smallest_visible is not None
    percent = math.ceil(100 * (ratio.smallest_visible - 1))
    assert 10 < percent < 20
    assert ratio.word == f"no difference shown; differences under {percent} % would not be seen"


def test_nearly_the_same_is_the_same_within_the_margin() -> None:
    ratio = document_of("cpu_us_per_request", GO, LIKE_GO).ratios["cpu_us_per_request"]
    assert ratio.word == "the same within 5 %"


def test_a_difference_that_holm_takes_away_is_none() -> None:
    """All seven figures of the family have a p of 3 %, which is not enough for seven."""
    second = [432.0, 414.0, 430.0, 397.0, 442.0, 417.0]
    rounds = [
        replace(r, figures={**r.figures, **dict.fromkeys(FAMILY, r.figures["cpu_us_per_request"])})
        for r in rounds_with("cpu_us_per_request", GO, second)
    ]
    ratio = run_document(rounds, blocks(6), facts()).ratios["cpu_us_per_request"]
    assert ratio.p is not None
    assert ratio.p_holm is not None
    assert ratio.p < 0.05 < ratio.p_holm
    assert ratio.word is not None
    assert ratio.word.startswith("no difference shown once corrected for 7 comparisons; ")


def test_p_holm_is_holm_over_the_family() -> None:
    document = document_of("cpu_us_per_request")
    p_values = {name: p for name in document.family if (p := document.ratios[name].p) is not None}
    assert {name: document.ratios[name].p_holm for name in p_values} == holm(p_values)
    assert document.family == list(FAMILY)
    outside = {name for name in METRICS if name not in FAMILY}
    assert all(document.ratios[name].p_holm is None for name in outside)


def test_outside_the_family_there_are_no_words() -> None:
    ratio = document_of("p95_ms").ratios["p95_ms"]
    assert ratio.p is not None
    assert ratio.p < 0.001
    assert (ratio.word, ratio.p_holm) == (None, None)
    assert "explored" in ratio.marks


def test_under_four_cores_the_family_is_smaller() -> None:
    document = document_of("p99_ms", cores=3)
    assert document.family == list(SHARED_FAMILY)
    assert document.ratios["p99_ms"].word is None
    assert "explored" in document.ratios["p99_ms"].marks
    assert document_of("p99_ms", cores=4).ratios["p99_ms"].word is not None


@pytest.mark.parametrize(("count", "mark"), [(3, True), (5, True), (6, False)])
def test_few_rounds_are_marked(count: int, mark: bool) -> None:
    ratio = document_of("cpu_us_per_request", GO[:count], RUST[:count]).ratios["cpu_us_per_request"]
    assert ratio.low is not None
    assert ratio.word is not None
    assert ("few rounds" in ratio.marks) is mark


@pytest.mark.parametrize("count", [1, 2])
def test_under_three_blocks_there_is_no_interval_and_no_word(count: int) -> None:
    ratio = document_of("cpu_us_per_request", GO[:count], RUST[:count]).ratios["cpu_us_per_request"]
    assert ratio.value == pytest.approx(0.6, rel=0.01)
    assert (ratio.low, ratio.high, ratio.p, ratio.word) == (None, None, None, None)
    assert "an interval needs 3" in str(ratio.reason)


def void(value: float) -> Figure:
    return Figure(value=value, voided_by=["generator late"])


def test_a_void_figure_drops_its_block_out() -> None:
    second: Figures = [*RUST[:4], void(9000.0), void(9000.0)]
    document = document_of("p50_ms", GO, second)
    metric, ratio = document.services["rust"].metrics["p50_ms"], document.ratios["p50_ms"]
    assert metric.rounds == [*RUST[:4], None, None]
    assert "void in 2 of 6 rounds" in metric.marks
    assert (metric.voided_by, ratio.voided_by, ratio.blocks) == ([], [], 4)
    assert ratio.value == pytest.approx(0.6, rel=0.01)
    assert ratio.word is not None


def test_a_figure_void_in_over_a_third_of_the_blocks_is_void() -> None:
    second: Figures = [*RUST[:3], *map(void, RUST[3:])]
    document = document_of("p50_ms", GO, second)
    metric, ratio = document.services["rust"].metrics["p50_ms"], document.ratios["p50_ms"]
    assert metric.voided_by == ratio.voided_by == ["generator late"]
    assert metric.rounds == RUST
    assert metric.value == pytest.approx(math.exp(sum(map(math.log, RUST)) / 6))
    assert ratio.value == pytest.approx(0.6, rel=0.01)
    assert (ratio.p, ratio.p_holm, ratio.word) == (None, None, None)
    assert document.ratios["cpu_us_per_request"].voided_by == []


def test_a_ratio_is_void_where_its_two_figures_together_are() -> None:
    first: Figures = [void(GO[0]), void(GO[1]), *GO[2:]]
    second: Figures = [*RUST[:4], void(RUST[4]), RUST[5]]
    document = document_of("p50_ms", first, second)
    assert document.services["go"].metrics["p50_ms"].voided_by == []
    assert document.ratios["p50_ms"].voided_by == ["generator late"]


def test_a_figure_that_is_not_had_keeps_its_reason() -> None:
    none = [Figure(value=None, reason="not sampled here")] * 6
    document = document_of("rss_peak_bytes", GO, none)
    metric, ratio = (
        document.services["rust"].metrics["rss_peak_bytes"],
        document.ratios["rss_peak_bytes"],
    )
    assert (metric.value, metric.rounds, metric.reason) == (None, [None] * 6, "not sampled here")
    assert (ratio.value, ratio.blocks, ratio.reason) == (None, 0, "not sampled here")


def test_a_count_of_nothing_is_zero_and_has_no_ratio() -> None:
    document = document_of("grpc_calls_per_request", [0.0] * 6, [0.0] * 6)
    metric = document.services["go"].metrics["grpc_calls_per_request"]
    assert (metric.value, metric.low, metric.high) == (0.0, 0.0, 0.0)
    assert document.ratios["grpc_calls_per_request"].value is None
    assert document.ratios["grpc_calls_per_request"].reason


def test_an_indicative_percentile_gets_no_word() -> None:
    first = [Figure(value=value, marks=["indicative"]) for value in GO]
    ratio = document_of("p99_ms", first, RUST).ratios["p99_ms"]
    assert ratio.low is not None
    assert ratio.word is None
    assert "indicative" in ratio.marks


def test_a_throughput_that_the_rig_limited_gets_no_word() -> None:
    second = [Figure(value=value, marks=["at least"]) for value in RUST]
    ratio = document_of("throughput_rps", GO, second).ratios["throughput_rps"]
    assert ratio.word is None
    assert "rig-limited" in ratio.marks


def test_a_block_that_was_run_again_counts_no_more() -> None:
    again = rounds_with("cpu_us_per_request", [*GO, 404.0], [*RUST, 243.0])
    order = blocks(7)
    order[6] = replace(order[6], rerun_of=2)
    document = run_document(again, order, facts())
    metric = document.services["go"].metrics["cpu_us_per_request"]
    assert metric.rounds == [GO[0], None, *GO[2:], 404.0]
    assert document.ratios["cpu_us_per_request"].blocks == 6
    assert len(document.blocks) == 7


def test_a_rerun_of_a_rerun_replaces_both() -> None:
    again = rounds_with("cpu_us_per_request", [*GO, 404.0, 405.0], [*RUST, 243.0, 244.0])
    order = blocks(8)
    order[6] = replace(order[6], rerun_of=2)
    order[7] = replace(order[7], rerun_of=2)
    document = run_document(again, order, facts())
    metric = document.services["go"].metrics["cpu_us_per_request"]
    assert metric.rounds == [GO[0], None, *GO[2:], None, 405.0]
    assert document.ratios["cpu_us_per_request"].blocks == 6


def test_a_rerun_that_was_interrupted_replaces_nothing() -> None:
    again = rounds_with("cpu_us_per_request", [*GO, 404.0], [*RUST, 243.0])[:-1]
    order = blocks(7)
    order[6] = replace(order[6], rerun_of=2)
    metric = run_document(again, order, facts()).ratios["cpu_us_per_request"]
    assert metric.blocks == 6


def test_a_round_of_no_block_is_refused() -> None:
    with pytest.raises(ValueError, match="block 2 of 1"):
        run_document([round_record(2, "go")], blocks(1), facts())


def test_an_interrupted_run_has_a_document() -> None:
    document = run_document([round_record(1, "go")], blocks(1), facts(finished=False))
    assert document.services["go"].metrics["cpu_us_per_request"].value == pytest.approx(400)
    assert document.services["rust"].metrics["cpu_us_per_request"].reason == "no round was finished"
    assert document.ratios["cpu_us_per_request"].value is None
    assert not document.finished


def changed_rounds(change: Any) -> list[RoundRecord]:
    """Six blocks in which rust needs less CPU and its fixed phase is changed."""
    return [
        replace(r, phases=[change(r.phases[0])]) if r.label == "rust" else r
        for r in rounds_with("cpu_us_per_request", GO, RUST)
    ]


def _with_audit(phase: PhaseRecord, **changes: Any) -> PhaseRecord:
    assert phase.audit is not None
    return replace(phase, audit=replace(phase.audit, **changes))


def _with_answers(phase: PhaseRecord, **changes: Any) -> PhaseRecord:
    return replace(phase, requests={NAME: replace(phase.requests[NAME], **changes)})


ANSWERS = Answers(answered=1, response_bytes=1, body_hash_sum=1)
DIFFERENT = {
    "a statement more": (
        lambda p: _with_audit(p, statements={**STATEMENTS, "more": REQUESTS}),
        UNEQUAL_WORK,
    ),
    "another statement instead": (
        lambda p: _with_audit(p, statements={"select invoice": REQUESTS, "other": REQUESTS}),
        UNEQUAL_WORK,
    ),
    "a request of another kind": (
        lambda p: replace(p, requests={**p.requests, "GET /": ANSWERS}),
        UNEQUAL_BODIES,
    ),
    "half of the calls": (lambda p: _with_audit(p, stub_calls=REQUESTS // 2), UNEQUAL_WORK),
    "two lines a request": (lambda p: _with_audit(p, log_lines=2 * REQUESTS), UNEQUAL_WORK),
    "longer answers": (
        lambda p: _with_answers(p, response_bytes=p.response_bytes + 1),
        UNEQUAL_BODIES,
    ),
    "other answers": (lambda p: _with_answers(p, body_hash_sum=1), UNEQUAL_BODIES),
    "errors": (
        lambda p: replace(p, statuses={"200": 14_700, "503": 300}),
        UNEQUAL_BODIES,
    ),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_unequal_work_withholds_the_words_and_voids_nothing(difference: str) -> None:
    change, rule = DIFFERENT[difference]
    document = run_document(changed_rounds(change), blocks(6), facts())
    assert {finding.rule for finding in document.validity} == {rule}
    assert {finding.effect for finding in document.validity} == {"warns"}
    ratio = document.ratios["cpu_us_per_request"]
    assert ratio.p_holm is not None
    assert ratio.p_holm < 0.05
    assert (ratio.word, ratio.voided_by) == (None, [])
    assert "unequal work" in ratio.marks
    allowed = run_document(changed_rounds(change), blocks(6), facts(allow_unequal_work=True))
    assert allowed.ratios["cpu_us_per_request"].word is not None
    assert "unequal work" in allowed.ratios["cpu_us_per_request"].marks


def test_other_requests_may_have_other_answers() -> None:
    """Not as many were answered, so they are not the same ones."""

    def fewer(p: PhaseRecord) -> PhaseRecord:
        counts = replace(p.counts, answered=REQUESTS - 1)
        more = _with_answers(p, response_bytes=p.response_bytes + 99, body_hash_sum=1)
        return replace(more, counts=counts)

    assert run_document(changed_rounds(fewer), blocks(6), facts()).validity == []


def test_a_healthy_run_has_no_findings() -> None:
    document = document_of("cpu_us_per_request")
    assert document.validity == []
    assert stands(document)


def test_blocks_that_disagree_are_named_and_kept() -> None:
    wild = [200.0, 300.0, 220.0, 290.0, 240.0, 260.0]
    document = document_of("cpu_us_per_request", GO, wild)
    (finding,) = document.validity
    assert (finding.rule, finding.effect) == ("blocks disagree", "warns")
    assert finding.metrics == ["cpu_us_per_request"]
    assert "would not be seen" in finding.advice
    assert document.ratios["cpu_us_per_request"].blocks == 6


def test_the_findings_of_run_and_rounds_are_all_there() -> None:
    def finding(rule: str) -> Finding:
        return Finding(
            rule=rule, effect="warns", where="", found="", allowed="", advice="", touches=[]
        )

    rounds = rounds_with("cpu_us_per_request", GO, RUST)
    rounds[3] = replace(rounds[3], findings=[finding("steal")], died="signal 9")
    document = run_document(rounds, blocks(6), facts(findings=[finding("clock")]))
    assert [one.rule for one in document.validity] == ["clock", "steal"]
    assert document.services["rust"].died == ["round 4: signal 9"]
    assert document.services["go"].died == []


def test_a_run_stands_while_a_figure_of_the_family_does() -> None:
    def struck(names: Sequence[str]) -> RunDocument:
        rounds = [
            replace(
                r,
                figures={
                    name: replace(f, voided_by=["steal"]) if name in names else f
                    for name, f in r.figures.items()
                },
            )
            for r in rounds_with("cpu_us_per_request", GO, RUST)
        ]
        return run_document(rounds, blocks(6), facts())

    assert stands(struck(FAMILY[:-1]))
    assert not stands(struck(FAMILY))


def null_document(second: Sequence[float]) -> RunDocument:
    relabel = {"go": "go-a", "rust": "go-b"}
    rounds = [
        replace(r, label=relabel[r.label], service="go")
        for r in rounds_with("cpu_us_per_request", GO, second)
    ]
    order = [replace(block, order=["go-a", "go-b"]) for block in blocks(6)]
    return run_document(rounds, order, facts(labels=("go-a", "go-b"), null="go"))


def test_a_null_test_counts_what_holm_rejected() -> None:
    noisy = [430.0, 380.0, 420.0, 370.0, 440.0, 390.0]
    quiet, loud = null_document(noisy), null_document(RUST)
    assert quiet.validity == []
    text = null_verdict(quiet.ratios, quiet.family)
    assert text.startswith("null test: Holm rejected 0 of the 6 figures of the family; ")
    visible = quiet.ratios["cpu_us_per_request"].smallest_visible
    assert visible is not None
    assert f"cpu_us_per_request {math.ceil(100 * (visible - 1))} %" in text
    (finding,) = loud.validity
    assert (finding.rule, finding.metrics) == ("null test", ["cpu_us_per_request"])
    assert "rejected 1 of the 6 figures" in finding.found


def test_swapping_the_labels_inverts_every_ratio() -> None:
    random = np.random.default_rng(23)
    rounds = []
    for r in rounds_with("cpu_us_per_request", GO, RUST):
        figures = {name: Figure(value=float(np.exp(random.normal(0, 0.1)))) for name in METRICS}
        rounds.append(replace(r, figures=figures))
    there = run_document(rounds, blocks(6), facts())
    back = run_document(rounds, blocks(6), facts(labels=("rust", "go")))
    for name, ratio in there.ratios.items():
        other = back.ratios[name]
        assert ratio.value is not None
        assert ratio.low is not None
        assert ratio.high is not None
        assert other.value == pytest.approx(1 / ratio.value, rel=1e-12)
        assert other.low == pytest.approx(1 / ratio.high, rel=1e-12)
        assert other.high == pytest.approx(1 / ratio.low, rel=1e-12)
        assert (other.p, other.p_holm) == (ratio.p, ratio.p_holm)
        assert (other.of, other.over) == (ratio.over, ratio.of)
        assert other.smallest_visible == pytest.approx(ratio.smallest_visible, rel=1e-12)


def test_a_known_distribution_travels_from_samples_to_the_document() -> None:
    """Two workers' histograms, merged; 1 to 100,000 us, in rounds shifted by a tenth."""
    ranks = np.arange(1, 100_001)
    rounds = []
    for block in range(1, 4):
        for label, scale in (("go", 1.0), ("rust", 0.5)):
            values = np.ceil(ranks * scale * (1 + (block - 2) / 10))
            halves = [histogram(values[::2]), histogram(values[1::2])]
            subject = Measured(phase(), histograms.merge(halves), histogram([60]))
            figures = round_figures({"fixed": subject}, shared=False)
            rounds.append(replace(round_record(block, label), figures=figures))
    document = msgspec.json.decode(
        msgspec.json.encode(run_document(rounds, blocks(3), facts())), type=RunDocument
    )
    mean = (0.9 * 1.0 * 1.1) ** (1 / 3)
    expected = {"p50_ms": 50, "p90_ms": 90, "p95_ms": 95, "p99_ms": 99, "p999_ms": 99.9}
    for name, at_ms in {**expected, "max_ms": 100}.items():
        first = document.services["go"].metrics[name]
        assert first.value == pytest.approx(mean * at_ms, rel=0.002), name
        assert first.rounds == pytest.approx([0.9 * at_ms, at_ms, 1.1 * at_ms], rel=0.002)
        assert first.samples == 300_000
        assert document.ratios[name].value == pytest.approx(0.5, rel=0.002)


@pytest.mark.parametrize(
    ("value", "text"), [(0.6234, "0.62"), (0.996, "0.996"), (1.0, "1"), (1.512, "1.51")]
)
def test_a_ratio_is_told_from_one(value: float, text: str) -> None:
    assert format_ratio(value) == text


@pytest.mark.parametrize(("ratio", "text"), [(1.1134, "12 %"), (1.0211, "2.2 %"), (2.5, "150 %")])
def test_what_cannot_be_seen_is_rounded_up(ratio: float, text: str) -> None:
    assert format_percent(ratio) == text
