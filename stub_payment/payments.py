"""What the provider answers: payments derived from their invoice or their charge."""

import struct
from binascii import hexlify
from hashlib import blake2b

from protos.payment.v1.payment_pb2 import (
    PAYMENT_STATUS_DECLINED,
    PAYMENT_STATUS_PENDING,
    PAYMENT_STATUS_SUCCEEDED,
    Payment,
    PaymentStatus,
)
from stub_payment.ledger import Outcome

AMOUNTS_FROM_CENTS = 100
AMOUNTS = 100_000
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
    payment = Payment()  # its fields one by one: a tenth cheaper
    payment.payment_id = "pay_" + digest.hex()
    payment.invoice_id = invoice_id
    payment.status = _STATUS_OF_BYTE[status]
    payment.amount_cents = AMOUNTS_FROM_CENTS + number % AMOUNTS
    payment.currency = _CURRENCY_OF_BYTE[currency]
    payment.updated_at_unix_ms = FIRST_UPDATE_UNIX_MS + number % UPDATES_SPAN_MS
    return payment


def encoded_payment(request: bytes) -> bytes | None:
    """`payment_of_invoice` from an encoded GetPaymentRequest to an encoded Payment.

    It takes the requests of a load, with an invoice of 36 ASCII characters and nothing else; None
    for others, and for the one payment in 3,500 that is under 128 cents. A third cheaper than two
    messages, whose memory comes and goes with each call.
    """
    if len(request) != _REQUEST_BYTES or not request.startswith(_TO_INVOICE):
        return None
    invoice_id = request[len(_TO_INVOICE) :]
    if not invoice_id.isascii():
        return None
    hashed = _UNHASHED.copy()
    hashed.update(invoice_id)
    digest = hashed.digest()
    number, status, currency = _read_digest(digest)
    amount_cents = AMOUNTS_FROM_CENTS + number % AMOUNTS
    updated_ms = FIRST_UPDATE_UNIX_MS + number % UPDATES_SPAN_MS
    if amount_cents < _LEAST_OF_TWO_DIGITS:
        return None
    payment_id = _TO_PAYMENT_ID + hexlify(digest) + _TO_INVOICE_ID
    to_amount, to_update = _TO_AMOUNT_OF_BYTE[status], _TO_UPDATE_OF_BYTE[currency]
    # Numbers go in base 128, the lowest digit first, and all but the last have the upper bit.
    amount = (amount_cents & _TWO_DIGITS) + (amount_cents & _UPPER_DIGIT) | _MORE_AFTER_LOWER
    low, middle, high = updated_ms & _TWO_DIGITS, updated_ms >> 14 & _TWO_DIGITS, updated_ms >> 28
    low = low + (low & _UPPER_DIGIT) | _MORE_AFTER_BOTH
    middle = middle + (middle & _UPPER_DIGIT) | _MORE_AFTER_BOTH
    high = high + (high & _UPPER_DIGIT) | _MORE_AFTER_LOWER
    if amount_cents <= _TWO_DIGITS:
        return _pack_short(payment_id, invoice_id, to_amount, amount, to_update, low, middle, high)
    amount |= _MORE_AFTER_BOTH
    last = amount_cents >> 14
    return _pack(payment_id, invoice_id, to_amount, amount, last, to_update, low, middle, high)


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

# A Payment as it is encoded, field by field; see protos/payment/v1/payment.proto.
_TO_INVOICE = b"\n\x24"
_REQUEST_BYTES = len(_TO_INVOICE) + 36
_TO_PAYMENT_ID, _TO_INVOICE_ID = b"\n\x24pay_", b"\x12\x24"
_TO_AMOUNT_OF_BYTE = [b"\x18%c\x20" % status for status in _STATUS_OF_BYTE]
_TO_UPDATE_OF_BYTE = [b"*\x03%b\x30" % currency.encode() for currency in _CURRENCY_OF_BYTE]
_pack_short = struct.Struct("<40s36s3sH6s3H").pack
_pack = struct.Struct("<40s36s3sHB6s3H").pack
# Of numbers in base 128: two digits, the upper of which moves up by one bit when they are encoded.
_LEAST_OF_TWO_DIGITS = 0x80
_TWO_DIGITS, _UPPER_DIGIT = 0x3FFF, 0x3F80
_MORE_AFTER_LOWER, _MORE_AFTER_BOTH = 0x0080, 0x8080
