"""Another account's data is never seen and never changed, by any operation."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.contract.api import Api
from tests.contract.problems import NO_INVOICE, NO_SUBSCRIPTION, check_problem
from tests.contract.wire import Answer

Call = Callable[[Api, str], Answer]
OF_SUBSCRIPTION: dict[str, Call] = {
    "get": lambda api, path: api.send("GET", path),
    "head": lambda api, path: api.send("HEAD", path),
    "patch": lambda api, path: api.patch(path, {"price_cents": 1}),
    "delete": lambda api, path: api.send("DELETE", path),
    "statement": lambda api, path: api.send("GET", f"{path}/statement"),
}
OF_INVOICE: dict[str, Call] = {
    "get": lambda api, path: api.send("GET", path),
    "head": lambda api, path: api.send("HEAD", path),
    "patch": lambda api, path: api.patch(path, {"status": "void"}),
    "delete": lambda api, path: api.send("DELETE", path),
    "payment": lambda api, path: api.send("GET", f"{path}/payment"),
    "pay": lambda api, path: api.pay(path.rpartition("/")[2], str(uuid4())),
}


def _refused(answer: Answer, call: str, path: str, detail: str) -> None:
    if call == "head":
        assert answer.status == 404
        return
    under = f"{path}/{call}" if call in ("statement", "payment", "pay") else path
    check_problem(answer, "not_found", under, detail=detail)


@pytest.mark.parametrize("call", OF_SUBSCRIPTION)
def test_a_stranger_s_subscription_is_not_found(api: Api, stranger: Api, call: str) -> None:
    path = f"/v1/subscriptions/{api.subscription()['id']}"
    before = api.send("GET", path)
    _refused(OF_SUBSCRIPTION[call](stranger, path), call, path, NO_SUBSCRIPTION)
    after = api.send("GET", path)
    assert (after.body, after.header("etag")) == (before.body, before.header("etag"))


@pytest.mark.parametrize("status", ["draft", "open", "paid"])
@pytest.mark.parametrize("call", OF_INVOICE)
def test_a_stranger_s_invoice_is_not_found(api: Api, stranger: Api, call: str, status: str) -> None:
    path = f"/v1/invoices/{api.invoice(status)['id']}"
    before = api.send("GET", path)
    _refused(OF_INVOICE[call](stranger, path), call, path, NO_INVOICE)
    after = api.send("GET", path)
    assert (after.body, after.header("etag")) == (before.body, before.header("etag"))


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
def test_a_list_has_only_the_account_s_own(api: Api, stranger: Api, resource: str) -> None:
    own = {api.invoice()["subscription_id" if resource == "subscriptions" else "id"]}
    foreign = stranger.invoice()
    listed = api.send("GET", f"/v1/{resource}?limit=100")
    ids = {item["id"] for item in listed.json["items"]}
    assert not ids & {foreign["id"], foreign["subscription_id"]}
    assert own <= ids or listed.json["next"] is not None


def test_a_key_is_the_account_s_own(api: Api, stranger: Api) -> None:
    key = str(uuid4())
    for account in (api, stranger):
        answer = account.pay(account.invoice()["id"], key)
        assert account.done(answer, 200).header("idempotency-replayed") is None


def test_an_answer_to_a_stranger_tells_nothing(api: Api, stranger: Api) -> None:
    """What is another's and what is not there have the same answer, but for its path and id."""
    known = f"/v1/invoices/{api.invoice()['id']}"
    unknown = f"/v1/invoices/{uuid4()}"

    def shown(path: str) -> tuple[object, object]:
        answer = stranger.send("GET", path)
        body = json.loads(answer.body) | {"instance": "", "request_id": ""}
        names = {name for name, _ in answer.headers}
        return body, names

    assert shown(known) == shown(unknown)
