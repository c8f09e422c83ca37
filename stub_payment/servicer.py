"""The provider itself, behind any engine: counts, plans, answers and charges.

An engine calls `get_payment` or `create_payment` with a decoded message and
gets either the answer, at once, or something to await. Refusal means a gRPC
status, ResetConnection that the engine closes the caller's connection. An
engine that can hands in `go_away`, which announces that the connection ends.
"""

import asyncio
import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from protos.payment.v1.payment_pb2 import (
    Behaviour,
    Counters,
    CreatePaymentRequest,
    GetPaymentRequest,
    Payment,
)
from stub_payment.behaviour import Dice, Plan, dice_for
from stub_payment.faults import SILENT_KINDS, DealtFault
from stub_payment.ledger import Ledger
from stub_payment.payments import encoded_payment, payment_of_invoice
from stub_payment.refusal import OK, UNAVAILABLE, Refusal, ResetConnection
from stub_payment.tally import Tally
from stub_payment.till import TEXT_LENGTHS, Till, check_text


class Servicer:
    """The state of one serving process. Lives in one event loop; owns nothing of an engine."""

    def __init__(self, ledger: Ledger, process_index: int) -> None:
        self._till = Till(ledger)
        self._process_index = process_index
        self._tally = Tally()
        self._dice: Dice | None = None
        self._request_ids: deque[str] = deque(maxlen=0)
        self._in_flight = 0
        self._draining = False
        self._idle = asyncio.Event()
        self.remembers_request_ids = False

    def get_payment(
        self,
        request: GetPaymentRequest,
        request_id: str | None = None,
        go_away: Callable[[], None] | None = None,
    ) -> Payment | Awaitable[Payment]:
        """The payment of an invoice. Raises Refusal, or its awaitable does."""
        tally, plan = self._tally, None
        tally.calls["GetPayment"] += 1
        # Else there is nothing but an answer to it.
        if self._dice is not None or self._draining or request_id is not None:
            plan = self._plan("GetPayment", request_id, go_away)
        if plan is not None:
            return self._get_later(request, tally, plan)
        try:
            payment = _found(request)
        except Refusal as refusal:
            tally.answers[refusal.code] += 1
            raise
        tally.answers[OK] += 1
        return payment

    def get_payment_encoded(self, request: bytes) -> bytes | None:
        """An encoded request's encoded answer, where there is nothing but that to it. None: it is
        for `get_payment`, and not counted yet. Requests whose IDs are wanted are for it, too."""
        if self._dice is not None or self._draining:
            return None
        payment = encoded_payment(request)
        if payment is not None:
            self._tally.payments_at_once += 1
        return payment

    def create_payment(
        self,
        request: CreatePaymentRequest,
        request_id: str | None = None,
        go_away: Callable[[], None] | None = None,
    ) -> Awaitable[Payment]:
        """Charges once per idempotency key, also when the caller gives up meanwhile."""
        tally = self._tally
        tally.calls["CreatePayment"] += 1
        plan = self._plan("CreatePayment", request_id, go_away)
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
        tally = self._tally
        at_once = tally.payments_at_once
        return Counters(  # a sum of Counters is without those that were not called
            calls=Counter(tally.calls) + Counter(GetPayment=at_once),
            answers=Counter(tally.answers) + Counter({OK: at_once}),
            faults=tally.faults,
            calls_in_flight=self._in_flight,
            request_ids=self._request_ids,
            process_cpu_s=[time.process_time()],
            process_ids=[os.getpid()],
        )

    async def drain(self, timeout_s: float) -> None:
        """Refuses new calls and returns when none is in flight, or after `timeout_s`."""
        self._draining = True
        await asyncio.sleep(0)  # calls that have come get to count themselves
        if self._in_flight == 0:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)

    def close(self) -> None:
        """Waits for the charge that is being written, drops those that wait."""
        self._till.close()

    def _plan(
        self, method: str, request_id: str | None, go_away: Callable[[], None] | None
    ) -> Plan | None:
        """What a call has to do other than to be answered at once. Refusal while draining."""
        if request_id is not None:
            self._request_ids.append(request_id)
        if self._draining:
            self._tally.answers[UNAVAILABLE] += 1
            raise Refusal(UNAVAILABLE, "the payment provider is shutting down")
        plan = self._dice.throw(method) if self._dice is not None else None
        if plan is not None and plan.fault is not None:
            self._tally.faults[plan.fault.kind] += 1
            if plan.fault.kind == "goaway" and go_away is not None:
                go_away()
        return plan

    async def _get_later(self, request: GetPaymentRequest, tally: Tally, plan: Plan) -> Payment:
        return await self._counted(_found_later(request, plan), tally)

    async def _create_later(
        self, request: CreatePaymentRequest, tally: Tally, plan: Plan
    ) -> Payment:
        return await self._counted(self._create(request, plan), tally)

    async def _counted(self, work: Coroutine[Any, Any, Payment], tally: Tally) -> Payment:
        self._in_flight += 1
        try:
            payment = await work
        except Refusal as refusal:
            tally.answers[refusal.code] += 1
            raise
        finally:
            self._leave()
        tally.answers[OK] += 1
        return payment

    async def _create(self, request: CreatePaymentRequest, plan: Plan) -> Payment:
        fault = plan.fault
        if fault is not None and fault.kind in SILENT_KINDS and not fault.after_execution:
            await asyncio.sleep(plan.delay_s)
            await _go_wrong(fault)
        payment = await self._without_caller(self._execute(request, plan))
        if fault is None:
            return payment
        if fault.kind == "wrong_amount":
            payment.amount_cents += 1
        elif fault.kind == "charge_after_ms":
            await _until_the_caller_gives_up()
        elif fault.after_execution:
            await _go_wrong(fault)
        return payment

    async def _execute(self, request: CreatePaymentRequest, plan: Plan) -> Payment:
        fault = plan.fault
        if fault is None:
            await asyncio.sleep(plan.delay_s)
            return await self._till.execute(request)
        if fault.kind == "charge_after_ms":
            await asyncio.sleep(fault.after_s)
            with contextlib.suppress(Refusal):  # nobody is answered
                await self._till.execute(request)
            return Payment()
        await asyncio.sleep(plan.delay_s)
        if fault.kind == "duplicate":
            first, _ = await asyncio.gather(
                self._till.execute(request), self._till.execute(request)
            )
            return first
        return await self._till.execute(request, decline=fault.kind == "decline")

    async def _without_caller(self, work: Coroutine[Any, Any, Payment]) -> Payment:
        """Work that goes on, and counts as in flight, where its caller leaves."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._in_flight += 1
            task.add_done_callback(self._left_behind)
            raise

    def _left_behind(self, task: asyncio.Task[Payment]) -> None:
        if not task.cancelled():
            task.exception()  # seen, so that the loop does not complain
        self._leave()

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0 and self._draining:
            self._idle.set()


async def _found_later(request: GetPaymentRequest, plan: Plan) -> Payment:
    await asyncio.sleep(plan.delay_s)
    if plan.fault is not None:
        await _go_wrong(plan.fault)
    return _found(request)


async def _go_wrong(fault: DealtFault) -> None:
    match fault.kind:
        case "status_code":
            raise Refusal(fault.code, "a fault that was asked for")
        case "reset":
            raise ResetConnection
        case "hang":
            await _until_the_caller_gives_up()


async def _until_the_caller_gives_up() -> None:
    await asyncio.get_running_loop().create_future()


def _found(request: GetPaymentRequest) -> Payment:
    invoice_id = request.invoice_id
    if len(invoice_id) not in TEXT_LENGTHS:  # no call where all is well
        check_text("invoice_id", invoice_id)
    return payment_of_invoice(invoice_id)
