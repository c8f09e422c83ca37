"""What became of a lot of payments, and every way in which that may be wrong.

Pure: clients' calls, the provider's ledger and the database at rest go in, findings come out.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

FINAL = (200, 402)
# No answer, or one that says nothing: the work may have been done or not.
SILENT = (None, 503, 504)
KEY_REUSED = 422
BROKEN = 500


class Rule(Enum):
    """What must not be."""

    TWICE = "an invoice is charged twice"
    WRONG_MONEY = "a charge is not of the invoice's amount and currency"
    UNKNOWN_CHARGE = "a charge belongs to no attempt"
    LOST = "a charge is lost: its invoice is not paid by it"
    NOT_CHARGED = "an invoice is paid without a charge"
    SAID_WRONGLY = "a client was told of a charge that there is not"
    DECLINE_CHARGED = "a client was told of a decline, and the attempt is charged"
    FAULT_DECLINED = "an attempt is booked as declined, and the provider did not decline it"
    CHANGED = "a final answer of a key changed"
    TWO_FIRSTS = "a key has two answers that are no replay"
    OTHER_REQUEST = "a key's answer went to another request"
    NOT_REFUSED = "a finished key was not refused to another request"
    REFUSED_WRONGLY = "a key was refused that was used for no other request"
    BROKEN = "a client was told of an internal error"
    UNENDED = "an attempt or a key has no end"


class Call(NamedTuple):
    """A request to pay and what its client got; `status` None where that was nothing. Times are
    seconds on one clock, `body` what was sent, `content` what came back."""

    invoice: str
    key: str
    body: bytes
    began_s: float
    ended_s: float
    status: int | None
    content: bytes = b""
    replayed: bool = False

    @property
    def request(self) -> tuple[str, bytes]:
        """What has to be the same for the same answer."""
        return self.invoice, self.body

    @property
    def problem(self) -> str | None:
        """The last part of a problem's type; None where the answer is none."""
        if self.status is None or self.status == 200 or not self.content:
            return None
        return str(json.loads(self.content)["type"]).rpartition("/")[2]


class Charge(NamedTuple):
    """A row of the provider's ledger."""

    key: str
    invoice: str
    payment: str
    amount_cents: int
    currency: str


class Invoice(NamedTuple):
    """A row of invoices."""

    id: str
    status: str
    payment: str | None
    amount_cents: int
    currency: str


class Attempt(NamedTuple):
    """A row of payment_attempts."""

    id: str
    invoice: str
    state: str
    payment: str | None
    tries: int

    @property
    def provider_key(self) -> str:
        """The key that goes to the provider."""
        return f"att-{self.id}"


class Key(NamedTuple):
    """A row of idempotency_keys."""

    name: str
    invoice: str
    attempt: str
    status: int | None


@dataclass(frozen=True)
class History:
    """Some invoices of one account, at rest, and all that was asked about them."""

    calls: Sequence[Call]
    charges: Sequence[Charge]
    declined: frozenset[str]  # the keys that the provider declined
    invoices: Sequence[Invoice]
    attempts: Sequence[Attempt]
    keys: Sequence[Key]


class Finding(NamedTuple):
    """A rule that was broken, and by what."""

    rule: Rule
    what: object


def findings(history: History) -> list[Finding]:
    """All that is wrong."""
    return [*_of_charges(history), *_of_the_end(history), *_of_answers(history)]


def broken(history: History) -> set[Rule]:
    """The rules that are."""
    return {finding.rule for finding in findings(history)}


