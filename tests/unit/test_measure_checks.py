"""The language of --check: what it refuses, and its four outcomes."""

from typing import Any

import msgspec
import pytest

from bakeoff.errors import UsageError
from bakeoff.measure.checks import RATIO, evaluate, evaluate_all, parse_check
from bakeoff.measure.document import MetricDocument, RatioDocument, RunDocument, ServiceDocument
from bakeoff.measure.marks import AT_LEAST, RIG_LIMITED, UNEQUAL_WORK
from bakeoff.measure.metrics import METRICS
from bakeoff.measure.statistics import estimate

# Their 95 % interval is 0.92 to 1.08 of the mean, their one-sided bounds 0.94 and 1.06.
LOGS = [0.1, -0.1, 0.05, -0.05, 0.06, -0.06]


def metric(value: float | None, **changes: Any) -> MetricDocument:
    found = estimate(LOGS)
    assert found.low is not None
    assert found.high is not None
    made = MetricDocument(
        value=value,
        low=None if value is None else value * found.low,
        high=None if value is None else value * found.high,
        unit="ms",
        rounds=[value] * 6,
        samples=60_000,
        rate_rps=1000.0,
        marks=[],
        voided_by=[],
        reason=None,
    )
    return msgspec.structs.replace(made, **changes)


def ratio(value: float, **changes: Any) -> RatioDocument:
    found = estimate(LOGS)
    assert found.low is not None
    assert found.high is not None
    made = RatioDocument(
        of="rust",
        over="go",
        value=value,
        low=value * found.low,
        high=value * found.high,
        blocks=6,
        p=0.5,
        p_holm=None,
        smallest_visible=1.1,
        word=None,
        marks=[],
        voided_by=[],
    )
    return msgspec.structs.replace(made, **changes)


def document(found: MetricDocument | RatioDocument) -> RunDocument:
    """A run in which only go's p99, or only the ratio of p99, was measured."""
    metrics = {"p99_ms": found} if isinstance(found, MetricDocument) else {}
    ratios = {"p99_ms": found} if isinstance(found, RatioDocument) else {}
    return RunDocument(
        schema="bakeoff.run/1",
        created_at="",
        finished=True,
        environment={},
        experiment={},
        reference_rate_rps=None,
        rates_rps=[],
        connections={},
        seed=1,
        blocks=[],
        floor=None,
        post_says={},
        services={"go": ServiceDocument(title="Go", metrics=metrics)},
        ratios=ratios,
        validity=[],
        family=[],
    )


@pytest.mark.parametrize(
    ("text", "subject", "name", "operator", "limit"),
    [
        ("ratio.cpu_us_per_request <= 1.2", RATIO, "cpu_us_per_request", "<=", 1.2),
        ("rust.p99_ms < 25", "rust", "p99_ms", "<", 25),
        ("go.rss_peak_bytes<=200e6", "go", "rss_peak_bytes", "<=", 200e6),
        ("  go-a.throughput_rps  >  .5 ", "go-a", "throughput_rps", ">", 0.5),
        ("go_2.capacity_rps>=1_000", "go_2", "capacity_rps", ">=", 1000),
    ],
)
def test_an_expression_is_read(
    text: str, subject: str, name: str, operator: str, limit: float
) -> None:
    check = parse_check(text)
    assert (check.subject, check.metric, check.operator, check.limit) == (
        subject,
        name,
        operator,
        limit,
    )
    assert check.text == text.strip()


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_checked(name: str) -> None:
    assert parse_check(f"ratio.{name} < 1").metric == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no check: write 'ratio.cpu"),
        ("p99_ms < 25", "is no check"),
        ("go.p99_ms", "is no check"),
        ("go.p99_ms < 25 and more", "is no check"),
        ("go.p99_ms < 25\n< 3", "is no check"),
        ("go.p99 < 25", "unknown metric 'p99'; did you mean p99_ms?"),
        ("go.zzz < 25", "unknown metric 'zzz'; known are: offered_rps"),
        ("go.p99_ms == 25", "'==' will not do"),
        ("go.p99_ms != 25", "'!=' will not do"),
        ("go.p99_ms < 25ms", "'25ms' is no number; write it without a unit"),
        ("go.p99_ms < nan", "'nan' is no number"),
        ("go.p99_ms < inf", "'inf' is no number"),
    ],
)
def test_what_is_no_check_is_refused_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_check(text)
    assert message in str(refused.value)
    assert "--check" in str(refused.value)


def test_a_service_that_is_not_compared_is_refused() -> None:
    assert parse_check("ratio.p99_ms < 2", ("go", "rust")).subject == RATIO
    with pytest.raises(UsageError, match=r"unknown service 'zig'; this run has ratio, go, rust"):
        parse_check("zig.p99_ms < 2", ("go", "rust"))


