"""Paying an invoice: once, whatever is repeated, refused, declined or unknown."""

import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import uuid4

import pytest

from bakeoff.rig.payment_stub import StubFault
from tests.contract.api import Api, Rig, Target
from tests.contract.problems import FIELDS, KEY, PREFIX, check_problem
from tests.contract.rig import PAYMENT_TIMEOUT_MS
from tests.contract.wire import Answer

REPLAYED = "idempotency-replayed"
# A try that failed waits a second or two for the next, and a lease ends after 15 s.
SETTLE_DEADLINE_S = 150.0
UPDATED_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def rig(target: Target) -> Iterator[Rig]:
    """What is behind the service; its provider is well again afterwards."""
    rig = target.behind()
    rig.control.reset()
    try:
        yield rig
    finally:
        rig.control.reset()


def charges(rig: Rig, invoice: str) -> int:
    """How often an invoice was charged."""
    with closing(sqlite3.connect(rig.ledger)) as ledger:
        row = ledger.execute("SELECT count(*) FROM charges WHERE invoice_id = ?", [invoice])
        return int(row.fetchone()[0])


def path_of(invoice: str) -> str:
    return f"/v1/invoices/{invoice}/pay"


def settled(api: Api, invoice: str, key: str) -> Answer:
    """The final answer of a key, asked for until it is there."""
    deadline_s = time.monotonic() + SETTLE_DEADLINE_S
    while True:
        answer = api.pay(invoice, key)
        if answer.status in (200, 402):
            return answer
        assert answer.header("retry-after") == "1", answer
        assert time.monotonic() < deadline_s, answer
        time.sleep(0.1)


def test_a_payment_is_made_once_and_repeated_byte_for_byte(api: Api) -> None:
    invoice, key = api.invoice(amount_cents=4916), str(uuid4())
    first = api.pay(invoice["id"], key)
    found = api.done(first, 200).json
    assert list(found) == ["invoice_id", "status", "payment"]
    assert list(found["payment"]) == ["id", "status", "amount_cents", "currency", "updated_at"]
    assert (found["invoice_id"], found["status"]) == (invoice["id"], "paid")
    assert found["payment"] | {"id": "", "updated_at": ""} == {
        "id": "",
        "status": "succeeded",
        "amount_cents": 4916,
        "currency": "EUR",
        "updated_at": "",
    }
    assert UPDATED_AT.fullmatch(found["payment"]["updated_at"])
    assert first.header(REPLAYED) is None
    again = api.pay(invoice["id"], key)
    assert (again.status, again.body, again.header(REPLAYED)) == (200, first.body, "true")
    assert again.header("content-type") == "application/json"
    assert again.header("x-request-id") != first.header("x-request-id")
    after = api.send("GET", f"/v1/invoices/{invoice['id']}")
    assert after.json == invoice | {"status": "paid", "payment_id": found["payment"]["id"]}
    assert after.header("etag") == '"v2"'


def test_it_is_in_the_provider_s_ledger_with_the_invoice_s_money(api: Api, rig: Rig) -> None:
    invoice = api.invoice(amount_cents=77, currency="CHF")
    payment = api.done(api.pay(invoice["id"], "key"), 200).json["payment"]
    with closing(sqlite3.connect(rig.ledger)) as ledger:
        rows = ledger.execute(
            "SELECT payment_id, amount_cents, currency, idempotency_key FROM charges"
            " WHERE invoice_id = ?",
            [invoice["id"]],
        ).fetchall()
    (row,) = rows
    assert row[:3] == (payment["id"], 77, "CHF")
    # Version 7, made by the service: never the client's key.
    assert re.fullmatch(r"att-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f-]{16}", row[3])


def test_a_key_of_another_request_is_refused(api: Api) -> None:
    invoice, other, key = api.invoice()["id"], api.invoice()["id"], str(uuid4())
    api.done(api.pay(invoice, key), 200)
    for body in (b"{ }", b"{}\n"):
        answer = api.pay(invoice, key, body)
        check_problem(answer, "idempotency_key_reused", path_of(invoice))
    check_problem(api.pay(other, key), "idempotency_key_reused", path_of(other))
    unknown = str(uuid4())
    check_problem(api.pay(unknown, key), "idempotency_key_reused", path_of(unknown))
    assert api.get(f"/v1/invoices/{other}")["status"] == "open"
    assert api.pay(invoice, key).header(REPLAYED) == "true"


