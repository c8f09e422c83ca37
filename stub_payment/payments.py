"""What the provider answers: payments derived from their invoice or their charge."""

import struct
from hashlib import blake2b

from protos.payment.v1.payment_pb2 import (
    PAYMENT_STATUS_DECLINED,
    PAYMENT_STATUS_PENDING,
    PAYMENT_STATUS_SUCCEEDED,
    Payment,
    PaymentStatus,
)
from stub_payment.ledger import Outcome

FIRST_UPDATE_UNIX_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
UPDATES_SPAN_MS = 365 * 24 * 3600 * 1000
CURRENCIES = ("EUR", "USD", "GBP")
SUCCEEDED_PERCENT = 94
PENDING_PERCENT = 3
_UNHASHED = blake2b(digest_size=16)  # to be copied: cheaper than a new one with a size
# A number, and the bytes that choose the status and the currency.
_read_digest = struct.Struct(">QBB6x").unpack


def payment_of_invoice(invoice_id: str) -> Payment:
    """The payment of an invoice: every field follows from the invoice's id."""
    hashed = _UNHASHED.copy()
    hashed.update(invoice_id.encode())
    digest = hashed.digest()
    number, status, currency = _read_digest(digest)
    payment = Payment()  # its fields one by one: a tenth cheaper, and every call of a load comes by
    payment.payment_id = "pay_" + digest.hex()
    payment.invoice_id = invoice_id
    payment.status = _STATUS_OF_BYTE[status]
    payment.amount_cents = 100 + number % 100_000
    payment.currency = _CURRENCY_OF_BYTE[currency]
    payment.updated_at_unix_ms = FIRST_UPDATE_UNIX_MS + number % UPDATES_SPAN_MS
    return payment


def payment_of_outcome(outcome: Outcome) -> Payment:
    """The payment that a charge came to: every field follows from the ledger's row."""
    charge = outcome.charge
    digest = blake2b(charge.idempotency_key.encode(), digest_size=8).digest()
    return Payment(
        payment_id=charge.payment_id,
        invoice_id=charge.invoice_id,
        status=PAYMENT_STATUS_DECLINED if outcome.declined else PAYMENT_STATUS_SUCCEEDED,
        amount_cents=charge.amount_cents,
        currency=charge.currency,
        updated_at_unix_ms=FIRST_UPDATE_UNIX_MS + int.from_bytes(digest, "big") % UPDATES_SPAN_MS,
        idempotency_key=charge.idempotency_key,
    )


def payment_id_of_key(idempotency_key: str) -> str:
    """The id of the payment that a charge with this key makes: one key, one payment."""
    return "pay_" + blake2b(b"key:" + idempotency_key.encode(), digest_size=16).hexdigest()


def _status(percentile: int) -> PaymentStatus:
    if percentile < SUCCEEDED_PERCENT:
        return PAYMENT_STATUS_SUCCEEDED
    if percentile < SUCCEEDED_PERCENT + PENDING_PERCENT:
        return PAYMENT_STATUS_PENDING
    return PAYMENT_STATUS_DECLINED


# Looked up, as every call of a load asks for them.
_STATUS_OF_BYTE = [_status(byte * 100 // 256) for byte in range(256)]
_CURRENCY_OF_BYTE = [CURRENCIES[byte % len(CURRENCIES)] for byte in range(256)]
