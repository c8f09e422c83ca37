"""Everything that a provider and the way to it can do wrong: nothing is charged twice or lost, and
no fault is taken for a decline."""

import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Literal
from uuid import uuid4

from bakeoff.rig.payment_stub import StubFault
from tests.contract.rig import scaled
from tests.money.books import REST_DEADLINE_S, closed, ledger
from tests.money.clients import OTHER_BODY, Clients, at_once, seeded
from tests.money.history import Call
from tests.money.link import Fate
from tests.money.shop import PAYMENT_TIMEOUT_MS, Shop

INVOICES = 100
UNAVAILABLE, INTERNAL = 14, 13
LATE_MS = PAYMENT_TIMEOUT_MS + 300
UNKNOWN = "payment_outcome_unknown"


# How many of the invoices the provider has charged when all are answered.
Charged = Literal["none", "some", "all", "any"]


@dataclass(frozen=True)
class Fault:
    """What is done wrong, how a request may be answered meanwhile (statuses), and what the provider
    has done by then."""

    name: str
    what: StubFault | Fate
    answers: tuple[int, ...]
    charged: Charged

    @property
    def declines(self) -> bool:
        """Whether it is a decline, and so the end of an attempt."""
        return self.answers == (402,)


def _instead(code: int) -> StubFault:
    return StubFault("status_code", code, method="CreatePayment")


def _afterwards(code: int) -> StubFault:
    return StubFault("status_code", code, after_execution=True)


# Declines are first: what waits for a sweep during others must not meet them.
FAULTS = [
    Fault("decline", StubFault("decline"), (402,), "none"),
    Fault("refuse", Fate.REFUSE, (503,), "none"),
    Fault("UNAVAILABLE", _instead(UNAVAILABLE), (503,), "none"),
    Fault("charge, UNAVAILABLE", _afterwards(UNAVAILABLE), (503,), "all"),
    Fault("INTERNAL", _instead(INTERNAL), (503,), "none"),
    Fault("charge, INTERNAL", _afterwards(INTERNAL), (503,), "all"),
    Fault("reset", Fate.CUT_CALL, (503,), "none"),
    # A reset ends all calls of its connection, also those that came a moment ago.
    Fault("charge, reset", Fate.CUT_ANSWER, (503,), "some"),
    Fault("hang", StubFault("hang", method="CreatePayment"), (504,), "none"),
    Fault("charge, hang", StubFault("hang", after_execution=True), (504,), "all"),
    Fault("charge after the deadline", StubFault("charge_after_ms", LATE_MS), (504,), "any"),
    Fault("duplicate", StubFault("duplicate"), (200,), "all"),
    Fault("GOAWAY", Fate.GOAWAY, (200, 503), "some"),
    Fault("charge, GOAWAY that denies it", Fate.DENY, (200, 503), "some"),
    Fault("wrong amount", StubFault("wrong_amount"), (503,), "all"),
]


def test_every_fault(shop: Shop, clients: Clients) -> None:
    began_s, chance = time.monotonic(), seeded("faults")
    count = scaled(INVOICES)
    for fault in FAULTS:
        invoices = shop.invoices(clients.api, count)
        calls = _under(shop, clients, fault, invoices)
        print(f"  {fault.name}: {dict(Counter(call.status for call in calls))}")
        _resumed(clients, fault, calls, chance)
    found = closed(shop, clients, "faults", began_s)
    declines = [attempt for attempt in found.attempts if attempt.state == "declined"]
    assert len(declines) == count * sum(fault.declines for fault in FAULTS)
    # Each was charged once, a declined one under its second key.
    assert len(found.charges) == count * len(FAULTS)


def _under(shop: Shop, clients: Clients, fault: Fault, invoices: list[str]) -> list[Call]:
    """The first answers to payments under a fault, which ends then."""
    dealt = shop.link.dealt.copy()
    if isinstance(fault.what, Fate):
        shop.link.become(fault.what)
    else:
        shop.rig.control.configure(faults=[fault.what])
    calls = at_once(lambda invoice: clients.pay(invoice, str(uuid4())), invoices)
    known = {charge.invoice for charge in ledger(shop)[0]}
    shop.heal()
    _as_meant(fault, known.intersection(invoices), invoices)
    if isinstance(fault.what, Fate):
        assert shop.link.dealt[fault.what] > dealt[fault.what]
    for call in calls:
        assert call.status in fault.answers, (fault.name, call)
        if call.status in (503, 504):
            assert call.problem == UNKNOWN, call
    return calls


def _as_meant(fault: Fault, charged: set[str], invoices: list[str]) -> None:
    match fault.charged:
        case "none":
            assert not charged, fault.name
        case "some":
            assert charged, fault.name
        case "all":
            assert charged == set(invoices), fault.name


def _resumed(clients: Clients, fault: Fault, calls: list[Call], chance: Random) -> None:
    """Every other client goes on; the rest is left to the sweeper. A declined invoice is paid
    under a new key. A finished key is for its own request alone."""
    chance.shuffle(calls)
    renewed = [call._replace(key=str(uuid4())) for call in calls]
    again = renewed if fault.declines else calls[::2]
    finals = at_once(lambda call: clients.insist(call.invoice, call.key, REST_DEADLINE_S), again)
    assert [final.status for final in finals] == [200] * len(again), finals
    one, other = finals[:2]
    for call in (
        clients.pay(one.invoice, one.key, OTHER_BODY),
        clients.pay(other.invoice, one.key),
    ):
        assert (call.status, call.problem) == (422, "idempotency_key_reused")
