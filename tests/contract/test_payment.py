"""`GET /v1/invoices/{id}/payment`, the measured request."""

from datetime import UTC, datetime

import pytest

from protos.payment.v1.payment_pb2 import PaymentStatus
from stub_payment.payments import payment_of_invoice
from tests.contract.api import Api

KEYS = [*("invoice_id", "status", "amount_cents", "currency", "created_at"), "subscription"]


@pytest.mark.parametrize("status", ["draft", "open", "paid", "void"])
def test_an_invoice_its_subscription_and_its_payment(api: Api, status: str) -> None:
    invoice = api.invoice(status)
    subscription = api.get(f"/v1/subscriptions/{invoice['subscription_id']}")
    found = api.get(f"/v1/invoices/{invoice['id']}/payment")
    assert list(found) == [*KEYS, "payment"]
    assert found["subscription"] == {key: subscription[key] for key in ("id", "plan", "status")}
    assert list(found["subscription"]) == ["id", "plan", "status"]
    assert {key: found[key] for key in KEYS[1:5]} == {key: invoice[key] for key in KEYS[1:5]}
    assert found["invoice_id"] == invoice["id"]
    assert list(found["payment"]) == ["id", "status", "amount_cents", "currency", "updated_at"]


def test_the_payment_is_the_provider_s(api: Api) -> None:
    api.target.behind()
    for _ in range(20):  # of all three statuses, by chance
        invoice = api.invoice("draft")["id"]
        theirs = payment_of_invoice(invoice)
        at = datetime.fromtimestamp(theirs.updated_at_unix_ms / 1000, UTC)
        assert api.get(f"/v1/invoices/{invoice}/payment")["payment"] == {
            "id": theirs.payment_id,
            "status": PaymentStatus.Name(theirs.status).removeprefix("PAYMENT_STATUS_").lower(),
            "amount_cents": theirs.amount_cents,
            "currency": theirs.currency,
            "updated_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
