"""From timed runs to footprint.json: medians, ranges, paired ratios, and why there is none."""

import statistics
from pathlib import Path

import msgspec
import pytest

from bakeoff.measure.footprint import FootprintDocument, LineCount
from bakeoff.measure.footprintsummary import (
    NOT_REACHED,
    SKIPPED,
    footprint_document,
    lines_total,
)
from bakeoff.measure.operations import OPERATIONS
from bakeoff.measure.statistics import estimate, log_ratios
from bakeoff.store import footprint_schema
from tests.unit.fake_footprint import FACTORS, fake_footprint

SCHEMA = Path(__file__).parents[2] / "docs" / "footprint.schema.json"


def test_times_are_median_range_and_what_was_used() -> None:
    document = footprint_document(fake_footprint(), finished=True)
    found = document.services["rust"].times["cold_test"]
    assert len(found.runs_s) == 3
    assert found.median_s == statistics.median(found.runs_s)
    assert (found.low_s, found.high_s) == (min(found.runs_s), max(found.runs_s))
    assert len(set(found.runs_s)) == 3
    assert found.cpu_median_s == 45.0
    assert found.peak_rss_bytes == 500_000_003
    assert found.command == ["rust", "test"]


def test_ratios_pair_the_repetitions() -> None:
    document = footprint_document(fake_footprint(), finished=True)
    for name, operation in OPERATIONS.items():
        ratio = document.ratios[name]
        first, second = (document.services[one].times[name].runs_s for one in ("go", "rust"))
        expected = estimate(log_ratios(first, second))
        assert (ratio.of, ratio.over, ratio.pairs) == ("rust", "go", len(first))
        assert (ratio.value, ratio.low, ratio.high) == (expected.value, expected.low, expected.high)
        assert ratio.value == pytest.approx(FACTORS[operation.work], rel=0.03)
        once = not operation.repeated
        assert (ratio.low is None) == once
        assert (ratio.reason is not None) == once


def test_swapping_the_services_inverts_every_ratio() -> None:
    facts = fake_footprint()
    there = footprint_document(facts, finished=True).ratios
    facts.services = dict(reversed(facts.services.items()))
    back = footprint_document(facts, finished=True).ratios
    assert there.keys() == back.keys()
    for name, ratio in there.items():
        if ratio.value is not None:
            assert ratio.value * (back[name].value or 0) == pytest.approx(1, rel=1e-12), name
        if ratio.low is not None:
            assert ratio.low * (back[name].high or 0) == pytest.approx(1, rel=1e-12), name


def test_lines_add_up_and_have_a_plain_ratio() -> None:
    document = footprint_document(fake_footprint(), finished=True)
    go, rust = (document.services[one].lines for one in ("go", "rust"))
    assert (lines_total(go), lines_total(rust)) == (4300, 4730)
    total = document.ratios["lines_total"]
    assert (total.value, total.low, total.high) == (4730 / 4300, None, None)
    assert document.ratios["image_bytes"].reason == "no image was built"
    one = LineCount(files=1, code=2, comments=3, blanks=4)
    assert one + one == LineCount(files=2, code=4, comments=6, blanks=8)


def test_what_is_not_there_says_why() -> None:
    facts = fake_footprint(skipped=True)
    facts.runs = [run for run in facts.runs if run.operation != "hub_test"]
    facts.services["go"].lacking = {"leaf_check": "no command for a check in service.toml"}
    facts.runs = [run for run in facts.runs if (run.operation, run.service) != ("leaf_check", "go")]
    document = footprint_document(facts, finished=False)
    assert document.services["go"].times["cold_test"].reason == SKIPPED
    assert document.services["rust"].times["hub_test"].reason == NOT_REACHED
    assert document.ratios["hub_test"].reason == NOT_REACHED
    ratio = document.ratios["leaf_check"]
    assert (ratio.value, ratio.reason) == (None, "no command for a check in service.toml")


def test_an_interrupted_pair_is_none() -> None:
    facts = fake_footprint()
    last = max(index for index, run in enumerate(facts.runs) if run.operation == "hub_test")
    del facts.runs[last]
    document = footprint_document(facts, finished=False)
    assert document.ratios["hub_test"].pairs == 2
    assert document.ratios["hub_test"].low is None


@pytest.mark.parametrize("labels", [("go",), ("go", "rust", "third")])
def test_ratios_are_of_two(labels: tuple[str, ...]) -> None:
    document = footprint_document(fake_footprint(labels), finished=True)
    assert (list(document.services), document.ratios) == (list(labels), {})


def test_the_document_comes_back_as_it_was() -> None:
    document = footprint_document(fake_footprint(), finished=True)
    encoded = msgspec.json.encode(document)
    assert msgspec.json.decode(encoded, type=FootprintDocument) == document


def test_the_published_schema_is_that_of_the_document(update_golden: bool) -> None:
    if update_golden:
        SCHEMA.write_bytes(footprint_schema())
    assert SCHEMA.read_bytes() == footprint_schema()
