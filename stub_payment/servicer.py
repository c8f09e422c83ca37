"""The provider itself, behind any engine: counts, plans, answers and charges.

An engine calls `get_payment` or `create_payment` with a decoded message and
gets either the answer, at once, or something to await. Refusal means a gRPC
status, ResetConnection that the engine closes the caller's connection.
"""

import asyncio
import contextlib
import os
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

from protos.payment.v1.payment_pb2 import (
    Behaviour,
    Counters,
    CreatePaymentRequest,
    GetPaymentRequest,
    Payment,
)
from stub_payment.behaviour import DealtFault, Dice, Plan, dice_for
from stub_payment.ledger import Charge, Ledger
from stub_payment.payments import payment_id_of_key, payment_of_charge, payment_of_invoice
from stub_payment.tally import Tally

OK = 0
INVALID_ARGUMENT = 3
INTERNAL = 13
UNAVAILABLE = 14
MAXIMUM_TEXT_LENGTH = 255


class Refusal(Exception):
    """A call ends with this gRPC status instead of a payment."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ResetConnection(Exception):
    """The fault `reset`: the engine closes the connection without an answer."""


class Servicer:
    """The state of one serving process. Lives in one event loop; owns nothing of an engine."""

    def __init__(self, ledger: Ledger, process_index: int) -> None:
        self._ledger = ledger
        self._process_index = process_index
        # SQLite waits for other processes; in a thread of its own it holds up nobody else.
        self._ledger_thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._tally = Tally()
        self._dice: Dice | None = None
        self._request_ids: deque[str] = deque(maxlen=0)
        self._in_flight = 0
        self._draining = False
        self._idle = asyncio.Event()
        self.remembers_request_ids = False

    def get_payment(
        self, request: GetPaymentRequest, request_id: str | None = None
    ) -> Payment | Awaitable[Payment]:
        """The payment of an invoice. Raises Refusal, or its awaitable does."""
        tally, plan = self._begin("GetPayment", request_id)
        if plan is not None:
            return self._get_later(request, tally, plan)
        try:
            payment = _found(request)
        except Refusal as refusal:
            tally.answers[refusal.code] += 1
            raise
        tally.answers[OK] += 1
        return payment

    def create_payment(
        self, request: CreatePaymentRequest, request_id: str | None = None
    ) -> Awaitable[Payment]:
        """Charges once per idempotency key, also when the caller gives up meanwhile."""
        tally, plan = self._begin("CreatePayment", request_id)
        return self._create_later(request, tally, plan or Plan(0.0, None))

    def configure(self, behaviour: Behaviour) -> None:
        """Replaces the behaviour; it must have passed `check_behaviour`."""
        self._dice = dice_for(behaviour, self._process_index)
        self._request_ids = deque(self._request_ids, behaviour.remember_request_ids)
        self.remembers_request_ids = behaviour.remember_request_ids > 0

    def reset(self) -> None:
        """Zeroes what was counted and remembered; the behaviour is the default again."""
        self._tally = Tally()
        self._request_ids.clear()
        self.configure(Behaviour())

    def snapshot(self) -> Counters:
        """This process's counters; `charges` is left to the ledger's owner."""
        return Counters(
            calls=self._tally.calls,
            answers=self._tally.answers,
            faults=self._tally.faults,
            calls_in_flight=self._in_flight,
            request_ids=self._request_ids,
            process_cpu_s=[time.process_time()],
            process_ids=[os.getpid()],
        )

    async def drain(self, timeout_s: float) -> None:
        """Refuses new calls and returns when none is in flight, or after `timeout_s`."""
        self._draining = True
        if self._in_flight == 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)

    def close(self) -> None:
        """Waits for the charge that is being written, drops those that wait."""
        self._ledger_thread.shutdown(wait=True, cancel_futures=True)

    def _begin(self, method: str, request_id: str | None) -> tuple[Tally, Plan | None]:
        tally = self._tally
        tally.calls[method] += 1
        if request_id is not None:
            self._request_ids.append(request_id)
        if self._draining:
            tally.answers[UNAVAILABLE] += 1
            raise Refusal(UNAVAILABLE, "the payment provider is shutting down")
        if self._dice is None:
            return tally, None
        plan = self._dice.throw()
        if plan is not None and plan.fault is not None:
            tally.faults[plan.fault.kind] += 1
        return tally, plan

    async def _get_later(self, request: GetPaymentRequest, tally: Tally, plan: Plan) -> Payment:
        self._in_flight += 1
        try:
            await _wait(plan)
            payment = _found(request)
        except Refusal as refusal:
            tally.answers[refusal.code] += 1
            raise
        finally:
            self._leave()
        tally.answers[OK] += 1
        return payment

    async def _create_later(
        self, request: CreatePaymentRequest, tally: Tally, plan: Plan
    ) -> Payment:
        self._in_flight += 1
        work = asyncio.ensure_future(self._create(request, plan))
        try:
            # A fault executes nothing, so it ends with the caller; a charge goes on without.
            payment = await (work if plan.fault else asyncio.shield(work))
        except asyncio.CancelledError:
            work.add_done_callback(lambda _: self._leave())
            raise
        except ResetConnection:
            self._leave()
            raise
        except Refusal as refusal:
            tally.answers[refusal.code] += 1
            self._leave()
            raise
        tally.answers[OK] += 1
        self._leave()
        return payment

    async def _create(self, request: CreatePaymentRequest, plan: Plan) -> Payment:
        await _wait(plan)
        asked = _charge_asked(request)
        loop = asyncio.get_running_loop()
        try:
            first = await loop.run_in_executor(self._ledger_thread, self._ledger.charge, asked)
        except sqlite3.Error as error:
            raise Refusal(INTERNAL, f"the ledger of charges failed: {error}") from error
        if first != asked:
            raise Refusal(
                INVALID_ARGUMENT,
                "idempotency_key: used before with another invoice, amount or currency",
            )
        return payment_of_charge(first)

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0 and self._draining:
            self._idle.set()


async def _wait(plan: Plan) -> None:
    if plan.delay_s > 0:
        await asyncio.sleep(plan.delay_s)
    if plan.fault is not None:
        await _go_wrong(plan.fault)


async def _go_wrong(fault: DealtFault) -> None:
    match fault.kind:
        case "status_code":
            raise Refusal(fault.code, "a fault that was asked for")
        case "reset":
            raise ResetConnection
        case "hang":
            await asyncio.get_running_loop().create_future()  # until the caller gives up


def _found(request: GetPaymentRequest) -> Payment:
    _check_text("invoice_id", request.invoice_id)
    return payment_of_invoice(request.invoice_id)


def _charge_asked(request: CreatePaymentRequest) -> Charge:
    _check_text("idempotency_key", request.idempotency_key)
    _check_text("invoice_id", request.invoice_id)
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


def _check_text(field: str, text: str) -> None:
    if not 1 <= len(text) <= MAXIMUM_TEXT_LENGTH:
        raise Refusal(
            INVALID_ARGUMENT, f"{field}: has to have 1 to {MAXIMUM_TEXT_LENGTH} characters"
        )
