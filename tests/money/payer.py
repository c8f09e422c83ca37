"""The service's payer, step by step as the contract has it, and payers that leave out a rule.

It has the contract's own statements, and may be killed at each of them.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple
from uuid import uuid4

import psycopg

from tests.money.history import Charge
from tests.money.statements import KilledError, Row, Session

LEASE_MS = 300
BACKOFF_MS = 50
AMOUNT_CENTS, CURRENCY = 4916, "EUR"
LATEST_S = 0.4
PROVIDER_S = 0.004


class UnknownError(Exception):
    """The provider did not answer: it may have charged, or may do so yet."""


class Said(NamedTuple):
    """An answer."""

    status: int
    content: bytes = b""
    replayed: bool = False


class Refused(Exception):
    """Ends the first transaction with an answer."""

    def __init__(self, said: Said) -> None:
        self.said = said


class Try(NamedTuple):
    """A leased attempt that is about to be sent."""

    id: str
    invoice: str
    amount_cents: int
    currency: str
    tries: int
    client_key: str | None


class Provider:
    """Charges once a key; declines some, loses answers, and is late with a share `late`."""

    def __init__(self, chance: Random, late: float) -> None:
        self._chance = chance
        self._late_share = late
        self._lock = threading.Lock()
        self._outcomes: dict[str, tuple[Charge, bool]] = {}
        self._late: list[threading.Timer] = []
        self.calls = 0

    def create_payment(self, key: str, attempt: Try) -> tuple[Charge, bool]:
        """The charge and whether it was executed, or else declined."""
        with self._lock:
            self.calls += 1
            point, late_s = self._chance.random(), self._chance.uniform(0, LATEST_S)
        if point < 0.08:
            raise UnknownError
        if point < 0.16:
            self._execute(key, attempt)
            raise UnknownError
        if point < 0.16 + self._late_share:
            timer = threading.Timer(late_s, self._execute, (key, attempt))
            self._late.append(timer)
            timer.start()
            raise UnknownError
        threading.Event().wait(late_s / LATEST_S * PROVIDER_S)
        return self._execute(key, attempt)

    def find(self, key: str) -> tuple[Charge, bool] | None:
        """The outcome of a key, if there is one by now."""
        return self._outcomes.get(key)

    def at_rest(self) -> None:
        """Waits for all that comes late."""
        for timer in self._late:
            timer.join()

    def charges(self) -> list[Charge]:
        """The ledger."""
        return [charge for charge, executed in self._outcomes.values() if executed]

    def declined(self) -> frozenset[str]:
        """The keys that were declined."""
        return frozenset(key for key, (_, executed) in self._outcomes.items() if not executed)

    def _execute(self, key: str, attempt: Try) -> tuple[Charge, bool]:
        charge = Charge(key, attempt.invoice, f"pay_{key}", attempt.amount_cents, attempt.currency)
        with self._lock:
            outcome = self._outcomes.setdefault(key, (charge, self._chance.random() > 0.15))
        assert outcome[0] == charge, "the same key with other fields"
        return outcome


class Payer:
    """The protocol, by the steps of the contract's page."""

    def __init__(self, account: str, session: Session, provider: Provider) -> None:
        self.account = account
        self.session = session
        self.provider = provider

    def pay(self, invoice: str, key: str, body: bytes) -> Said:
        """Steps 1 to 9. KilledError where it is killed."""
        fingerprint = hashlib.sha256(b"POST\n" + invoice.encode() + b"\n" + body).digest()
        try:
            if stored := self.session.run("key_get", self.account, key):
                self.replay(stored[0], fingerprint)
            with self.transaction():
                attempt = self.claim(invoice, key, fingerprint)
        except Refused as refused:
            return refused.said
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
            return Said(503)
        return self.settle(attempt)

    def sweep(self) -> int:
        """Sends a batch again; how many they were."""
        rows = self.session.run("attempt_sweep", LEASE_MS)
        for id_, invoice, _, amount_cents, currency, tries in rows:
            self.resend(Try(str(id_), str(invoice), amount_cents, currency, tries, None))
        return len(rows)

    def resend(self, attempt: Try) -> None:
        """What the sweeper does with an attempt."""
        self.settle(attempt)

    def claim(self, invoice: str, key: str, fingerprint: bytes) -> Try:
        """Inside of the first transaction."""
        found, live = self.look(invoice)
        status, amount_cents, currency = found[2:5]
        tries, leased = 1, False
        id_ = str(uuid4())
        if live is not None:
            id_, amount_cents, currency = str(live[0]), live[1], live[2]
            tries, leased = live[3] + 1, live[5]
        if self.session.run("key_create", self.account, key, fingerprint, invoice, id_):
            if status != "open":
                raise Refused(_problem(409, "already_paid"))
        else:
            (stored,) = self.session.run("key_get", self.account, key)
            self.replay(stored, fingerprint)
            if live is None or not live[4] or stored[1] != live[0]:
                raise Refused(_problem(500, "internal"))
        if leased:
            raise Refused(_problem(409, "payment_in_progress"))
        if live is not None:
            self.session.run("attempt_take", id_, LEASE_MS)
        else:
            given = (id_, invoice, self.account, amount_cents, currency, LEASE_MS)
            self.session.run("attempt_create", *given)
        return Try(id_, invoice, amount_cents, currency, tries, key)

    def look(self, invoice: str) -> tuple[Row, Row | None]:
        """The invoice, locked, and its live attempt: two statements."""
        (found,) = self.session.run("invoice_lock", invoice, self.account)
        live = self.session.run("attempt_live", invoice)
        return found, live[0] if live else None

    def replay(self, stored: Row, fingerprint: bytes) -> None:
        """Refuses a key of another request, and repeats the answer that a key has."""
        if stored[0] != fingerprint:
            raise Refused(_problem(422, "idempotency_key_reused"))
        if stored[2] is not None:
            raise Refused(Said(stored[2], bytes(stored[3]), replayed=True))

    def settle(self, attempt: Try) -> Said:
        """Steps 7 to 9."""
        try:
            charge, executed = self.provider.create_payment(self.provider_key(attempt), attempt)
            return self.finish(attempt, charge.payment if executed else None)
        except (UnknownError, psycopg.errors.LockNotAvailable):
            return self.unknown(attempt)

    def provider_key(self, attempt: Try) -> str:
        """The attempt's, never the client's."""
        return f"att-{attempt.id}"

    def unknown(self, attempt: Try) -> Said:
        """The attempt stays pending, and is looked after soon."""
        self.session.run("attempt_unknown", attempt.id, BACKOFF_MS)
        return _problem(504, "payment_outcome_unknown")

    def finish(self, attempt: Try, payment: str | None) -> Said:
        """The second transaction; `payment` None for a decline."""
        state = "declined" if payment is None else "succeeded"
        said = _problem(402, "payment_declined") if payment is None else _paid(attempt, payment)
        try:
            with self.transaction():
                self.session.run("invoice_lock", attempt.invoice, self.account)
                if not self.session.run("attempt_finish", attempt.id, state, payment):
                    raise Refused(Said(409))
                if payment is not None:
                    self.session.run("invoice_paid", attempt.invoice, self.account, payment)
                self.session.run("key_finish", attempt.id, said.status, said.content)
        except Refused:  # somebody else has ended it
            if attempt.client_key is None:
                return said
            (stored,) = self.session.run("key_get", self.account, attempt.client_key)
            if stored[2] is None:  # which only a mutant meets
                return _problem(500, "internal")
            return Said(stored[2], bytes(stored[3]), replayed=True)
        return said

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN and COMMIT, or ROLLBACK where anything is raised."""
        self.session.execute(b"BEGIN")
        try:
            yield
        except KilledError:
            raise
        except BaseException:
            self.session.execute(b"ROLLBACK")
            raise
        self.session.execute(b"COMMIT")


def _paid(attempt: Try, payment: str) -> Said:
    content = {"invoice_id": attempt.invoice, "status": "paid", "payment": {"id": payment}}
    return Said(200, json.dumps(content).encode())


def _problem(status: int, name: str) -> Said:
    return Said(status, json.dumps({"type": f"problems/{name}"}).encode())


class ClientsKey(Payer):
    """Sends the client's key to the provider."""

    def provider_key(self, attempt: Try) -> str:
        return attempt.client_key or f"att-{attempt.id}"