def test_a_paid_invoice_is_not_paid_again(api: Api) -> None:
    invoice = api.invoice("paid")
    for _ in range(2):  # the key of a refusal is not kept
        answer = api.pay(invoice["id"], "another")
        check_problem(
            answer, "already_paid", path_of(invoice["id"]), payment_id=invoice["payment_id"]
        )


@pytest.mark.parametrize("status", ["draft", "void"])
def test_only_an_open_invoice_can_be_paid(api: Api, status: str) -> None:
    invoice, key = api.invoice(status)["id"], str(uuid4())
    check_problem(api.pay(invoice, key), "not_payable", path_of(invoice))
    if status == "draft":
        api.done(api.patch(f"/v1/invoices/{invoice}", {"status": "open"}), 200)
        assert api.done(api.pay(invoice, key), 200).header(REPLAYED) is None


@pytest.mark.parametrize("key", ["x", "k" * 255, "~!", 'a,b;"c"', "\\", "att-1"])
def test_a_key_is_visible_ascii(api: Api, key: str) -> None:
    invoice = api.invoice()["id"]
    if api.target.rig is None:  # an account that may have used it before
        key = (uuid4().hex + key)[:255]
    first = api.done(api.pay(invoice, key), 200)
    assert api.pay(invoice, key).body == first.body


def test_quotes_belong_to_a_key(api: Api) -> None:
    first, second, key = api.invoice()["id"], api.invoice()["id"], uuid4().hex
    api.done(api.pay(first, f'"{key}"'), 200)
    assert api.done(api.pay(second, key), 200).header(REPLAYED) is None


@pytest.mark.parametrize("keys", [[], [""], ["k" * 256], ["a b"], ["a\tb"], ["é"], ["a", "a"]])
def test_any_other_key_is_malformed(api: Api, keys: list[str]) -> None:
    invoice = api.invoice()["id"]
    lines = [("Idempotency-Key", key) for key in keys]
    answer = api.send("POST", path_of(invoice), b"{}", lines)
    check_problem(answer, "malformed", path_of(invoice), detail=KEY)


def test_a_payment_takes_no_field(api: Api) -> None:
    invoice, key = api.invoice()["id"], str(uuid4())
    for body in (b'{"amount_cents":1}', b'{"":null}'):
        errors = [("", "has a field that this operation does not take")]
        answer = api.pay(invoice, key, body)
        check_problem(answer, "malformed", path_of(invoice), detail=FIELDS, errors=errors)
    assert api.done(api.pay(invoice, key, b" { } "), 200).header(REPLAYED) is None


def test_while_a_payment_is_under_way_others_are_told_so(api: Api, rig: Rig) -> None:
    invoice, key = api.invoice()["id"], str(uuid4())
    rig.control.configure(latency_ms=PAYMENT_TIMEOUT_MS / 3)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.pay, invoice, key)
        deadline_s = time.monotonic() + SETTLE_DEADLINE_S
        while not rig.control.counters().calls_in_flight:
            assert time.monotonic() < deadline_s
        for other in (key, str(uuid4())):
            check_problem(api.pay(invoice, other), "payment_in_progress", path_of(invoice))
        reused = api.pay(invoice, key, b"{ }")
        check_problem(reused, "idempotency_key_reused", path_of(invoice))
        own = f"/v1/invoices/{invoice}"
        for change in ({"status": "void"}, {"amount_cents": 1}, {"status": "draft"}):
            check_problem(api.patch(own, change), "payment_in_progress", own)
        check_problem(api.send("DELETE", own), "not_draft", own)
        assert api.done(first.result(SETTLE_DEADLINE_S), 200).header(REPLAYED) is None
    assert charges(rig, invoice) == 1


def test_a_decline_is_kept_for_its_key_and_needs_a_new_one(api: Api, rig: Rig) -> None:
    invoice, key = api.invoice(), str(uuid4())
    rig.control.configure(faults=[StubFault("decline")])
    first = api.pay(invoice["id"], key)
    check_problem(first, "payment_declined", path_of(invoice["id"]))
    assert first.header(REPLAYED) is None
    rig.control.configure()
    again = api.pay(invoice["id"], key)
    assert (again.status, again.body, again.header(REPLAYED)) == (402, first.body, "true")
    assert again.header("content-type") == "application/problem+json"
    assert api.get(f"/v1/invoices/{invoice['id']}") == invoice
    assert charges(rig, invoice["id"]) == 0
    assert api.done(api.pay(invoice["id"], str(uuid4())), 200).header(REPLAYED) is None
    assert api.pay(invoice["id"], key).body == first.body
    assert charges(rig, invoice["id"]) == 1


