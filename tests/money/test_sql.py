"""The contract's SQL under a storm of callers, lost answers and killed sessions: nothing is wrong
afterwards, and with any of the protocol's rules left out something is."""

import time
from collections import Counter
from uuid import uuid4

import pytest

from tests.contract.rig import Bench, scaled
from tests.money.clients import seeded
from tests.money.history import Rule, broken, findings
from tests.money.payer import (
    ClientsKey,
    FailsOnError,
    KeyOfEachTry,
    LooksFirst,
    NoFingerprint,
    OneStatement,
    OneTransaction,
    Payer,
)
from tests.money.statements import statements
from tests.money.storm import MakePayer, Storm

INVOICES = 1050
# A mutant that is not caught at once gets more storms.
STORMS, INVOICES_OF_MUTANT = 30, 8
# The share of charges that come after their caller gave up.
LATE, LATE_OF_MUTANT = 0.08, 0.4


@pytest.fixture(scope="module")
def database_url(stand: Bench) -> str:
    """A database without a service."""
    return stand.new_database(f"storm_{uuid4().hex}")


def test_the_statements_of_the_page_are_found() -> None:
    assert {"invoice_lock", "attempt_sweep", "key_finish"} <= statements().keys()


def test_nothing_is_wrong_after_a_storm(database_url: str) -> None:
    began_s, chance = time.monotonic(), seeded("SQL storm")
    outcome = Storm(database_url, scaled(INVOICES), Payer, chance, LATE).run()
    found = outcome.history
    wrong = findings(found)
    said = Counter(call.status for call in found.calls)
    print(
        f"SQL storm: {len(found.invoices)} invoices, {len(found.calls)} requests {dict(said)},"
        f" {outcome.provider_calls} calls of the provider, {len(found.charges)} charges,"
        f" {len(found.declined)} declines, {dict(outcome.events)}, {len(wrong)} findings,"
        f" {time.monotonic() - began_s:.1f} s"
    )
    assert not wrong, wrong[:5]
    assert outcome.events["kills"] > 0
    # One order of locks, so no deadlock; the invoice's lock, so no second live attempt.
    assert outcome.events["deadlocks"] == outcome.events["unique violations"] == 0
    assert {None, 200, 402, 409, 422, 504} <= said.keys()


@pytest.mark.parametrize(
    ("mutant", "rules"),
    [
        (ClientsKey, {Rule.TWICE}),
        (KeyOfEachTry, {Rule.TWICE}),
        (FailsOnError, {Rule.LOST, Rule.FAULT_DECLINED}),
        (LooksFirst, {Rule.LOST, Rule.FAULT_DECLINED}),
        (OneTransaction, {Rule.TWICE}),
        (OneStatement, {Rule.BROKEN}),
        (NoFingerprint, {Rule.OTHER_REQUEST}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_rule_is_needed(database_url: str, mutant: MakePayer, rules: set[Rule]) -> None:
    chance, found = seeded("mutant"), set[Rule]()
    for number in range(STORMS):
        storm = Storm(database_url, INVOICES_OF_MUTANT, mutant, chance, LATE_OF_MUTANT)
        found |= broken(storm.run().history)
        if found >= rules:
            print(f"caught by storm {number + 1}: {sorted(rule.name for rule in found)}")
            return
    pytest.fail(f"only {found} was found")
