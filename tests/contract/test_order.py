"""The order of checks: of all that is wrong with a request, the first thing is said."""

import json
from dataclasses import dataclass, replace
from uuid import uuid4

from tests.contract.api import Api
from tests.contract.problems import (
    FIELDS,
    FORM,
    ID,
    KEY,
    NO_INVOICE,
    NO_ROUTE,
    QUERY,
    check_problem,
)
from tests.contract.wire import Answer

TOO_LARGE = 1 << 21


@dataclass(frozen=True)
class Wrong:
    """A request whose parts are put right one after the other."""

    method: str
    path: str
    query: str = "?x"
    token: bool = False
    guard: tuple[tuple[str, str], ...] = ()
    kind: str = "text/plain"
    body: bytes = b"{" + b" " * TOO_LARGE

    def sent(self, api: Api) -> Answer:
        headers = [*self.guard, ("Content-Type", self.kind)]
        return api.send(self.method, self.path + self.query, self.body, headers, token=self.token)


def test_the_order_of_a_patch(api: Api, stranger: Api) -> None:
    own = f"/v1/invoices/{api.invoice('paid')['id']}"
    foreign = f"/v1/invoices/{stranger.invoice()['id']}"
    wrong = Wrong("FOO", "/v1/nothing")
    check_problem(wrong.sent(api), "not_found", wrong.path, detail=NO_ROUTE)
    wrong = replace(wrong, path="/v1/invoices/bad")
    check_problem(wrong.sent(api), "method_not_allowed", wrong.path)
    wrong = replace(wrong, method="PATCH")
    check_problem(wrong.sent(api), "unauthenticated", wrong.path)
    wrong = replace(wrong, token=True)
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=ID)
    wrong = replace(wrong, path=foreign)
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=QUERY)
    wrong = replace(wrong, query="")
    check_problem(wrong.sent(api), "precondition_required", wrong.path)
    wrong = replace(wrong, guard=(("If-Match", '"v0"'),))
    check_problem(wrong.sent(api), "unsupported_media_type", wrong.path)
    wrong = replace(wrong, kind="application/json")
    check_problem(wrong.sent(api), "body_too_large", wrong.path)
    wrong = replace(wrong, body=b'{"status":1,"currency":"x"')
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=FORM)
    wrong = replace(wrong, body=wrong.body + b"}")
    errors = [("status", "has to be a string")]
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=FIELDS, errors=errors)
    wrong = replace(wrong, body=b'{"amount_cents":1,"currency":"x"}')
    errors = [("currency", "is not a known currency")]
    check_problem(wrong.sent(api), "invalid", wrong.path, errors=errors)
    wrong = replace(wrong, body=b'{"amount_cents":1}')
    check_problem(wrong.sent(api), "not_found", wrong.path, detail=NO_INVOICE)
    wrong = replace(wrong, path=own)
    check_problem(wrong.sent(api), "precondition_failed", wrong.path)
    wrong = replace(wrong, guard=(("If-Match", "*"),))
    check_problem(wrong.sent(api), "not_draft", wrong.path)


def test_the_order_of_a_payment(api: Api, stranger: Api) -> None:
    own, foreign = (account.invoice("draft")["id"] for account in (api, stranger))
    wrong = Wrong("POST", "/v1/invoices/bad/pay")
    check_problem(wrong.sent(api), "unauthenticated", wrong.path)
    wrong = replace(wrong, token=True)
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=ID)
    wrong = replace(wrong, path=f"/v1/invoices/{foreign}/pay")
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=QUERY)
    wrong = replace(wrong, query="")
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=KEY)
    wrong = replace(wrong, guard=(("Idempotency-Key", str(uuid4())),))
    check_problem(wrong.sent(api), "unsupported_media_type", wrong.path)
    wrong = replace(wrong, kind="application/json")
    check_problem(wrong.sent(api), "body_too_large", wrong.path)
    wrong = replace(wrong, body=b"[]")
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=FORM)
    wrong = replace(wrong, body=b'{"amount_cents":1}')
    errors = [("", "has a field that this operation does not take")]
    check_problem(wrong.sent(api), "malformed", wrong.path, detail=FIELDS, errors=errors)
    wrong = replace(wrong, body=b"{}")
    check_problem(wrong.sent(api), "not_found", wrong.path, detail=NO_INVOICE)
    wrong = replace(wrong, path=f"/v1/invoices/{own}/pay")
    check_problem(wrong.sent(api), "not_payable", wrong.path)


def test_the_order_of_a_list_and_a_creation(api: Api) -> None:
    path = "/v1/subscriptions"
    check_problem(api.send("GET", f"{path}?x", token=False), "unauthenticated", path)
    big = json.dumps({"plan": 1}).encode() + b" " * TOO_LARGE
    text = [("Content-Type", "text/plain")]
    check_problem(api.send("POST", f"{path}?x", big, text), "malformed", path, detail=QUERY)
    check_problem(api.send("POST", path, big, text), "unsupported_media_type", path)
    check_problem(api.send("POST", path, big), "body_too_large", path)