@pytest.mark.parametrize(
    "fault",
    [
        StubFault("status_code", 14, method="CreatePayment"),
        StubFault("status_code", 13, method="CreatePayment"),
        StubFault("status_code", 3, method="CreatePayment"),
        StubFault("status_code", 14, after_execution=True),
        StubFault("wrong_amount"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.value}-{fault.after_execution}",
)
def test_an_unknown_outcome_is_said_and_settled_by_the_same_key(
    api: Api, rig: Rig, fault: StubFault
) -> None:
    invoice, key = api.invoice()["id"], str(uuid4())
    rig.control.configure(faults=[fault])
    check_problem(api.pay(invoice, key), "payment_outcome_unknown", path_of(invoice))
    assert api.get(f"/v1/invoices/{invoice}")["status"] == "open"
    rig.control.configure()
    final = api.done(settled(api, invoice, key), 200)
    assert api.pay(invoice, key).body == final.body
    assert charges(rig, invoice) == 1


@pytest.mark.parametrize("fault", [StubFault("charge_after_ms", PAYMENT_TIMEOUT_MS + 1500)])
def test_a_charge_after_the_deadline_is_found_out(api: Api, rig: Rig, fault: StubFault) -> None:
    invoice, key = api.invoice()["id"], str(uuid4())
    rig.control.configure(faults=[fault])
    answer = api.pay(invoice, key)
    check_problem(answer, "payment_outcome_unknown", path_of(invoice), status=504)
    rig.control.configure()
    api.done(settled(api, invoice, key), 200)
    deadline_s = time.monotonic() + SETTLE_DEADLINE_S
    while rig.control.counters().calls_in_flight:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert charges(rig, invoice) == 1


def test_a_payment_delivered_twice_is_one(api: Api, rig: Rig) -> None:
    invoice = api.invoice()["id"]
    rig.control.configure(faults=[StubFault("duplicate")])
    api.done(api.pay(invoice, "k"), 200)
    assert charges(rig, invoice) == 1


def test_an_unknown_outcome_is_settled_without_the_client(api: Api, rig: Rig) -> None:
    invoice, key = api.invoice()["id"], str(uuid4())
    rig.control.configure(faults=[StubFault("status_code", 14, after_execution=True)])
    check_problem(api.pay(invoice, key), "payment_outcome_unknown", path_of(invoice))
    rig.control.configure()
    deadline_s = time.monotonic() + SETTLE_DEADLINE_S
    while api.get(f"/v1/invoices/{invoice}")["status"] != "paid":
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    # The sweep answered the key, so the client's first word of it is a repeat.
    assert api.done(api.pay(invoice, key), 200).header(REPLAYED) == "true"
    assert charges(rig, invoice) == 1


def test_many_callers_at_once_make_one_payment(api: Api) -> None:
    """This needs no rig of its own; tests/money has it at scale, and with faults."""
    for _ in range(5):
        _one_payment_of_many_callers(api, api.invoice()["id"])


def _one_payment_of_many_callers(api: Api, invoice: str) -> None:
    keys = [str(uuid4()) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda key: (key, api.pay(invoice, key)), keys * 4))
    given = [(key, answer) for key, answer in answers if answer.status == 200]
    ((winner, first),) = [one for one in given if one[1].header(REPLAYED) is None]
    assert {(key, answer.body) for key, answer in given} == {(winner, first.body)}
    paid = {"payment_id": first.json["payment"]["id"]}
    for key, answer in answers:
        if key != winner and answer.json["type"] == f"{PREFIX}already_paid":
            check_problem(answer, "already_paid", path_of(invoice), **paid)
        elif answer.status != 200:
            check_problem(answer, "payment_in_progress", path_of(invoice))
    for key in keys:
        again = api.pay(invoice, key)
        if key == winner:
            assert (again.header(REPLAYED), again.body) == ("true", first.body)
        else:
            check_problem(again, "already_paid", path_of(invoice), **paid)
    if api.target.rig is not None:  # the ledger of another's provider is out of reach
        assert charges(api.target.rig, invoice) == 1
