"""The ledger of charges: one execution a key, whoever races."""

import multiprocessing
import sqlite3
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bakeoff.errors import UsageError
from stub_payment.ledger import Charge, Ledger, create_ledger

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
            ledger.charge(Charge(f"att-{key}", f"by-{writer}", f"pay_{key}", 1, "EUR")).invoice_id
            for key in range(KEYS)
        ]


def test_a_key_is_charged_once_and_repeats_its_first_charge(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.charge(FIRST) == FIRST
        assert ledger.charge(FIRST) == FIRST
        assert ledger.charge(replace(FIRST, amount_cents=1)) == FIRST
        assert ledger.count() == 1


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
        assert ledger.charge(replace(FIRST, invoice_id="inv-2")) == FIRST


def test_threads_that_race_agree_on_who_was_first(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(charge_all, path), range(8)))
    assert_one_winner_a_key(path, answers)


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
