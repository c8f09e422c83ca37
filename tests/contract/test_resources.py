"""Subscriptions and invoices: what is created, read, changed and deleted."""

import re
from uuid import uuid4

import pytest

from tests.contract.api import SUBSCRIPTION, Api, Target
from tests.contract.problems import NO_INVOICE, NO_SUBSCRIPTION, check_problem, is_made_id

SUBSCRIPTION_KEYS = ["id", "plan", "status", "price_cents", "currency", "created_at"]
INVOICE_KEYS = [
    *("id", "subscription_id", "status", "amount_cents", "currency", "payment_id", "created_at"),
]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
STATUSES = ("draft", "open", "paid", "void")
STEPS = {("draft", "open"), ("draft", "void"), ("open", "void")}


def test_a_subscription_is_created(api: Api) -> None:
    answer = api.send("POST", "/v1/subscriptions", SUBSCRIPTION)
    found = api.done(answer, 201).json
    assert list(found) == SUBSCRIPTION_KEYS
    assert found == SUBSCRIPTION | {
        "id": found["id"],
        "status": "active",
        "created_at": found["created_at"],
    }
    assert is_made_id(found["id"])
    assert TIME.fullmatch(found["created_at"])
    assert answer.header("location") == f"/v1/subscriptions/{found['id']}"
    assert answer.header("etag") == '"v1"'
    read = api.send("GET", f"/v1/subscriptions/{found['id']}")
    assert (read.status, read.body, read.header("etag")) == (200, answer.body, '"v1"')


@pytest.mark.parametrize("status", [None, "draft", "open"])
def test_an_invoice_is_created(api: Api, status: str | None) -> None:
    subscription = api.subscription()
    body: dict[str, object] = {"subscription_id": subscription["id"]}
    body |= {"status": status} if status else {}
    body |= {"amount_cents": 1, "currency": "JPY"}
    answer = api.send("POST", "/v1/invoices", body)
    found = api.done(answer, 201).json
    assert list(found) == INVOICE_KEYS
    assert found == body | {
        "id": found["id"],
        "status": status or "draft",
        "payment_id": None,
        "created_at": found["created_at"],
    }
    assert is_made_id(found["id"])
    assert TIME.fullmatch(found["created_at"])
    assert answer.header("location") == f"/v1/invoices/{found['id']}"
    assert answer.header("etag") == '"v1"'
    read = api.send("GET", f"/v1/invoices/{found['id']}")
    assert (read.status, read.body, read.header("etag")) == (200, answer.body, '"v1"')


def test_a_subscription_is_changed_field_by_field(api: Api) -> None:
    found = api.subscription()
    path = f"/v1/subscriptions/{found['id']}"
    changes: list[dict[str, object]] = [
        {"plan": "business"},
        {"price_cents": 0},
        {"status": "past_due"},
        {"status": "past_due"},  # changes nothing, and counts
        {"plan": "starter", "status": "active", "price_cents": 10**12},
    ]
    for version, change in enumerate(changes, 2):
        answer = api.patch(path, change, f'"v{version - 1}"')
        found |= change
        assert (api.done(answer, 200).json, answer.header("etag")) == (found, f'"v{version}"')
        assert list(answer.json) == SUBSCRIPTION_KEYS
        assert api.send("GET", path).body == answer.body


def test_a_canceled_subscription_stays_so(api: Api) -> None:
    path = f"/v1/subscriptions/{api.subscription()['id']}"
    api.done(api.patch(path, {"status": "canceled"}), 200)
    for status in ("active", "past_due"):
        answer = api.patch(path, {"status": status, "plan": "starter"})
        check_problem(answer, "transition_not_allowed", path)
    answer = api.patch(path, {"status": "canceled", "plan": "starter"})
    assert api.done(answer, 200).header("etag") == '"v3"'
    assert answer.json["plan"] == "starter"


