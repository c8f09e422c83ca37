"""The statement of a subscription, beside the same sums in Python."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg

from tests.contract.api import Api
from tests.contract.rig import TEST_SEED

KEYS = [
    *("month", "invoices", "billed_cents", "paid_cents", "balance_cents", "rank"),
    *("account_invoices", "account_billed_cents"),
]


class Invoice(NamedTuple):
    """What the statement sums up."""

    subscription: str
    status: str
    amount_cents: int
    currency: str
    created_at: datetime

    @property
    def month(self) -> str:
        return f"{self.created_at:%Y-%m}"


def expected(invoices: Iterable[Invoice], subscription: str, currency: str) -> list[Any]:
    """The months of a subscription, from all the account's invoices."""
    counted = [i for i in invoices if i.currency == currency and i.status in ("open", "paid")]
    billed: dict[tuple[str, str], int] = {}
    for invoice in counted:
        place = (invoice.subscription, invoice.month)
        billed[place] = billed.get(place, 0) + invoice.amount_cents
    months, balance = [], 0
    for month in sorted(month for owner, month in billed if owner == subscription):
        all_in_month = [invoice for invoice in counted if invoice.month == month]
        own = [invoice for invoice in all_in_month if invoice.subscription == subscription]
        sums = [total for (_, at), total in billed.items() if at == month]
        total = billed[subscription, month]
        paid = sum(invoice.amount_cents for invoice in own if invoice.status == "paid")
        balance += total - paid
        row = (month, len(own), total, paid, balance, 1 + sum(other > total for other in sums))
        account = (len(all_in_month), sum(invoice.amount_cents for invoice in all_in_month))
        months.append(dict(zip(KEYS, (*row, *account), strict=True)))
    return months


def _insert(api: Api, invoices: Iterable[Invoice]) -> None:
    with psycopg.connect(api.target.behind().database_url) as connection:
        for invoice in invoices:
            connection.execute(
                "INSERT INTO invoices (id, account_id, subscription_id, status, amount_cents,"
                " currency, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [str(uuid4()), api.account, *invoice],
            )


def test_the_months_are_summed_ranked_and_added_up(api: Api, stranger: Api) -> None:
    print(f"BAKEOFF_SEED={TEST_SEED}")
    draw = random.Random(TEST_SEED)
    subscriptions = [api.subscription()["id"] for _ in range(4)]
    began = datetime(2025, 11, 1, tzinfo=UTC)
    ends = [timedelta(0), timedelta(days=30, hours=23, minutes=59, seconds=59)]
    invoices = [
        Invoice(
            draw.choice(subscriptions),
            draw.choice(["draft", "open", "paid", "void"]),
            draw.choice([100, 200, 300]),  # so that some are of one rank
            draw.choice(["EUR", "EUR", "USD"]),
            began + draw.choice([*ends, timedelta(days=draw.randrange(150))]),
        )
        for _ in range(200)
    ]
    _insert(api, invoices)
    _insert(stranger, [Invoice(stranger.subscription()["id"], "open", 1, "EUR", began)])
    for subscription in subscriptions:
        found = api.get(f"/v1/subscriptions/{subscription}/statement")
        assert list(found) == ["subscription_id", "currency", "months"]
        assert (found["subscription_id"], found["currency"]) == (subscription, "EUR")
        assert found["months"] == expected(invoices, subscription, "EUR")
        assert all(list(month) == KEYS for month in found["months"])


def test_a_subscription_without_invoices_has_no_months(api: Api) -> None:
    made = api.subscription()
    path = f"/v1/subscriptions/{made['id']}/statement"
    empty = {"subscription_id": made["id"], "currency": "EUR", "months": []}
    assert api.get(path) == empty
    api.invoice("draft", subscription_id=made["id"])
    api.invoice("void", subscription_id=made["id"])
    assert api.get(path) == empty


def test_a_sum_may_be_large(api: Api) -> None:
    subscription = api.subscription()["id"]
    for _ in range(3):
        api.invoice("open", subscription_id=subscription, amount_cents=10**12)
    (month,) = api.get(f"/v1/subscriptions/{subscription}/statement")["months"]
    assert month["balance_cents"] == 3 * 10**12
