"""The till: carries charges out, once per idempotency key, whatever process is asked."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor

from protos.payment.v1.payment_pb2 import CreatePaymentRequest, Payment
from stub_payment.ledger import Charge, Ledger
from stub_payment.payments import payment_id_of_key, payment_of_outcome
from stub_payment.refusal import INTERNAL, INVALID_ARGUMENT, Refusal

TEXT_LENGTHS = range(1, 256)


class Till:
    """Writes into a ledger from a thread of its own, where waiting holds up nobody else."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")

    async def execute(self, request: CreatePaymentRequest, decline: bool = False) -> Payment:
        """The key's payment: its first, or else a new one, charged or declined.

        Raises Refusal for a request that makes no sense, a key that had other fields, or a
        ledger that fails.
        """
        asked = _charge_asked(request)
        settle = self._ledger.decline if decline else self._ledger.charge
        try:
            first = await asyncio.get_running_loop().run_in_executor(self._thread, settle, asked)
        except sqlite3.Error as error:
            raise Refusal(INTERNAL, f"the ledger of charges failed: {error}") from error
        if first.charge != asked:
            raise Refusal(
                INVALID_ARGUMENT,
                "idempotency_key: used before with another invoice, amount or currency",
            )
        return payment_of_outcome(first)

    def close(self) -> None:
        """Waits for the charge that is being written, drops those that wait."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def check_text(field: str, text: str) -> None:
    """Raises Refusal for a text that is empty or too long."""
    if len(text) not in TEXT_LENGTHS:
        raise Refusal(INVALID_ARGUMENT, f"{field}: has to have 1 to {TEXT_LENGTHS[-1]} characters")


def _charge_asked(request: CreatePaymentRequest) -> Charge:
    check_text("idempotency_key", request.idempotency_key)
    check_text("invoice_id", request.invoice_id)
    if request.amount_cents <= 0:
        raise Refusal(INVALID_ARGUMENT, "amount_cents: has to be above 0")
    currency = request.currency
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise Refusal(INVALID_ARGUMENT, "currency: has to be three capital letters")
    return Charge(
        idempotency_key=request.idempotency_key,
        invoice_id=request.invoice_id,
        payment_id=payment_id_of_key(request.idempotency_key),
        amount_cents=request.amount_cents,
        currency=currency,
    )