class KeyOfEachTry(Payer):
    """Sends another key with each try."""

    def provider_key(self, attempt: Try) -> str:
        return f"att-{attempt.id}-{attempt.tries}"


class FailsOnError(Payer):
    """Takes a call that was not answered for a decline."""

    def unknown(self, attempt: Try) -> Said:
        return self.finish(attempt, None)


class LooksFirst(Payer):
    """Takes a charge that the sweeper does not find for one that will never be."""

    def resend(self, attempt: Try) -> None:
        found = self.provider.find(self.provider_key(attempt))
        self.finish(attempt, found[0].payment if found and found[1] else None)


class OneTransaction(Payer):
    """Stores nothing before the call: one transaction around it."""

    def pay(self, invoice: str, key: str, body: bytes) -> Said:
        try:
            with self.transaction():
                attempt = self.claim(invoice, key, hashlib.sha256(body).digest())
                charge, executed = self.provider.create_payment(f"att-{attempt.id}", attempt)
                payment = charge.payment if executed else None
                state, status = ("succeeded", 200) if executed else ("declined", 402)
                self.session.run("attempt_finish", attempt.id, state, payment)
                if payment is not None:
                    self.session.run("invoice_paid", invoice, self.account, payment)
                said = _paid(attempt, payment) if payment else _problem(402, "payment_declined")
                self.session.run("key_finish", attempt.id, status, said.content)
        except Refused as refused:
            return refused.said
        except UnknownError:
            return _problem(504, "payment_outcome_unknown")
        except psycopg.errors.LockNotAvailable:
            return Said(503)
        return said


class OneStatement(Payer):
    """Locks the invoice and reads its attempt by one statement, which after a wait for the lock
    sees the attempts of before."""

    JOINED = (
        b"SELECT i.id, i.subscription_id, i.status, i.amount_cents, i.currency, a.id, "
        b"a.amount_cents, a.currency, a.tries, a.state = 'pending', a.lease_until > now() "
        b"FROM invoices AS i LEFT JOIN payment_attempts AS a ON a.invoice_id = i.id "
        b"AND a.state IN ('pending', 'succeeded') WHERE i.id = $1 AND i.account_id = $2 "
        b"FOR UPDATE OF i"
    )

    def look(self, invoice: str) -> tuple[Row, Row | None]:
        (row,) = self.session.execute(self.JOINED, (invoice, self.account))
        return row[:5], row[5:] if row[5] is not None else None


class NoFingerprint(Payer):
    """Repeats the answer of a finished key whatever the request was."""

    def replay(self, stored: Row, fingerprint: bytes) -> None:
        super().replay(stored, stored[0] if stored[2] is not None else fingerprint)


MUTANTS: list[Callable[[str, Session, Provider], Payer]] = [
    ClientsKey,
    KeyOfEachTry,
    FailsOnError,
    LooksFirst,
    OneTransaction,
    OneStatement,
    NoFingerprint,
]
