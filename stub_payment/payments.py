"""What the provider answers: payments derived from their invoice or their charge.

Of an invoice's digest, all 16 bytes are the payment's id. The first chooses the status, the second
the currency and the amount's upper digit; others are digits as they are: numbers are encoded in
base 128, the lowest digit first, and all but the last digit have the upper bit.
"""

from binascii import hexlify
from collections.abc import Iterable
from hashlib import blake2b

from protos.payment.v1.payment_pb2 import (
    PAYMENT_STATUS_DECLINED,
    PAYMENT_STATUS_PENDING,
    PAYMENT_STATUS_SUCCEEDED,
    Payment,
    PaymentStatus,
)
from stub_payment.ledger import Outcome

AMOUNTS_UPPER_DIGITS = 7  # 1 to 7: amounts of 16,384 to 131,071 cents
UPPER_DIGIT_OF_UPDATE = 50
FIRST_UPDATE_UNIX_MS = UPPER_DIGIT_OF_UPDATE << 35  # 2024-06-10, the last 398 days later
UPDATES_SPAN_MS = 1 << 35
CURRENCIES = ("EUR", "USD", "GBP")
SUCCEEDED_PERCENT = 94
PENDING_PERCENT = 3
_UNHASHED = blake2b(digest_size=16)  # to be copied: cheaper than a new one with a size


def payment_of_invoice(invoice_id: str) -> Payment:
    """The payment of an invoice: every field follows from the invoice's id."""
    digest = blake2b(invoice_id.encode(), digest_size=16).digest()
    upper_of_amount = bytes([_UPPER_DIGIT_OF_BYTE[digest[1]]])
    payment = Payment()  # its fields one by one: a tenth cheaper
    payment.payment_id = "pay_" + digest.hex()
    payment.invoice_id = invoice_id
    payment.status = _STATUS_OF_BYTE[digest[0]]
    payment.amount_cents = _number(digest[2:4] + upper_of_amount)
    payment.currency = _CURRENCY_OF_BYTE[digest[1]]
    payment.updated_at_unix_ms = FIRST_UPDATE_UNIX_MS + _number(digest[4:9])
    return payment


def encoded_payment(request: bytes) -> bytes | None:
    """`payment_of_invoice` from an encoded GetPaymentRequest to an encoded Payment.

    It takes the requests of a load, with an invoice of 36 ASCII characters and nothing else; None
    for others. Two thirds cheaper than two messages, whose memory comes and goes with each call.
    """
    if len(request) != _REQUEST_BYTES or not request.startswith(_TO_INVOICE):
        return None
    invoice_id = request[len(_TO_INVOICE) :]
    if not invoice_id.isascii():
        return None
    hashed = _UNHASHED.copy()
    hashed.update(invoice_id)
    digest = hashed.digest()
    digits = digest.translate(_WITH_UPPER_BIT)
    return b"".join(
        (
            _TO_PAYMENT_ID,
            hexlify(digest),
            _TO_INVOICE_ID,
            invoice_id,
            _TO_AMOUNT_OF_BYTE[digest[0]],
            digits[2:4],
            _TO_UPDATE_OF_BYTE[digest[1]],
            digits[4:9],
            _END,
        )
    )


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


def _number(digits: bytes) -> int:
    """Of digits in base 128, the lowest first, whatever their upper bits."""
    return sum((digit & 0x7F) << 7 * place for place, digit in enumerate(digits))


def _one_of_each(values: Iterable[bytes]) -> list[bytes]:
    """The same values; equal ones are one object, of which the processor's caches need less."""
    known: dict[bytes, bytes] = {}
    return [known.setdefault(value, value) for value in values]


# Looked up, as every call of a load asks for them.
_STATUS_OF_BYTE = [_status(byte * 100 // 256) for byte in range(256)]
_CURRENCY_OF_BYTE = [CURRENCIES[byte % len(CURRENCIES)] for byte in range(256)]
_UPPER_DIGIT_OF_BYTE = [1 + byte // len(CURRENCIES) % AMOUNTS_UPPER_DIGITS for byte in range(256)]

# A Payment as it is encoded, field by field; see protos/payment/v1/payment.proto.
_TO_INVOICE = b"\n\x24"
_REQUEST_BYTES = len(_TO_INVOICE) + 36
_TO_PAYMENT_ID, _TO_INVOICE_ID = b"\n\x24pay_", b"\x12\x24"
_TO_AMOUNT_OF_BYTE = _one_of_each(b"\x18%c\x20" % status for status in _STATUS_OF_BYTE)
# From the upper digit of the amount on.
_TO_UPDATE_OF_BYTE = _one_of_each(
    b"%c*\x03%b\x30" % (upper, currency.encode())
    for upper, currency in zip(_UPPER_DIGIT_OF_BYTE, _CURRENCY_OF_BYTE, strict=True)
)
_END = bytes([UPPER_DIGIT_OF_UPDATE])
_WITH_UPPER_BIT = bytes(byte | 0x80 for byte in range(256))