@pytest.mark.parametrize(
    ("value", "operator", "outcome"),
    [
        (23.0, "<", "passed"),
        (24.0, "<", "inconclusive"),
        (26.0, "<", "inconclusive"),
        (27.0, "<", "failed"),
        (27.0, ">", "passed"),
        (26.0, ">", "inconclusive"),
        (24.0, ">=", "inconclusive"),
        (23.0, ">=", "failed"),
    ],
)
def test_the_bound_decides(value: float, operator: str, outcome: str) -> None:
    for text, found in (("go.p99_ms", metric(value)), ("ratio.p99_ms", ratio(value))):
        result = evaluate(parse_check(f"{text} {operator} 25"), document(found))
        assert result.outcome == outcome, text
        assert result.value == value
        assert (result.bound is None) is (outcome == "inconclusive")


def test_the_bound_is_one_sided() -> None:
    """It is the upper end of the 90 % interval: inside the 95 % one."""
    ninety, two_sided = estimate(LOGS, level=0.90), estimate(LOGS)
    assert ninety.high is not None
    assert two_sided.high is not None
    passing = evaluate(parse_check("go.p99_ms < 25"), document(metric(25 / ninety.high * 0.999)))
    assert passing.outcome == "passed"
    assert passing.bound == pytest.approx(25 * 0.999)
    assert passing.value is not None
    assert passing.value * two_sided.high > 25
    over = evaluate(parse_check("go.p99_ms < 25"), document(metric(25 / ninety.high * 1.001)))
    assert over.outcome == "inconclusive"


def test_a_figure_without_any_spread_is_compared_as_it_is() -> None:
    flat = document(metric(25.0, low=25.0, high=25.0))
    assert evaluate(parse_check("go.p99_ms <= 25"), flat).outcome == "passed"
    assert evaluate(parse_check("go.p99_ms < 25"), flat).outcome == "failed"


@pytest.mark.parametrize(
    ("text", "found", "why"),
    [
        ("rust.p99_ms < 25", metric(1.0), "the run has no rust.p99_ms"),
        ("ratio.p99_ms < 25", metric(1.0), "the run has no ratio.p99_ms"),
        ("go.p99_ms < 25", metric(1.0, voided_by=["steal"]), "void: steal"),
        ("ratio.p99_ms < 25", ratio(1.0, voided_by=["steal"]), "void: steal"),
        ("go.p99_ms < 25", metric(None, reason="not sampled here"), "not sampled here"),
    ],
)
def test_without_data_no_check_passes(
    text: str, found: MetricDocument | RatioDocument, why: str
) -> None:
    result = evaluate(parse_check(text), document(found))
    assert (result.outcome, result.found, result.bound) == ("no data", why, None)


@pytest.mark.parametrize("mark", [UNEQUAL_WORK, RIG_LIMITED])
def test_a_ratio_that_may_not_be_judged_passes_no_check(mark: str) -> None:
    limited = document(ratio(1.0, marks=[mark]))
    for text in ("ratio.p99_ms < 25", "ratio.p99_ms > 25"):
        result = evaluate(parse_check(text), limited)
        assert result.outcome == "no data"
        assert mark in result.found
    assert evaluate(parse_check("ratio.p99_ms < 25"), document(ratio(1.0))).outcome == "passed"


def test_unequal_work_that_was_allowed_is_judged() -> None:
    allowed = msgspec.structs.replace(
        document(ratio(1.0, marks=[UNEQUAL_WORK])), experiment={"allow_unequal_work": True}
    )
    assert evaluate(parse_check("ratio.p99_ms < 25"), allowed).outcome == "passed"


@pytest.mark.parametrize(
    ("text", "value", "outcome"),
    [
        ("go.p99_ms < 25", 1.0, "no data"),
        ("go.p99_ms > 25", 1.0, "no data"),
        ("go.p99_ms < 25", 99.0, "failed"),
        ("go.p99_ms > 25", 99.0, "passed"),
    ],
)
def test_at_least_answers_only_what_a_higher_figure_would_answer_too(
    text: str, value: float, outcome: str
) -> None:
    assert evaluate(parse_check(text), document(metric(value, marks=[AT_LEAST]))).outcome == outcome


def test_too_few_rounds_are_inconclusive() -> None:
    one = metric(1.0, low=None, high=None, rounds=[1.0])
    result = evaluate(parse_check("go.p99_ms < 25"), document(one))
    assert (result.outcome, result.found) == (
        "inconclusive",
        "1.00 ms, but a bound needs 3 rounds",
    )


def test_the_result_speaks_for_itself() -> None:
    marked = document(metric(20.0, marks=["shared machine"]))
    result = evaluate(parse_check("go.p99_ms < 25"), marked)
    assert result.found == "20.0 ms, 95 % bound 21.4 ms (shared machine)"
    assert evaluate(parse_check("ratio.p99_ms < 25"), document(ratio(0.5))).found == (
        "0.500, 95 % bound 0.534"
    )


def test_results_stand_in_the_document_in_their_order() -> None:
    checks = [parse_check("go.p99_ms < 25"), parse_check("go.p50_ms < 25")]
    held = evaluate_all(checks, document(metric(20.0)))
    assert [(check["text"], check["outcome"]) for check in held.checks] == [
        ("go.p99_ms < 25", "passed"),
        ("go.p50_ms < 25", "no data"),
    ]
    assert set(held.checks[0]) == {"text", "outcome", "found", "value", "bound"}
