"""The same random requests to both services: the same answers, but for ids and times."""

import random
import re
from collections.abc import Callable
from uuid import UUID

import pytest

from tests.contract.api import Api, Target
from tests.contract.rig import TEST_SEED, scaled
from tests.contract.wire import Answer

# Every header but those of the connection.
IGNORED = {"date", "connection", "keep-alive"}
OWN = re.compile(
    r"pay_[0-9a-f]{32}"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r'|(?<="next":")[\w-]{44}'
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")
CURRENCIES = ["EUR", "USD", "JPY", "XXX", "eur", 1, None]
INTEGERS = [0, 1, -1, 4900, 10**12, 10**12 + 1, 2**63, 1.5, "1", None, True]


class Side:
    """One of the services, with what it made so far in the order of making."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.made: dict[str, list[str]] = {"subscriptions": [], "invoices": []}
        self.cursor = ""
        self._names: dict[str, str] = {}

    def send(self, request: "Request") -> tuple[int, list[tuple[str, str]], str]:
        """What is compared of an answer."""
        answer = request(self)
        if answer.status == 201:
            location = answer.header("location") or ""
            self.made[location.split("/")[2]].append(location.rpartition("/")[2])
        if found := re.search(rb'"next":"([\w-]+)"', answer.body):
            self.cursor = found[1].decode()
        headers = [(name, self._masked(value)) for name, value in answer.headers]
        kept = sorted(pair for pair in headers if pair[0] not in IGNORED)
        return answer.status, kept, self._masked(answer.body.decode())

    def _masked(self, text: str) -> str:
        named = OWN.sub(lambda found: self._names.setdefault(found[0], self._next()), text)
        return TIME.sub("<time>", named)

    def _next(self) -> str:
        return f"<{len(self._names)}>"


Request = Callable[[Side], Answer]


class Script:
    """Draws requests; each is then sent by both sides, with the ids of its own."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._number = 0

    def next(self) -> Request:
        """A request; all choices are made here, so that both sides do the same."""
        self._number += 1
        kinds = [self._create, self._create, self._patch, self._patch, self._read, self._list]
        return self._draw.choice([*kinds, self._delete, self._pay, self._odd])()

    def _headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        return [("X-Request-Id", f"request-{self._number}"), *more]

    def _one(self, resource: str) -> Callable[[Side], str]:
        """One of those that were made, mostly a late one, or an id of nothing."""
        back, nothing = self._draw.randrange(1, 9), str(UUID(int=self._draw.getrandbits(128)))
        unknown = self._draw.random() < 0.05

        def found(side: Side) -> str:
            made = side.made[resource]
            return nothing if unknown or not made else made[-min(back, len(made))]

        return found

    def _resource(self) -> str:
        return self._draw.choice(["subscriptions", "invoices", "invoices"])

    def _some(self, *fields: tuple[str, object]) -> dict[str, object]:
        return {name: value for name, value in fields if self._draw.random() < 0.7}

    def _money(self, good: bool) -> tuple[object, object]:
        if good:
            return self._draw.randrange(1, 10_000), "EUR"
        return self._draw.choice(INTEGERS), self._draw.choice(CURRENCIES)

    def _create(self) -> Request:
        good = self._draw.random() < 0.7
        amount, currency = self._money(good)
        headers = self._headers()
        if self._resource() == "subscriptions":
            body = {"plan": "team", "price_cents": amount, "currency": currency}
            body = body if good else self._some(*body.items(), ("x", 1), ("status", "active"))
            return lambda side: side.api.send("POST", "/v1/subscriptions", body, headers)
        subscription, status = self._one("subscriptions"), self._draw.choice(["draft", "open"])
        fields = {"status": status, "amount_cents": amount, "currency": currency}
        rest = fields if good else self._some(*fields.items(), ("status", "paid"))

        def request(side: Side) -> Answer:
            body = {"subscription_id": subscription(side), **rest}
            return side.api.send("POST", "/v1/invoices", body, headers)

        return request

    def _patch(self) -> Request:
        resource, good = self._resource(), self._draw.random() < 0.7
        one, (amount, currency) = self._one(resource), self._money(good)
        match = self._draw.choice(["*", "*", '"v1"', '"v2"', "v1", 'W/"v1"', ""])
        headers = self._headers(*([("If-Match", match)] if self._draw.random() < 0.9 else []))
        if resource == "subscriptions":
            status = self._draw.choice(["active", "past_due", "canceled", "paid"])
            body = self._some(("plan", "business"), ("price_cents", amount), ("status", status))
        else:
            status = self._draw.choice(["draft", "open", "void", "paid"])
            body = self._some(("status", status), ("amount_cents", amount), ("currency", currency))
        return lambda side: side.api.send("PATCH", f"/v1/{resource}/{one(side)}", body, headers)

    def _read(self) -> Request:
        resource, method = self._resource(), self._draw.choice(["GET", "GET", "HEAD", "OPTIONS"])
        one, match = self._one(resource), self._draw.choice(['"v1"', '"v2"', "*", "x"])
        headers = self._headers(*([("If-None-Match", match)] if self._draw.random() < 0.5 else []))
        under = self._draw.choice(["", "", "/statement" if resource == "subscriptions" else ""])
        return lambda side: side.api.send(
            method, f"/v1/{resource}/{one(side)}{under}", None, headers
        )

    def _list(self) -> Request:
        resource, headers = self._resource(), self._headers()
        limit = self._draw.choice(["1", "2", "5", "100", "0", "101", "x"])
        queries = ["", f"?limit={limit}", f"?limit={limit}&after=", "?limit=3&after=CURSOR"]
        query = self._draw.choice(queries)
        return lambda side: side.api.send(
            "GET", f"/v1/{resource}{query.replace('CURSOR', side.cursor)}", None, headers
        )

    def _delete(self) -> Request:
        resource = self._resource()
        one, match = self._one(resource), self._draw.choice(["*", '"v1"', '"v9"'])
        headers = self._headers(*([("If-Match", match)] if self._draw.random() < 0.5 else []))
        return lambda side: side.api.send("DELETE", f"/v1/{resource}/{one(side)}", None, headers)

    def _pay(self) -> Request:
        one, key = self._one("invoices"), self._draw.choice(["a", "b", f"key-{self._number}", "é"])
        body, headers = self._draw.choice([b"{}", b"{}", b"{ }", b'{"x":1}']), self._headers()
        return lambda side: side.api.pay(one(side), key, body, headers)

    def _odd(self) -> Request:
        method = self._draw.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
        paths = ["/", "/v1", "/v1/invoices/", "/v1/invoices/x", "/v1/invoices/x/pay", "/v1/x?y"]
        path, token = self._draw.choice([*paths, "/v1/invoices?limit"]), self._draw.random() < 0.8
        kind = [("Content-Type", self._draw.choice(["application/json", "text/plain", "x"]))]
        body = self._draw.choice([None, b"{}", b"[", b"\xff", b'{"plan":1,"plan":1}'])
        headers = self._headers(*(kind if body is not None else []))
        return lambda side: side.api.send(method, path, body, headers, token=token)


@pytest.mark.timeout(3600)
def test_both_answer_alike(pair: tuple[Target, Target]) -> None:
    print(f"BAKEOFF_SEED={TEST_SEED}")
    script = Script(random.Random(TEST_SEED))
    sides = [Side(target.new_account()) for target in pair]
    for number in range(scaled(20_000)):
        request = script.next()
        first, second = (side.send(request) for side in sides)
        assert first == second, f"request {number} of seed {TEST_SEED}"
    assert all(side.made["invoices"] for side in sides)
