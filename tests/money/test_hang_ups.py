"""Clients that hang up once they have sent: what they started goes on without them."""

import time
from uuid import uuid4

from tests.contract.rig import scaled
from tests.money.books import REST_DEADLINE_S, causes, closed, history, settle
from tests.money.clients import Clients, at_once, seeded
from tests.money.shop import Shop

INVOICES = 1000
CLIENTS = 16
LONGEST_S = 0.05
# About half of the longest wait, so that they leave at each step.
PROVIDER_MS = 20.0
# What a stalled database may leave to the sweeper.
SWEPT = 0.05


def test_clients_that_hang_up(shop: Shop, clients: Clients) -> None:
    began_s, chance = time.monotonic(), seeded("hang-ups")
    shop.rig.control.configure(latency_ms=PROVIDER_MS)
    given = [
        (invoice, str(uuid4()), chance.uniform(0, LONGEST_S), chance.random() < 0.5)
        for invoice in shop.invoices(clients.api, scaled(INVOICES))
    ]
    at_once(lambda call: clients.hang_up(*call), given, CLIENTS)
    settle(shop, clients.api.account)
    started = history(shop, clients)
    # Those that left in an orderly way were heard, at least.
    assert len(started.attempts) >= sum(not abrupt for *_, abrupt in given)
    assert max(attempt.tries for attempt in started.attempts) <= 2
    # The provider is well, so only a machine that is busy elsewhere leaves work to the sweeper.
    swept = {attempt.id for attempt in started.attempts if attempt.tries > 1}
    assert len(swept) <= len(given) * SWEPT, f"{len(swept)} swept, for {causes(shop, swept)}"
    finals = at_once(lambda call: clients.insist(*call[:2], REST_DEADLINE_S), given)
    assert {final.status for final in finals} == {200}
    assert sum(final.replayed for final in finals) == len(started.attempts)
    found = closed(shop, clients, "hang-ups", began_s)
    print(f"  {len(started.attempts)} of {len(given)} had started, {len(swept)} were swept")
    assert len(found.charges) == len(given)
