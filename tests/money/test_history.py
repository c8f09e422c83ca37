"""The checker takes a good history, and rejects each doctored one for what was doctored."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.money.history import Attempt, Call, Charge, History, Invoice, Key, Rule, broken


def _paid(invoice: str, payment: str) -> bytes:
    return json.dumps({"invoice_id": invoice, "payment": {"id": payment}}).encode()


PAID = _paid("i1", "p1")
# An invoice that was paid under key k1 and refused to k2; one declined under k3, paid under k4.
GOOD = History(
    calls=[
        Call("i1", "k1", b"{}", 1.0, 2.0, 504),
        Call("i1", "k2", b"{}", 1.5, 1.6, 409),
        Call("i1", "k1", b"{}", 3.0, 4.0, 200, PAID),
        Call("i1", "k1", b"{}", 3.5, 4.5, 200, PAID, replayed=True),
        Call("i1", "k1", b"{}", 5.0, 6.0, 200, PAID, replayed=True),
        Call("i1", "k1", b"{ }", 5.0, 6.0, 422),
        Call("i2", "k1", b"{}", 5.0, 6.0, None),
        Call("i2", "k3", b"{}", 1.0, 2.0, 402, b"declined"),
        Call("i2", "k3", b"{}", 7.0, 8.0, 402, b"declined", replayed=True),
        Call("i2", "k4", b"{}", 3.0, 4.0, 200, _paid("i2", "p2")),
    ],
    charges=[Charge("att-a1", "i1", "p1", 5, "EUR"), Charge("att-a3", "i2", "p2", 7, "USD")],
    declined=frozenset({"att-a2"}),
    invoices=[Invoice("i1", "paid", "p1", 5, "EUR"), Invoice("i2", "paid", "p2", 7, "USD")],
    attempts=[
        Attempt("a1", "i1", "succeeded", "p1", 2),
        Attempt("a2", "i2", "declined", None, 1),
        Attempt("a3", "i2", "succeeded", "p2", 1),
    ],
    keys=[Key("k1", "i1", "a1", 200), Key("k3", "i2", "a2", 402), Key("k4", "i2", "a3", 200)],
)


def _charged_twice(h: History) -> History:
    return replace(h, charges=[*h.charges, Charge("att-a9", "i1", "p9", 5, "EUR")])


def _charge_of_another_amount(h: History) -> History:
    return replace(h, charges=[h.charges[0]._replace(amount_cents=6), h.charges[1]])


def _not_charged(h: History) -> History:
    return replace(h, charges=h.charges[1:])


def _invoice_left_open(h: History) -> History:
    return replace(h, invoices=[h.invoices[0]._replace(status="open", payment=None), h.invoices[1]])


def _charged_attempt_declined(h: History) -> History:
    declined = h.attempts[0]._replace(state="declined", payment=None)
    return replace(h, attempts=[declined, *h.attempts[1:]])


def _decline_charged(h: History) -> History:
    charges = [h.charges[0], h.charges[1]._replace(key="att-a2")]
    return replace(h, charges=charges)


def _decline_of_nobody(h: History) -> History:
    return replace(h, declined=frozenset())


def _answer_of_another_payment(h: History) -> History:
    return _call(h, 9, content=_paid("i2", "p1"))


def _other_answer(h: History) -> History:
    return _call(h, 4, content=PAID + b" ")


def _declined_after_success(h: History) -> History:
    return _call(h, 4, status=402, content=b"declined")


def _in_progress_after_success(h: History) -> History:
    return _call(h, 4, status=409, content=b"", replayed=False)


def _two_firsts(h: History) -> History:
    return _call(h, 3, replayed=False)


def _replayed_to_another_body(h: History) -> History:
    return _call(h, 5, status=200, content=PAID, replayed=True)


def _another_invoice_paid_under_it(h: History) -> History:
    return _call(h, 6, status=200, content=_paid("i2", "p2"))


def _another_invoice_in_progress_under_it(h: History) -> History:
    return _call(h, 6, status=409)


def _refused_for_nothing(h: History) -> History:
    return _call(h, 1, status=422)


def _internal_error(h: History) -> History:
    return _call(h, 1, status=500)


def _attempt_left_pending(h: History) -> History:
    attempt = h.attempts[1]._replace(state="pending")
    return replace(h, attempts=[h.attempts[0], attempt, h.attempts[2]])


def _key_left_open(h: History) -> History:
    return replace(h, keys=[*h.keys[:2], h.keys[2]._replace(status=None)])


def _call(h: History, index: int, **changed: Any) -> History:
    calls = list(h.calls)
    calls[index] = calls[index]._replace(**changed)
    return replace(h, calls=calls)


DOCTORED: list[tuple[Callable[[History], History], set[Rule]]] = [
    (_charged_twice, {Rule.TWICE, Rule.UNKNOWN_CHARGE, Rule.LOST}),
    (_charge_of_another_amount, {Rule.WRONG_MONEY}),
    (_not_charged, {Rule.NOT_CHARGED, Rule.SAID_WRONGLY}),
    (_invoice_left_open, {Rule.LOST}),
    (_charged_attempt_declined, {Rule.LOST, Rule.FAULT_DECLINED}),
    (_decline_charged, {Rule.DECLINE_CHARGED, Rule.LOST}),
    (_decline_of_nobody, {Rule.FAULT_DECLINED}),
    (_answer_of_another_payment, {Rule.SAID_WRONGLY}),
    (_other_answer, {Rule.CHANGED}),
    (_declined_after_success, {Rule.CHANGED, Rule.DECLINE_CHARGED}),
    (_in_progress_after_success, {Rule.CHANGED}),
    (_two_firsts, {Rule.TWO_FIRSTS}),
    (_replayed_to_another_body, {Rule.OTHER_REQUEST}),
    (_another_invoice_paid_under_it, {Rule.OTHER_REQUEST, Rule.TWO_FIRSTS}),
    (_another_invoice_in_progress_under_it, {Rule.NOT_REFUSED}),
    (_refused_for_nothing, {Rule.REFUSED_WRONGLY}),
    (_internal_error, {Rule.BROKEN}),
    (_attempt_left_pending, {Rule.UNENDED}),
    (_key_left_open, {Rule.UNENDED}),
]


def test_a_good_history_is_taken() -> None:
    assert broken(GOOD) == set()


@pytest.mark.parametrize(
    ("doctor", "rules"), DOCTORED, ids=lambda value: value.__name__[1:] if callable(value) else ""
)
def test_a_doctored_history_is_rejected(
    doctor: Callable[[History], History], rules: set[Rule]
) -> None:
    assert broken(doctor(GOOD)) == rules


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert set().union(*(rules for _, rules in DOCTORED)) == set(Rule)
