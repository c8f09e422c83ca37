"""The provider behind any engine: answers, counts, faults and charges."""

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from protos.payment.v1.payment_pb2 import (
    Behaviour,
    CreatePaymentRequest,
    Fault,
    GetPaymentRequest,
    Latency,
    Method,
    Payment,
    PaymentStatus,
)
from stub_payment.ledger import Ledger, create_ledger
from stub_payment.payments import payment_of_invoice
from stub_payment.refusal import OK, UNAVAILABLE, Refusal, ResetConnection
from stub_payment.servicer import Servicer

WAIT_S = 10.0
LONG_MS = 600_000.0

Scenario = Callable[[Servicer, Ledger], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a scenario against a fresh servicer and its ledger."""

    async def run(scenario: Scenario) -> None:
        path = tmp_path / "ledger.sqlite"
        create_ledger(path)
        with Ledger(path) as ledger, Ledger(path) as seen:
            servicer = Servicer(ledger, 0)
            try:
                async with asyncio.timeout(6 * WAIT_S):
                    await scenario(servicer, seen)
            finally:
                servicer.close()

    return lambda scenario: asyncio.run(run(scenario))


def get(servicer: Servicer, invoice_id: str = "inv-1", request_id: str | None = None) -> Any:
    return servicer.get_payment(GetPaymentRequest(invoice_id=invoice_id), request_id)


def charge(servicer: Servicer, key: str = "att-1", **changed: Any) -> Awaitable[Payment]:
    fields: dict[str, Any] = {"invoice_id": "inv-1", "amount_cents": 1200, "currency": "EUR"}
    fields |= changed
    return servicer.create_payment(CreatePaymentRequest(idempotency_key=key, **fields))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def counts(servicer: Servicer) -> tuple[dict[str, int], dict[int, int], int]:
    counters = servicer.snapshot()
    return dict(counters.calls), dict(counters.answers), counters.calls_in_flight


def test_a_payment_follows_from_the_digest_of_its_invoice() -> None:
    """Whoever compares two versions of the stub has the same payments from both."""
    digest = bytes.fromhex("92292e825e990bfe18e3ff6907aa9d82")
    assert hashlib.blake2b(b"an invoice", digest_size=16).digest() == digest
    assert payment_of_invoice("an invoice") == Payment(
        payment_id="pay_" + digest.hex(),
        invoice_id="an invoice",
        status=PaymentStatus.PAYMENT_STATUS_SUCCEEDED,
        amount_cents=(1 + 0x29 // 3 % 7) << 14 | (0x82 - 0x80) << 7 | 0x2E,
        currency=("EUR", "USD", "GBP")[0x29 % 3],
        updated_at_unix_ms=(
            (50 << 35) | (0x18 << 28) | ((0xFE - 0x80) << 21) | (0x0B << 14) | (0x19 << 7) | 0x5E
        ),
    )


def test_the_same_invoice_has_the_same_payment() -> None:
    first = payment_of_invoice("0b0e7a52-70c4-4b8a-9b43-000000000001")
    assert first == payment_of_invoice("0b0e7a52-70c4-4b8a-9b43-000000000001")
    assert first != payment_of_invoice("0b0e7a52-70c4-4b8a-9b43-000000000002")
    assert first.payment_id.startswith("pay_")
    assert first.amount_cents > 0
    assert len(first.currency) == 3
    assert first.updated_at_unix_ms > 0
    assert first.idempotency_key == ""


def test_most_payments_succeeded_and_none_is_without_a_status() -> None:
    statuses = [payment_of_invoice(f"inv-{number}").status for number in range(10_000)]
    succeeded = statuses.count(PaymentStatus.PAYMENT_STATUS_SUCCEEDED) / len(statuses)
    assert succeeded == pytest.approx(0.94, abs=0.005 + 4 * math.sqrt(0.94 * 0.06 / 10_000))
    assert set(statuses) == {
        PaymentStatus.PAYMENT_STATUS_SUCCEEDED,
        PaymentStatus.PAYMENT_STATUS_PENDING,
        PaymentStatus.PAYMENT_STATUS_DECLINED,
    }


def test_amounts_and_times_are_spread_over_their_ranges() -> None:
    payments = [payment_of_invoice(f"inv-{number}") for number in range(10_000)]
    amounts = [payment.amount_cents for payment in payments]
    times = [payment.updated_at_unix_ms for payment in payments]
    assert 16_384 <= min(amounts) < 17_000
    assert 130_000 < max(amounts) < 131_072
    assert 1_717_986_918_400 <= min(times) < 1_718_100_000_000
    assert 1_752_200_000_000 < max(times) < 1_752_346_656_768
    assert {payment.currency for payment in payments} == {"EUR", "USD", "GBP"}


def test_get_payment_answers_at_once_and_is_counted(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        answer = get(servicer)
        assert isinstance(answer, Payment)
        assert answer == payment_of_invoice("inv-1")
        assert counts(servicer) == ({"GetPayment": 1}, {0: 1}, 0)

    play(scenario)


def test_an_encoded_request_is_counted_where_it_is_answered(
    play: Callable[[Scenario], None],
) -> None:
    ordinary, other = (
        GetPaymentRequest(invoice_id=invoice_id).SerializeToString()
        for invoice_id in ("0" * 36, "0" * 37)
    )
    answer = payment_of_invoice("0" * 36).SerializeToString()

    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        assert servicer.get_payment_encoded(other) is None
        assert counts(servicer) == ({}, {}, 0)
        assert servicer.get_payment_encoded(ordinary) == answer
        assert counts(servicer) == ({"GetPayment": 1}, {OK: 1}, 0)
        servicer.reset()
        assert counts(servicer) == ({}, {}, 0)
        assert servicer.get_payment_encoded(ordinary) == answer
        get(servicer)
        assert counts(servicer) == ({"GetPayment": 2}, {OK: 2}, 0)
        # With anything to do but to answer it, it is for messages.
        servicer.configure(Behaviour(latency=Latency(fixed_ms=1)))
        assert servicer.get_payment_encoded(ordinary) is None
        servicer.configure(Behaviour())
        assert servicer.get_payment_encoded(ordinary) == answer
        await servicer.drain(WAIT_S)
        assert servicer.get_payment_encoded(ordinary) is None
        assert counts(servicer) == ({"GetPayment": 3}, {OK: 3}, 0)

    play(scenario)


@pytest.mark.parametrize("invoice_id", ["", "x" * 256])
def test_a_bad_invoice_id_is_refused(play: Callable[[Scenario], None], invoice_id: str) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        with pytest.raises(Refusal, match="invoice_id: ") as caught:
            get(servicer, invoice_id)
        assert caught.value.code == 3
        assert counts(servicer) == ({"GetPayment": 1}, {3: 1}, 0)

    play(scenario)


def test_a_charge_repeats_its_first_answer(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        first = await charge(servicer)
        assert first.idempotency_key == "att-1"
        assert first.status == PaymentStatus.PAYMENT_STATUS_SUCCEEDED
        assert (first.invoice_id, first.amount_cents, first.currency) == ("inv-1", 1200, "EUR")
        assert await charge(servicer) == first
        assert (await charge(servicer, "att-2")).payment_id != first.payment_id
        assert ledger.count() == 2
        assert counts(servicer) == ({"CreatePayment": 3}, {0: 3}, 0)

    play(scenario)


@pytest.mark.parametrize(
    "changed", [{"invoice_id": "inv-2"}, {"amount_cents": 1201}, {"currency": "USD"}]
)
def test_a_key_with_other_fields_is_refused(
    play: Callable[[Scenario], None], changed: dict[str, Any]
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        first = await charge(servicer)
        with pytest.raises(Refusal, match="idempotency_key: ") as caught:
            await charge(servicer, **changed)
        assert caught.value.code == 3
        assert await charge(servicer) == first
        assert ledger.count() == 1
        assert counts(servicer) == ({"CreatePayment": 3}, {0: 2, 3: 1}, 0)

    play(scenario)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 256),
        ("invoice_id", ""),
        ("amount_cents", 0),
        ("amount_cents", -1),
        ("currency", "eur"),
        ("currency", "EURO"),
        ("currency", "ÄÖÜ"),
        ("currency", ""),
    ],
)
def test_a_charge_that_makes_no_sense_is_not_executed(
    play: Callable[[Scenario], None], field: str, value: Any
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        key = value if field == "idempotency_key" else "att-1"
        changed = {} if field == "idempotency_key" else {field: value}
        with pytest.raises(Refusal, match=f"{field}: ") as caught:
            await charge(servicer, key, **changed)
        assert caught.value.code == 3
        assert ledger.count() == 0

    play(scenario)


def test_one_of_many_at_once_executes(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        answers = await asyncio.gather(*(charge(servicer) for _ in range(50)))
        assert all(answer == answers[0] for answer in answers)
        assert ledger.count() == 1

    play(scenario)


def test_a_charge_goes_on_without_its_caller(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(latency=Latency(fixed_ms=50)))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await charge(servicer)
        assert counts(servicer) == ({"CreatePayment": 1}, {}, 1)
        await until(lambda: servicer.snapshot().calls_in_flight == 0)
        assert ledger.count() == 1
        assert counts(servicer) == ({"CreatePayment": 1}, {}, 0)

    play(scenario)


def test_a_ledger_that_fails_is_internal(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer._till._ledger.close()
        with pytest.raises(Refusal, match="the ledger of charges failed") as caught:
            await charge(servicer)
        assert caught.value.code == 13
        assert counts(servicer) == ({"CreatePayment": 1}, {13: 1}, 0)

    play(scenario)


def test_a_status_fault_answers_without_executing(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, status_code=14)]))
        for call in (get, charge):
            with pytest.raises(Refusal) as caught:
                await call(servicer)
            assert caught.value.code == 14
        assert ledger.count() == 0
        assert counts(servicer) == ({"GetPayment": 1, "CreatePayment": 1}, {14: 2}, 0)
        assert dict(servicer.snapshot().faults) == {"status_code": 2}

    play(scenario)


def test_a_hang_lasts_until_the_caller_gives_up(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, hang=True)]))
        calls = [asyncio.ensure_future(call(servicer)) for call in (get, charge)]
        await until(lambda: servicer.snapshot().calls_in_flight == 2)
        for call in calls:
            call.cancel()
        await until(lambda: servicer.snapshot().calls_in_flight == 0)
        assert ledger.count() == 0
        assert counts(servicer) == ({"GetPayment": 1, "CreatePayment": 1}, {}, 0)
        assert dict(servicer.snapshot().faults) == {"hang": 2}

    play(scenario)


def test_a_reset_is_the_engine_s_to_carry_out(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, reset=True)]))
        for call in (get, charge):
            with pytest.raises(ResetConnection):
                await call(servicer)
        assert counts(servicer) == ({"GetPayment": 1, "CreatePayment": 1}, {}, 0)

    play(scenario)


@pytest.mark.parametrize("fields", [{"status_code": 14}, {"reset": True}])
def test_a_charge_can_be_executed_and_its_answer_lost(
    play: Callable[[Scenario], None], fields: dict[str, Any]
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, after_execution=True, **fields)]))
        with pytest.raises((Refusal, ResetConnection)):
            await charge(servicer)
        assert ledger.count() == 1
        assert isinstance(get(servicer), Payment)  # no fault for what executes nothing
        servicer.configure(Behaviour())
        assert (await charge(servicer)).status == PaymentStatus.PAYMENT_STATUS_SUCCEEDED
        assert ledger.count() == 1

    play(scenario)


def test_a_charge_can_be_executed_and_never_answered(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        faults = [Fault(share=1, hang=True, after_execution=True)]
        servicer.configure(Behaviour(faults=faults))
        call = asyncio.ensure_future(charge(servicer))
        await until(lambda: ledger.count() == 1)
        assert counts(servicer) == ({"CreatePayment": 1}, {}, 1)
        call.cancel()
        await until(lambda: servicer.snapshot().calls_in_flight == 0)

    play(scenario)


def test_a_fault_after_execution_does_not_hide_a_refusal(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        faults = [Fault(share=1, status_code=14, after_execution=True)]
        servicer.configure(Behaviour(faults=faults))
        with pytest.raises(Refusal) as caught:
            await charge(servicer, amount_cents=0)
        assert caught.value.code == 3

    play(scenario)


def test_a_charge_can_come_after_its_caller_left(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, charge_after_ms=100)]))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.005):
                await charge(servicer)
        assert ledger.count() == 0
        assert counts(servicer) == ({"CreatePayment": 1}, {}, 1)
        await until(lambda: servicer.snapshot().calls_in_flight == 0)
        assert ledger.count() == 1
        assert dict(servicer.snapshot().faults) == {"charge_after_ms": 1}

    play(scenario)


def test_a_late_charge_is_not_answered_to_a_caller_that_waits(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, charge_after_ms=0)]))
        calls = [asyncio.ensure_future(charge(servicer, amount_cents=amount)) for amount in (1, 0)]
        await until(lambda: ledger.count() == 1)
        assert counts(servicer) == ({"CreatePayment": 2}, {}, 2)
        assert not any(call.done() for call in calls)  # not even what is refused
        for call in calls:
            call.cancel()
        await until(lambda: servicer.snapshot().calls_in_flight == 0)

    play(scenario)


def test_a_duplicate_is_executed_and_answered_once(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, duplicate=True)]))
        answer = await charge(servicer)
        assert answer.status == PaymentStatus.PAYMENT_STATUS_SUCCEEDED
        assert ledger.count() == 1
        assert counts(servicer) == ({"CreatePayment": 1}, {0: 1}, 0)

    play(scenario)


def test_a_decline_charges_nothing_and_is_remembered(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        charged = await charge(servicer, "att-charged")
        servicer.configure(Behaviour(faults=[Fault(share=1, decline=True)]))
        declined = await charge(servicer)
        assert declined.status == PaymentStatus.PAYMENT_STATUS_DECLINED
        assert declined.idempotency_key == "att-1"
        assert (declined.invoice_id, declined.amount_cents) == ("inv-1", 1200)
        assert await charge(servicer, "att-charged") == charged
        servicer.configure(Behaviour())
        assert await charge(servicer) == declined
        with pytest.raises(Refusal, match="idempotency_key: "):
            await charge(servicer, currency="USD")
        assert ledger.count() == 1

    play(scenario)


def test_a_wrong_amount_is_in_the_answer_alone(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(faults=[Fault(share=1, wrong_amount=True)]))
        assert (await charge(servicer)).amount_cents == 1201
        servicer.configure(Behaviour())
        assert (await charge(servicer)).amount_cents == 1200
        assert ledger.count() == 1

    play(scenario)


def test_a_fault_of_one_method_leaves_the_other_alone(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        for method, spared, hit in (
            (Method.METHOD_GET_PAYMENT, charge, get),
            (Method.METHOD_CREATE_PAYMENT, get, charge),
        ):
            faults = [Fault(share=1, status_code=14, method=method)]
            servicer.configure(Behaviour(faults=faults))
            answer: Any = spared(servicer)
            assert isinstance(answer if isinstance(answer, Payment) else await answer, Payment)
            with pytest.raises(Refusal):
                await hit(servicer)

    play(scenario)


def test_the_latest_request_ids_are_remembered(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        get(servicer, request_id="r0")
        assert not servicer.remembers_request_ids
        servicer.configure(Behaviour(remember_request_ids=3))
        assert servicer.remembers_request_ids
        for number in range(1, 6):
            get(servicer, request_id=f"r{number}")
        assert list(servicer.snapshot().request_ids) == ["r3", "r4", "r5"]
        servicer.configure(Behaviour(remember_request_ids=2))
        assert list(servicer.snapshot().request_ids) == ["r4", "r5"]

    play(scenario)


def test_a_reset_of_counts_leaves_out_the_calls_before_it(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(latency=Latency(fixed_ms=50), remember_request_ids=5))
        before = asyncio.ensure_future(get(servicer, request_id="before"))
        await until(lambda: servicer.snapshot().calls_in_flight == 1)
        servicer.reset()
        assert counts(servicer) == ({}, {}, 1)
        assert isinstance(get(servicer), Payment)  # the default behaviour again
        await before
        assert counts(servicer) == ({"GetPayment": 1}, {0: 1}, 0)
        assert list(servicer.snapshot().request_ids) == []

    play(scenario)


def test_draining_refuses_new_calls_and_waits_for_those_in_flight(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(latency=Latency(fixed_ms=100)))
        late = asyncio.ensure_future(charge(servicer))
        await until(lambda: servicer.snapshot().calls_in_flight == 1)
        drained = asyncio.ensure_future(servicer.drain(WAIT_S))
        await asyncio.sleep(0)
        with pytest.raises(Refusal, match="shutting down"):
            get(servicer)
        await drained
        assert late.done()
        assert ledger.count() == 1

    play(scenario)


def test_draining_refuses_calls_that_would_be_answered_at_once(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        await servicer.drain(WAIT_S)
        with pytest.raises(Refusal, match="shutting down"):
            get(servicer)
        servicer.configure(Behaviour())
        with pytest.raises(Refusal, match="shutting down"):
            get(servicer)
        assert counts(servicer) == ({"GetPayment": 2}, {UNAVAILABLE: 2}, 0)

    play(scenario)


def test_draining_ends_with_its_time(play: Callable[[Scenario], None]) -> None:
    async def scenario(servicer: Servicer, ledger: Ledger) -> None:
        servicer.configure(Behaviour(latency=Latency(fixed_ms=LONG_MS)))
        late = asyncio.ensure_future(get(servicer))
        await until(lambda: servicer.snapshot().calls_in_flight == 1)
        await servicer.drain(0.01)
        assert not late.done()
        late.cancel()

    play(scenario)
