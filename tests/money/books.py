"""The books of a test's invoices, read when everything is at rest."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Container
from contextlib import closing

import psycopg

from tests.money.clients import Clients
from tests.money.history import (
    Attempt,
    Charge,
    History,
    Invoice,
    Key,
    Rule,
    findings,
)
from tests.money.shop import PAYMENT_TIMEOUT_MS, Shop

POLL_S = 0.05
LEASE_S = 2 * PAYMENT_TIMEOUT_MS / 1000 + 5
# The waits of an attempt that is sent some times in vain.
BACKOFF_S = 32.0
# With the slack that durations have here.
REST_DEADLINE_S = 10 * (LEASE_S + BACKOFF_S)

INVOICES = "SELECT id::text, status, payment_id, amount_cents, currency FROM invoices"
ATTEMPTS = "SELECT id::text, invoice_id::text, state, payment_id, tries FROM payment_attempts"
KEYS = "SELECT key, invoice_id::text, attempt_id::text, status FROM idempotency_keys"
PENDING = "SELECT count(*) FROM payment_attempts WHERE account_id = %s AND state = 'pending'"
CHARGES = "SELECT idempotency_key, invoice_id, payment_id, amount_cents, currency FROM charges"


def settle(shop: Shop, account: str) -> float:
    """Waits until no attempt of the account is pending and the provider is at rest, with all that
    it does after its caller gave up; the seconds that it took."""
    began_s = time.monotonic()
    with psycopg.connect(shop.rig.database_url, autocommit=True) as connection:
        while (pending := _pending(connection, account)) or _under_way(shop):
            waited_s = time.monotonic() - began_s
            assert waited_s < REST_DEADLINE_S, f"{pending} attempts pending after {waited_s} s"
            time.sleep(POLL_S)
    return time.monotonic() - began_s


def history(shop: Shop, clients: Clients) -> History:
    """All about the invoices of the clients' account."""
    charges, declined = ledger(shop)
    invoices, attempts, keys = stored(shop.rig.database_url, clients.api.account)
    known = {invoice.id for invoice in invoices}
    own = [charge for charge in charges if charge.invoice in known]
    return History(clients.calls, own, declined, invoices, attempts, keys)


def ledger(shop: Shop) -> tuple[list[Charge], frozenset[str]]:
    """All charges of the provider, and the keys that it declined."""
    with closing(sqlite3.connect(shop.rig.ledger)) as file:
        charges = [Charge(*row) for row in file.execute(CHARGES)]
        declined = frozenset(key for (key,) in file.execute("SELECT idempotency_key FROM declines"))
    return charges, declined


def stored(database_url: str, account: str) -> tuple[list[Invoice], list[Attempt], list[Key]]:
    """What the database has of an account."""
    with psycopg.connect(database_url) as connection:
        invoices, attempts, keys = (
            connection.execute(f"{what} WHERE account_id = %s".encode(), [account]).fetchall()
            for what in (INVOICES, ATTEMPTS, KEYS)
        )
    return (
        [Invoice(*row) for row in invoices],
        [Attempt(*row) for row in attempts],
        [Key(*row) for row in keys],
    )


def closed(shop: Shop, clients: Clients, name: str, began_s: float) -> History:
    """Waits for rest, checks the books, and prints their figures."""
    rested_s = settle(shop, clients.api.account)
    found = history(shop, clients)
    wrong = findings(found)
    rules = [finding.rule for finding in wrong]
    print(
        f"{name}, {shop.target.name}: {len(found.invoices)} invoices, {len(found.calls)} requests,"
        f" {len(found.attempts)} attempts, {len(found.charges)} charges,"
        f" {rules.count(Rule.TWICE)} double, {rules.count(Rule.LOST)} lost,"
        f" {max((attempt.tries for attempt in found.attempts), default=0)} tries at most,"
        f" at rest after {rested_s:.1f} s, {time.monotonic() - began_s:.1f} s in all"
    )
    assert not wrong, f"{len(wrong)} findings, the first: {wrong[:5]}"
    return found


def causes(shop: Shop, attempts: Container[str]) -> Counter[str]:
    """Why the outcomes of attempts were unknown, from the service's log."""
    lines = map(json.loads, shop.rig.log.read_bytes().splitlines())
    return Counter(line["error"] for line in lines if line.get("attempt_id") in attempts)


def _pending(connection: psycopg.Connection, account: str) -> int:
    row = connection.execute(PENDING, [account]).fetchone()
    assert row is not None
    return int(row[0])


def _under_way(shop: Shop) -> int:
    return shop.rig.control.counters().calls_in_flight
