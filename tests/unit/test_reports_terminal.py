"""The summary on the terminal: everything that qualifies a figure, in 80 columns of ASCII."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reports.terminal import summary, summary_lines
from tests.unit import fake_faults, golden
from tests.unit.fake_run import FakeRun, fake_run

FOLDER = Path("results/latest")


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("finished", fake_run),
        ("one_round", fake_faults.one_round),
        ("no_round", fake_faults.no_round),
        ("all_voided", fake_faults.all_voided),
        ("second_without_figures", fake_faults.second_without_figures),
        ("hostile", fake_faults.hostile),
        ("null_test", fake_faults.null_test),
    ],
)
def test_the_summary_is_as_it_was_looked_over(
    name: str, make: Callable[[], FakeRun], update_golden: bool
) -> None:
    document = make().document
    lines = summary_lines(document, FOLDER)
    assert [line for line in lines if len(line) > 80] == []
    assert all(character.isprintable() and character.isascii() for character in "".join(lines))
    assert summary(document, FOLDER).plain == "\n".join(lines)
    golden.check(f"summary_{name}.txt", "\n".join(lines) + "\n", update_golden)


def test_a_voided_figure_is_marked_and_enters_no_verdict() -> None:
    text = "\n".join(summary_lines(fake_faults.all_voided().document, FOLDER))
    assert "x1.92 ms" in text
    assert "voided: samples lost" in text
    assert "is lower" not in text


def test_two_blocks_have_neither_interval_nor_verdict() -> None:
    text = "\n".join(summary_lines(fake_faults.few_blocks(2), FOLDER))
    assert "is lower" not in text
    assert "no verdict" in text
    assert "[0." not in text


def test_a_null_test_says_what_this_machine_can_see() -> None:
    text = " ".join(" ".join(summary_lines(fake_faults.null_test().document, FOLDER)).split())
    assert "Null test" in text
    assert "smallest visible differences" in text
