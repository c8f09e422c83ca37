"""Many callers at once want one invoice paid: it is charged once, and each is told the same."""

import time
from collections import Counter
from threading import Barrier
from uuid import uuid4

from tests.contract.rig import scaled
from tests.money.books import closed
from tests.money.clients import Clients, at_once, seeded
from tests.money.history import Call
from tests.money.shop import Shop

INVOICES = 200
SAME, DIFFERENT = 16, 8
# Ten times what a caller may have to repeat its request for.
RETRIES_DEADLINE_S = 50.0


def test_one_key_from_many_callers(shop: Shop, clients: Clients) -> None:
    began_s, chance = time.monotonic(), seeded("one key")
    shop.rig.control.configure(latency_ms=chance.uniform(2, 8))
    invoices = shop.invoices(clients.api, scaled(INVOICES))
    met = 0
    for invoice in invoices:
        pauses_s = [chance.uniform(0.002, 0.03) for _ in range(SAME)]
        met += _storm_of_one_key(clients, invoice, pauses_s)
    found = closed(shop, clients, "one key", began_s)
    assert len(found.charges) == len(found.attempts) == len(found.keys) == len(invoices)
    assert met  # some came while another was at it


def _storm_of_one_key(clients: Clients, invoice: str, pauses_s: list[float]) -> int:
    """How many were told to wait. Each repeats its request after its pause."""
    key, barrier, before = str(uuid4()), Barrier(SAME), len(clients.calls)

    def call(pause_s: float) -> Call:
        barrier.wait(RETRIES_DEADLINE_S)
        return clients.insist(invoice, key, RETRIES_DEADLINE_S, pause_s)

    finals = at_once(call, pauses_s, SAME)
    firsts = [final for final in finals if not final.replayed]
    assert len(firsts) == 1, finals
    assert {(final.status, final.content) for final in finals} == {(200, firsts[0].content)}
    others = [call for call in clients.calls[before:] if call.status != 200]
    assert all(call.problem == "payment_in_progress" for call in others), others
    return len(others)


def test_many_keys_at_once(shop: Shop, clients: Clients) -> None:
    began_s, chance = time.monotonic(), seeded("many keys")
    shop.rig.control.configure(latency_ms=chance.uniform(2, 8))
    invoices = shop.invoices(clients.api, scaled(INVOICES))
    said = Counter[str | None]()
    for invoice in invoices:
        said += _storm_of_many_keys(clients, invoice)
    assert said.keys() <= {None, "payment_in_progress", "already_paid"}, said
    assert said[None] == len(invoices)
    assert said["payment_in_progress"]
    found = closed(shop, clients, "many keys", began_s)
    # The key of a refusal is not kept.
    assert len(found.charges) == len(found.attempts) == len(found.keys) == len(invoices)


def _storm_of_many_keys(clients: Clients, invoice: str) -> Counter[str | None]:
    """What they were told, None for the success."""
    barrier = Barrier(DIFFERENT)

    def call(key: str) -> Call:
        barrier.wait(RETRIES_DEADLINE_S)
        return clients.pay(invoice, key)

    keys = [str(uuid4()) for _ in range(DIFFERENT)]
    answered = at_once(call, keys, DIFFERENT)
    assert Counter(one.status for one in answered) == {200: 1, 409: DIFFERENT - 1}, answered
    for one in answered:
        if one.status == 409:
            assert clients.pay(invoice, one.key).problem == "already_paid"
    return Counter(one.problem for one in answered)