def _of_charges(history: History) -> Iterator[Finding]:
    invoices = {invoice.id: invoice for invoice in history.invoices}
    attempts = {attempt.provider_key: attempt for attempt in history.attempts}
    for name, count in Counter(charge.invoice for charge in history.charges).items():
        if count > 1:
            yield Finding(Rule.TWICE, name)
    for charge in history.charges:
        invoice = invoices[charge.invoice]
        attempt = attempts.get(charge.key)
        if (charge.amount_cents, charge.currency) != (invoice.amount_cents, invoice.currency):
            yield Finding(Rule.WRONG_MONEY, charge)
        if attempt is None or attempt.invoice != charge.invoice:
            yield Finding(Rule.UNKNOWN_CHARGE, charge)
        elif (attempt.state, attempt.payment) != ("succeeded", charge.payment):
            yield Finding(Rule.LOST, (charge, attempt))
        if (invoice.status, invoice.payment) != ("paid", charge.payment):
            yield Finding(Rule.LOST, (charge, invoice))


def _of_the_end(history: History) -> Iterator[Finding]:
    charged = {(charge.invoice, charge.payment) for charge in history.charges}
    for invoice in history.invoices:
        if invoice.status == "paid" and (invoice.id, invoice.payment) not in charged:
            yield Finding(Rule.NOT_CHARGED, invoice)
    for attempt in history.attempts:
        if attempt.state == "pending":
            yield Finding(Rule.UNENDED, attempt)
        if attempt.state == "succeeded" and (attempt.invoice, attempt.payment) not in charged:
            yield Finding(Rule.NOT_CHARGED, attempt)
        if attempt.state == "declined" and attempt.provider_key not in history.declined:
            yield Finding(Rule.FAULT_DECLINED, attempt)
    for key in history.keys:
        if key.status is None:
            yield Finding(Rule.UNENDED, key)


def _of_answers(history: History) -> Iterator[Finding]:
    charged = {(charge.invoice, charge.payment) for charge in history.charges}
    charged_keys = {charge.key for charge in history.charges}
    attempts = {key.name: f"att-{key.attempt}" for key in history.keys}
    for call in history.calls:
        if call.status == BROKEN:
            yield Finding(Rule.BROKEN, call)
    for key, calls in _by_key(history.calls).items():
        yield from _of_refusals(calls)
        finals = [call for call in calls if call.status in FINAL]
        for call in finals:
            if call.status == 200 and (call.invoice, _payment(call)) not in charged:
                yield Finding(Rule.SAID_WRONGLY, call)
            if call.status == 402 and attempts.get(key) in charged_keys:
                yield Finding(Rule.DECLINE_CHARGED, call)
        if finals:
            yield from _of_one_key(calls, min(finals, key=lambda call: call.ended_s))


def _of_refusals(calls: Sequence[Call]) -> Iterator[Finding]:
    for call in calls:
        others = (one for one in calls if one.request != call.request)
        if call.status == KEY_REUSED and not any(one.began_s < call.ended_s for one in others):
            yield Finding(Rule.REFUSED_WRONGLY, call)


def _of_one_key(calls: Sequence[Call], first: Call) -> Iterator[Finding]:
    """`first` is the first final answer that a client had."""
    if sum(call.status in FINAL and not call.replayed for call in calls) > 1:
        yield Finding(Rule.TWO_FIRSTS, first.key)
    for call in calls:
        says = call.status not in (*SILENT, BROKEN)
        afterwards = call.began_s >= first.ended_s and says
        if call.request != first.request:
            if call.status in FINAL:
                yield Finding(Rule.OTHER_REQUEST, (first, call))
            elif afterwards and call.status != KEY_REUSED:
                yield Finding(Rule.NOT_REFUSED, (first, call))
        elif call.status in FINAL or afterwards:
            same = (call.status, call.content) == (first.status, first.content)
            if not same or (afterwards and not call.replayed):
                yield Finding(Rule.CHANGED, (first, call))


def _by_key(calls: Iterable[Call]) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        found[call.key].append(call)
    return found


def _payment(call: Call) -> str | None:
    """The payment that a success names, where it is of the invoice that was asked for."""
    content = json.loads(call.content)
    return str(content["payment"]["id"]) if content["invoice_id"] == call.invoice else None
