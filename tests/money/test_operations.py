"""Ten thousand requests to pay, of every kind and in any order, while everything goes wrong now
and then; the checker finds nothing wrong in what came of it."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from uuid import uuid4

from bakeoff.rig.payment_stub import StubFault
from tests.contract.rig import scaled
from tests.money.books import closed, settle
from tests.money.clients import BODY, OTHER_BODY, Clients, at_once, seeded
from tests.money.history import FINAL, SILENT
from tests.money.link import Fate
from tests.money.shop import PAYMENT_TIMEOUT_MS, Shop

OPERATIONS = 10_000
OPERATIONS_PER_INVOICE = 8
CLIENTS = 16
# Of so many invoices one is asked for at a time, so that requests meet.
WINDOW = 8
DEADLINE_S = 30.0
WEATHER = (Fate.CUT_CALL, Fate.CUT_ANSWER, Fate.GOAWAY, Fate.DENY, Fate.REFUSE)
FAULTS = [
    StubFault("decline", share=0.20),
    StubFault("status_code", 14, share=0.05, method="CreatePayment"),
    StubFault("status_code", 14, share=0.06, after_execution=True),
    StubFault("status_code", 13, share=0.03, method="CreatePayment"),
    StubFault("status_code", 13, share=0.03, after_execution=True),
    StubFault("hang", share=0.01, method="CreatePayment"),
    StubFault("hang", share=0.01, after_execution=True),
    StubFault("charge_after_ms", PAYMENT_TIMEOUT_MS * 1.5, share=0.02),
    StubFault("duplicate", share=0.08),
    StubFault("wrong_amount", share=0.03),
]


def test_the_history_of_many_operations(shop: Shop, clients: Clients) -> None:
    began_s, chance = time.monotonic(), seeded("operations")
    operations = scaled(OPERATIONS)
    keys = {
        invoice: [str(uuid4())]
        for invoice in shop.invoices(clients.api, operations // OPERATIONS_PER_INVOICE)
    }
    shop.rig.control.configure(latency_ms=3, faults=FAULTS, seed=chance.getrandbits(32))
    seeds = [chance.getrandbits(64) for _ in range(operations)]
    with _weather(shop, Random(chance.getrandbits(64))):
        at_once(lambda given: _operation(clients, keys, *given), enumerate(seeds), CLIENTS)
    shop.heal()
    settle(shop, clients.api.account)
    # Every key that may have an answer is asked once more, when all is over.
    asked = {(call.invoice, call.key, call.body): call for call in clients.calls}
    again = [given for given, call in asked.items() if call.status in (*FINAL, *SILENT)]
    at_once(lambda given: clients.pay(*given), again, CLIENTS)
    found = closed(shop, clients, "operations", began_s)
    said = Counter((call.status, call.replayed) for call in found.calls)
    print(f"  {dict(said)}, {dict(shop.link.dealt)}")
    assert len(found.calls) >= operations
    # All kinds of answers were there, and so there was something to check.
    assert {None, 200, 402, 409, 422, 503} <= {status for status, _ in said}
    assert said[200, True]
    assert said[402, True]


def _operation(clients: Clients, keys: dict[str, list[str]], number: int, seed: int) -> None:
    chance = Random(seed)
    invoices = list(keys)
    first = min(number // OPERATIONS_PER_INVOICE, len(invoices) - WINDOW)
    invoice, other = chance.sample(invoices[first : first + WINDOW], 2)
    key = chance.choice(keys[invoice])
    match chance.choices(["same", "new", "body", "invoice", "hang up"], [50, 20, 8, 8, 14])[0]:
        case "same":
            clients.pay(invoice, key, BODY)
        case "new":
            keys[invoice].append(str(uuid4()))
            clients.pay(invoice, keys[invoice][-1], BODY)
        case "body":
            clients.pay(invoice, key, OTHER_BODY)
        case "invoice":
            clients.pay(other, key, BODY)
        case _:
            clients.hang_up(invoice, key, chance.uniform(0, 0.02), chance.random() < 0.5)


@contextmanager
def _weather(shop: Shop, chance: Random) -> Iterator[None]:
    """Breaks the link in one way or another for a moment, every now and then."""
    over = threading.Event()

    def change() -> None:
        while not over.wait(chance.uniform(0.1, 0.5)):
            shop.link.become(chance.choice(WEATHER))
            over.wait(chance.uniform(0.01, 0.06))
            shop.link.become(Fate.PASS)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(DEADLINE_S)
