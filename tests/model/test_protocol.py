"""The protocol holds in every state that can be reached, and each of its rules is needed."""

import os

import pytest

from tests.model.protocol import Caller, Mutant, Protocol
from tests.model.search import search

SCALE = float(os.environ.get("BAKEOFF_SCALE", "0.05"))
# Sends and crashes: 5 and 2 in a full run.
SIZE = (5, 2) if SCALE >= 1 else (3, 1)
SAME_KEY = (Caller("A", "K1", "f"), Caller("B", "K1", "f"))
OTHER_KEY = (Caller("A", "K1", "f"), Caller("B", "K2", "f"))
OTHER_BODY = (Caller("A", "K1", "f"), Caller("B", "K1", "g"))
PAIRS = {"same key": SAME_KEY, "other key": OTHER_KEY, "other body": OTHER_BODY}


@pytest.mark.parametrize("callers", PAIRS.values(), ids=PAIRS)
@pytest.mark.timeout(3600)
def test_it_holds_in_every_state(callers: tuple[Caller, ...]) -> None:
    sends, crashes = SIZE
    found = search(Protocol(callers, max_sends=sends, max_crashes=crashes))
    assert found.wrong is None, found
    assert found.states > 1000  # it went somewhere


@pytest.mark.parametrize(
    ("mutant", "callers", "wrong"),
    [
        (Mutant.CLIENT_KEY, OTHER_KEY, "charged twice"),
        (Mutant.LOOKS_FIRST, SAME_KEY, "a lost charge"),
        (Mutant.ONE_TRANSACTION, SAME_KEY, "a lost charge"),
        (Mutant.FAIL_ON_ERROR, SAME_KEY, "a lost charge"),
        (Mutant.NO_FINGERPRINT, OTHER_BODY, "the answer to another request"),
        (Mutant.NO_INVOICE_LOOK, OTHER_KEY, "charged twice"),
    ],
    ids=lambda value: value.name if isinstance(value, Mutant) else None,
)
def test_each_rule_is_needed(mutant: Mutant, callers: tuple[Caller, ...], wrong: str) -> None:
    found = search(Protocol(callers, mutant, max_sends=3, max_crashes=1))
    assert found.wrong == wrong, found
    assert found.way
