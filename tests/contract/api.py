"""The API as one account sees it: a service, and requests with that account's token."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from bakeoff.rig.payment_stub import StubControl
from bakeoff.rig.tokens import Credentials, mint_tokens
from tests.contract.problems import check_answer
from tests.contract.wire import Answer, Headers, exchange

SUBSCRIPTION = {"plan": "team", "price_cents": 4900, "currency": "EUR"}


@dataclass(frozen=True)
class Rig:
    """What stands around a service that a test started: the ways to look behind the API."""

    database_url: str
    credentials: Credentials
    control: StubControl
    payment_targets: Sequence[str]
    ledger: Path
    log: Path


@dataclass
class Target:
    """A service under test. `rig` is None for one that runs elsewhere; `tokens` by account."""

    name: str
    base_url: str
    tokens: dict[str, str] = field(repr=False)
    rig: Rig | None = None

    def behind(self) -> Rig:
        """The rig; skips the test where there is none."""
        if self.rig is None:
            pytest.skip("needs a rig of its own, not a service that runs elsewhere")
        return self.rig

    def new_account(self) -> "Api":
        """An account without anything. Skips where accounts cannot be made."""
        rig = self.behind()
        account = str(uuid4())
        with psycopg.connect(rig.database_url) as connection:
            connection.execute(
                "INSERT INTO accounts (id, number, name) SELECT %s, max(number) + 1, 'test'"
                " FROM accounts",
                [account],
            )
        return self.as_account(account)

    def as_account(self, account: str) -> "Api":
        """The API with a good token of this account, which need not exist."""
        return Api(self, account, mint_tokens(self.behind().credentials, [account])[account])

    def account(self, number: int) -> "Api":
        """An account of this number: a new one, or one of the tokens that were given."""
        if self.rig is not None:
            return self.new_account()
        account, token = list(self.tokens.items())[number]
        return Api(self, account, token)


@dataclass(frozen=True)
class Api:
    """Requests of one account."""

    target: Target
    account: str
    token: str = field(repr=False)

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Headers = (),
        *,
        token: bool = True,
    ) -> Answer:
        """One request, its answer checked for what every answer has. A body that is not bytes
        goes as JSON, with the content type unless `headers` has one."""
        content = _content(body)
        given = {name.lower() for name, _ in headers}
        more = [("Authorization", f"Bearer {self.token}")] if token else []
        if content is not None and "content-type" not in given:
            more.append(("Content-Type", "application/json"))
        answer = exchange(self.target.base_url, method, path, [*more, *headers], content)
        check_answer(answer, method)
        return answer

    def get(self, path: str) -> Any:
        """The content of a GET that succeeds."""
        return self.done(self.send("GET", path), 200).json

    def subscription(self, **changed: object) -> dict[str, Any]:
        """A new subscription."""
        answer = self.send("POST", "/v1/subscriptions", SUBSCRIPTION | changed)
        created: dict[str, Any] = self.done(answer, 201).json
        return created

    def invoice(self, status: str = "open", **changed: object) -> dict[str, Any]:
        """A new invoice, of a new subscription unless one is named; `paid` and `void` are made
        from an open one."""
        subscription = changed.pop("subscription_id", None) or self.subscription()["id"]
        first = status if status in ("draft", "open") else "open"
        fields = {"subscription_id": subscription, "amount_cents": 4916, "currency": "EUR"}
        body = fields | {"status": first} | changed
        created: dict[str, Any] = self.done(self.send("POST", "/v1/invoices", body), 201).json
        path = f"/v1/invoices/{created['id']}"
        if status == "void":
            self.done(self.patch(path, {"status": "void"}), 200)
        if status == "paid":
            self.done(self.pay(created["id"], str(uuid4())), 200)
        found: dict[str, Any] = self.get(path) if status != first else created
        return found

    def patch(self, path: str, body: object, if_match: str = "*") -> Answer:
        """A PATCH with `If-Match`."""
        return self.send("PATCH", path, body, [("If-Match", if_match)])

    def pay(
        self, invoice: str, key: str, body: object = b"{}", headers: Sequence[tuple[str, str]] = ()
    ) -> Answer:
        """A payment of an invoice under a key."""
        path = f"/v1/invoices/{invoice}/pay"
        return self.send("POST", path, body, [("Idempotency-Key", key), *headers])

    @staticmethod
    def done(answer: Answer, status: int) -> Answer:
        """The answer, which has to have this status."""
        assert answer.status == status, answer
        return answer


def _content(body: object) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body, separators=(",", ":")).encode()