def test_a_draft_invoice_is_changed(api: Api) -> None:
    found = api.invoice("draft")
    path = f"/v1/invoices/{found['id']}"
    for change in ({"amount_cents": 7}, {"currency": "CHF"}, {"amount_cents": 9, "status": "open"}):
        answer = api.patch(path, change)
        found |= change
        assert api.done(answer, 200).json == found
        assert list(answer.json) == INVOICE_KEYS


@pytest.mark.parametrize("new", ["draft", "open", "void"])
@pytest.mark.parametrize("old", STATUSES)
def test_an_invoice_goes_only_forward(api: Api, old: str, new: str) -> None:
    found = api.invoice(old)
    path = f"/v1/invoices/{found['id']}"
    answer = api.patch(path, {"status": new})
    if old == new or (old, new) in STEPS:
        assert api.done(answer, 200).json == found | {"status": new}
    else:
        check_problem(answer, "transition_not_allowed", path)
        assert api.get(path) == found


@pytest.mark.parametrize("change", [{"amount_cents": 4916}, {"currency": "EUR"}])
@pytest.mark.parametrize("status", ["open", "paid", "void"])
def test_money_is_fixed_once_it_is_no_draft(
    api: Api, status: str, change: dict[str, object]
) -> None:
    path = f"/v1/invoices/{api.invoice(status)['id']}"
    # The status would be refused too: what is no draft is said first.
    for body in (change, change | {"status": "draft"}):
        check_problem(api.patch(path, body), "not_draft", path)


@pytest.mark.parametrize("status", STATUSES)
def test_only_a_draft_is_deleted(api: Api, status: str) -> None:
    path = f"/v1/invoices/{api.invoice(status)['id']}"
    answer = api.send("DELETE", path)
    if status != "draft":
        check_problem(answer, "not_draft", path)
        api.done(api.send("GET", path), 200)
        return
    api.done(answer, 204)
    for method in ("GET", "DELETE"):
        check_problem(api.send(method, path), "not_found", path, detail=NO_INVOICE)


def test_a_subscription_is_deleted_unless_it_has_invoices(api: Api) -> None:
    subscription = api.subscription()
    path = f"/v1/subscriptions/{subscription['id']}"
    invoice = api.invoice("draft", subscription_id=subscription["id"])
    check_problem(api.send("DELETE", path), "has_invoices", path)
    api.done(api.send("DELETE", f"/v1/invoices/{invoice['id']}"), 204)
    api.done(api.send("DELETE", path), 204)
    check_problem(api.send("DELETE", path), "not_found", path, detail=NO_SUBSCRIPTION)


def test_an_invoice_needs_a_subscription_of_the_account(api: Api, stranger: Api) -> None:
    for subscription in (str(uuid4()), stranger.subscription()["id"]):
        body = {"subscription_id": subscription, "amount_cents": 1, "currency": "EUR"}
        answer = api.send("POST", "/v1/invoices", body)
        errors = [("subscription_id", "is none of your subscriptions")]
        check_problem(answer, "invalid", "/v1/invoices", errors=errors)


def test_a_token_of_no_account_creates_nothing(target: Target) -> None:
    nobody = target.as_account(str(uuid4()))
    answer = nobody.send("POST", "/v1/subscriptions", SUBSCRIPTION)
    check_problem(answer, "forbidden", "/v1/subscriptions")
    assert nobody.get("/v1/subscriptions") == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("path", "detail"), [("/v1/subscriptions", NO_SUBSCRIPTION), ("/v1/invoices", NO_INVOICE)]
)
def test_what_is_not_there_is_not_found(api: Api, path: str, detail: str) -> None:
    path = f"{path}/{uuid4()}"
    body = {"status": "active" if "subscr" in path else "open"}
    check_problem(api.send("GET", path), "not_found", path, detail=detail)
    check_problem(api.patch(path, body), "not_found", path, detail=detail)
    check_problem(api.send("DELETE", path), "not_found", path, detail=detail)
