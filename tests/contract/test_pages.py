"""Keyset pages: every row once, whatever is inserted and deleted during the walk."""

import base64
import hashlib
import hmac
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.contract.api import Api
from tests.contract.problems import QUERY, check_problem
from tests.contract.rig import TEST_SEED, scaled

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR_BYTES = 33


class Rows:
    """The rows of one account behind the API: inserted and deleted by SQL, at chosen times."""

    def __init__(self, api: Api, resource: str, connection: psycopg.Connection) -> None:
        self._api = api
        self._resource = resource
        self._connection = connection
        self._subscription = ""
        if resource == "invoices":
            self._subscription = api.subscription()["id"]

    def insert(self, created_at: datetime) -> str:
        """A new row; its id."""
        made = str(uuid4())
        if self._resource == "subscriptions":
            self._connection.execute(
                "INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency,"
                " created_at) VALUES (%s, %s, 'team', 'active', 1, 'EUR', %s)",
                [made, self._api.account, created_at],
            )
        else:
            self._connection.execute(
                "INSERT INTO invoices (id, account_id, subscription_id, status, amount_cents,"
                " currency, created_at) VALUES (%s, %s, %s, 'draft', 1, 'EUR', %s)",
                [made, self._api.account, self._subscription, created_at],
            )
        return made

    def delete(self, row: str) -> None:
        self._connection.execute(
            "DELETE FROM subscriptions WHERE id = %s"
            if self._resource == "subscriptions"
            else "DELETE FROM invoices WHERE id = %s",
            [row],
        )


def _page(api: Api, resource: str, limit: int, after: str | None) -> dict[str, Any]:
    query = f"limit={limit}" + (f"&after={after}" if after else "")
    answer = api.send("GET", f"/v1/{resource}?{query}")
    page: dict[str, Any] = api.done(answer, 200).json
    assert list(page) == ["items", "next"]
    assert len(page["items"]) <= limit
    # A page that is not full is the last one.
    assert page["next"] is None or len(page["items"]) == limit
    return page


def _walk_among_changes(api: Api, resource: str, rows: Rows, draw: random.Random) -> None:
    times = [BEGAN + timedelta(microseconds=draw.randrange(6)) for _ in range(draw.randrange(30))]
    there = {rows.insert(time) for time in times}
    throughout, seen, after = set(there), list[tuple[str, str]](), None
    while True:
        page = _page(api, resource, draw.randrange(1, 8), after)
        seen += [(item["created_at"], item["id"]) for item in page["items"]]
        after = page["next"]
        if after is None:
            break
        for _ in range(draw.randrange(4)):
            if there and draw.random() < 0.5:
                # Also the row that the cursor names.
                row = seen[-1][1] if draw.random() < 0.3 else draw.choice(sorted(there))
                rows.delete(row)
                there.discard(row)
                throughout.discard(row)
            else:
                there.add(rows.insert(BEGAN + timedelta(microseconds=draw.randrange(6))))
    ids = [row for _, row in seen]
    assert len(ids) == len(set(ids)), "a row came twice"
    assert throughout <= set(ids), "a row that was there throughout did not come"
    assert seen == sorted(seen), "the order is not (created_at, id)"


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
def test_a_walk_among_changes_sees_every_row_once(api: Api, resource: str) -> None:
    print(f"BAKEOFF_SEED={TEST_SEED}")
    draw = random.Random(TEST_SEED)
    with psycopg.connect(api.target.behind().database_url, autocommit=True) as connection:
        for _ in range(scaled(500)):
            account = api.target.new_account()
            _walk_among_changes(account, resource, Rows(account, resource, connection), draw)


def test_the_last_page_says_so(api: Api) -> None:
    api.target.behind()  # else the account is not new
    assert api.get("/v1/subscriptions") == {"items": [], "next": None}
    made = [api.subscription() for _ in range(4)]
    assert api.get("/v1/subscriptions?limit=4") == {"items": made, "next": None}
    page = _page(api, "subscriptions", 3, None)
    assert page["items"] == made[:3]
    assert _page(api, "subscriptions", 1, page["next"]) == {"items": made[3:], "next": None}


def test_a_page_has_twenty_items_unless_it_is_said(api: Api) -> None:
    api.target.behind()
    made = [api.subscription() for _ in range(21)]
    page = api.get("/v1/subscriptions")
    assert (page["items"], page["next"] is None) == (made[:20], False)
    assert api.get("/v1/subscriptions?limit=100") == {"items": made, "next": None}


def test_limit_and_after_may_change_places(api: Api) -> None:
    for _ in range(3):
        api.subscription()
    after = _page(api, "subscriptions", 1, None)["next"]
    first, second = (
        api.send("GET", f"/v1/subscriptions?{query}").body
        for query in (f"limit=1&after={after}", f"after={after}&limit=1")
    )
    assert first == second


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
def test_a_cursor_is_what_the_contract_says(api: Api, resource: str) -> None:
    secret = api.target.behind().credentials.secret
    for _ in range(2):
        api.invoice()
    page = _page(api, resource, 1, None)
    item = page["items"][0]
    assert len(page["next"]) == 44
    raw = base64.urlsafe_b64decode(page["next"])
    assert len(raw) == CURSOR_BYTES
    micros = (datetime.fromisoformat(item["created_at"]) - EPOCH) // timedelta(microseconds=1)
    place = micros.to_bytes(8, "big") + UUID(item["id"]).bytes
    assert raw[:24] == place
    text = f"bakeoff cursor 1\n{resource}\n{api.account}\n".encode() + place
    assert raw[24:] == hmac.new(secret.encode(), text, hashlib.sha256).digest()[:9]


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
def test_a_cursor_of_somebody_else_or_forged_is_refused(
    api: Api, stranger: Api, resource: str
) -> None:
    for account in (api, stranger):
        for _ in range(2):
            account.invoice()
    other = "invoices" if resource == "subscriptions" else "subscriptions"
    good = _page(api, resource, 1, None)["next"]
    raw = base64.urlsafe_b64decode(good)
    forged = [
        base64.urlsafe_b64encode(raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]).decode()
        for index in range(CURSOR_BYTES)
    ]
    foreign = [_page(api, other, 1, None)["next"], _page(stranger, resource, 1, None)["next"]]
    spelt = [good[:-1], good + "A", good + "=", good[:-1] + "+", good[:-1] + "/", good[:-1] + "%41"]
    path = f"/v1/{resource}"
    for cursor in [*forged, *foreign, *spelt]:
        if cursor == good:
            continue
        answer = api.send("GET", f"{path}?after={cursor}")
        check_problem(answer, "malformed", path, detail=QUERY)
    assert _page(api, resource, 1, good)["items"]
