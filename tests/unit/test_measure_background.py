"""What is a request's work, and what a service's own: by the texts that the contract fixes."""

import re
from pathlib import Path

from bakeoff.measure.background import BACKGROUND, split

CONTRACT = Path(__file__).parents[2] / "services" / "contract" / "README.md"


def _statements() -> dict[str, str]:
    text = CONTRACT.read_text(encoding="utf-8")
    return dict(re.findall(r"^-- (\w+)\n(.+)$", text, re.MULTILINE))


def _counted(text: str) -> str:
    """As pg_stat_statements shows it: a parameter for each constant, from the last number on."""
    last = max([0, *map(int, re.findall(r"\$(\d+)", text))])
    numbers = iter(range(last + 1, 1000))
    return re.sub(r"'[^']*'|(?<![\w$])\d+", lambda _: f"${next(numbers)}", text)


def test_the_texts_are_the_contract_s() -> None:
    named = _statements()
    assert (named["attempt_sweep"], named["key_expire"]) == BACKGROUND


def test_the_sweeper_s_statements_are_no_request_s() -> None:
    for text in (*BACKGROUND, *map(_counted, BACKGROUND)):
        assert split({text: 3}) == ({}, {text: 3})


def test_every_other_statement_of_the_contract_is_a_request_s() -> None:
    others = {text for text in _statements().values() if text not in BACKGROUND}
    assert len(others) > 15
    for text in others:
        assert split({_counted(text): 1}) == ({_counted(text): 1}, {})


def test_more_than_the_sweep_is_a_request_s() -> None:
    text = BACKGROUND[0].replace("SKIP LOCKED", "NOWAIT")
    assert split({text: 2, "SELECT $1": 5}) == ({text: 2, "SELECT $1": 5}, {})


def test_the_case_of_begin_says_nothing() -> None:
    assert split({"begin": 2, "BEGIN": 3, "Commit": 1, "select $1": 1}) == (
        {"BEGIN": 5, "COMMIT": 1, "select $1": 1},
        {},
    )
