"""The ledger of charges: one execution a key, whoever races."""

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bakeoff.errors import UsageError
from stub_payment.ledger import Charge, Ledger, Outcome, create_ledger

FIRST = Charge("att-1", "inv-1", "pay_1", 1200, "EUR")
KEYS = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    create_ledger(path)
    return path


def charge_all(path: Path, writer: int) -> list[str]:
    """Charges every key as this writer; returns who charged each one first."""
    with Ledger(path) as ledger:
        return [
            ledger.charge(
                Charge(f"att-{key}", f"by-{writer}", f"pay_{key}", 1, "EUR")
            ).charge.invoice_id
            for key in range(KEYS)
        ]


def test_a_key_is_charged_once_and_repeats_its_first_charge(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.charge(FIRST) == Outcome(FIRST)
        assert ledger.charge(FIRST) == Outcome(FIRST)
        assert ledger.charge(replace(FIRST, amount_cents=1)) == Outcome(FIRST)
        assert ledger.count() == 1


def test_a_key_keeps_its_first_outcome(path: Path) -> None:
    second = Charge("att-2", "inv-1", "pay_2", 1200, "EUR")
    with Ledger(path) as ledger:
        assert ledger.decline(FIRST) == Outcome(FIRST, declined=True)
        assert ledger.charge(FIRST) == Outcome(FIRST, declined=True)
        assert ledger.decline(replace(FIRST, amount_cents=1)) == Outcome(FIRST, declined=True)
        assert ledger.charge(second) == Outcome(second)
        assert ledger.decline(second) == Outcome(second)
        assert ledger.count() == 1


def test_declines_survive_a_restart(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.decline(FIRST)
    create_ledger(path)
    with Ledger(path) as ledger:
        assert ledger.charge(FIRST) == Outcome(FIRST, declined=True)
        assert ledger.count() == 0


def test_a_ledger_from_before_declines_gets_their_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("DROP TABLE declines")
    finally:
        connection.close()
    create_ledger(path)
    with Ledger(path) as ledger:
        assert ledger.decline(FIRST).declined


def test_the_table_has_a_row_for_each_charge(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.charge(FIRST)
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT idempotency_key, invoice_id, payment_id, amount_cents, currency FROM charges"
        ).fetchall()
    finally:
        connection.close()
    assert rows == [("att-1", "inv-1", "pay_1", 1200, "EUR")]


def test_charges_survive_a_restart(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.charge(FIRST)
    create_ledger(path)
    with Ledger(path) as ledger:
        assert ledger.count() == 1
        assert ledger.charge(replace(FIRST, invoice_id="inv-2")) == Outcome(FIRST)


def test_threads_that_race_agree_on_who_was_first(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(charge_all, path), range(8)))
    assert_one_winner_a_key(path, answers)


def decline_odd_writers(path: Path, writer: int) -> list[Outcome]:
    """Charges or declines every key, by the writer's number; returns their first outcomes."""
    with Ledger(path) as ledger:
        settle = ledger.decline if writer % 2 else ledger.charge
        return [settle(Charge(f"att-{key}", "inv", f"pay_{key}", 1, "EUR")) for key in range(KEYS)]


def test_a_key_is_never_both_charged_and_declined(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(partial(decline_odd_writers, path), range(8)))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    with Ledger(path) as ledger:
        assert ledger.count() == sum(not outcome.declined for outcome in outcomes[0])


def test_processes_that_race_agree_on_who_was_first(path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        answers = list(pool.map(partial(charge_all, path), range(6)))
    assert_one_winner_a_key(path, answers)


def assert_one_winner_a_key(path: Path, answers: list[list[str]]) -> None:
    assert all(answer == answers[0] for answer in answers)
    with Ledger(path) as ledger:
        assert ledger.count() == KEYS


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and long enough to be looked at as one" * 100)
    with pytest.raises(UsageError, match=r"--ledger .*notes\.txt cannot be the ledger"):
        create_ledger(path)


def test_another_table_of_that_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE charges (id INTEGER)")
    connection.close()
    with pytest.raises(UsageError, match="no such column: idempotency_key"):
        create_ledger(path)


def test_a_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="existing, writable folder"):
        create_ledger(tmp_path / "missing" / "ledger.sqlite")
