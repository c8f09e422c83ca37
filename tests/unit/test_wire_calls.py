"""Calls of the wire engine: that fail, that are given up, that come as it ends."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from protos.payment.v1.payment_pb2 import Behaviour, CreatePaymentRequest, Fault, Payment
from stub_payment.ledger import Ledger, create_ledger
from stub_payment.payments import payment_of_invoice
from stub_payment.refusal import DEADLINE_EXCEEDED, OK, UNKNOWN
from stub_payment.servicer import Servicer
from stub_payment.wire.connection import Shared
from stub_payment.wire.frames import HEADER_BYTES
from stub_payment.wire.messages import PREFIX_BYTES
from stub_payment.wire.methods import Health, methods
from tests.fakes.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    frame,
    message,
    reset,
    settings,
    window_update,
)
from tests.stub.peer import asked, call, head
from tests.unit.knowncalls import GIVEN_UP
from tests.unit.wirepeer import WirePeer, in_loop, shared, shared_methods

CREATE = {":path": "/payment.v1.Payments/CreatePayment"}
CHARGE = message(
    CreatePaymentRequest(
        invoice_id="inv-1", amount_cents=1200, currency="EUR", idempotency_key="att-1"
    ).SerializeToString()
)
LONG_S = 600.0


@pytest.fixture
def servicer(tmp_path: Path) -> Iterator[Servicer]:
    path = tmp_path / "ledger.sqlite"
    create_ledger(path)
    with Ledger(path) as ledger:
        made = Servicer(ledger, 0)
        yield made
        made.close()


def peer_of(servicer: Servicer) -> WirePeer:
    return WirePeer(shared_methods(methods(servicer, Health())))


async def until_ended(peer: WirePeer, stream: int) -> None:
    """The test's own deadline ends it."""
    while not peer.hear().of(stream) or not peer.of(stream)[-1].ends_stream:
        await asyncio.sleep(0.001)


# Calls that fail.


def bug(*_: object) -> Payment:
    raise ValueError("a bug")


async def bug_later(*_: object) -> Payment:
    await asyncio.sleep(0)
    raise ValueError("a bug")


def no_time(*_: object) -> Payment:
    raise TimeoutError("of the method itself")


async def no_time_later(*_: object) -> Payment:
    await asyncio.sleep(0)
    raise TimeoutError("of the method itself")


@pytest.mark.parametrize("method", [bug, bug_later, no_time, no_time_later])
@pytest.mark.parametrize("timeout", [None, "10S"])
@in_loop
async def test_what_a_method_raises_is_the_status_unknown(
    method: object, timeout: str | None
) -> None:
    assert callable(method)
    peer = WirePeer(shared(method)).send(call(1, None, {"grpc-timeout": timeout}))
    await peer.turn()
    assert peer.answers[1].status == UNKNOWN
    assert [found.ends_stream for found in peer.of(1)] == [True]
    # And its stream is gone: the connection ends with its last one.
    peer.connection.retire()
    await peer.turn()
    assert peer.transport.eof


@in_loop
async def test_a_deadline_that_passes_is_told_from_that() -> None:
    async def never(*_: object) -> Payment:
        await asyncio.sleep(LONG_S)
        raise AssertionError

    peer = WirePeer(shared(never)).send(call(1, None, {"grpc-timeout": "1m"}))
    await until_ended(peer, 1)
    assert peer.answers[1].status == DEADLINE_EXCEEDED


# Calls that are given up, and those that come late.


@pytest.mark.filterwarnings("error")
@in_loop
async def test_a_call_that_is_given_up_as_it_comes_leaves_nothing(servicer: Servicer) -> None:
    peer = peer_of(servicer)
    for stream in range(1, 20, 2):
        peer.send(call(stream, CHARGE, CREATE), reset(stream))
    await peer.turn()
    assert [found for found in peer.frames if found.stream] == []
    counters = servicer.snapshot()
    assert (dict(counters.calls), dict(counters.answers)) == ({"CreatePayment": 10}, {})
    assert counters.calls_in_flight == 0
    peer.connection.retire()
    await peer.turn()
    assert peer.transport.eof  # no stream is left


@in_loop
async def test_draining_waits_for_a_call_that_has_just_come(servicer: Servicer) -> None:
    peer = peer_of(servicer).send(call(1, CHARGE, CREATE))
    assert servicer.snapshot().calls_in_flight == 0  # it has not begun
    await servicer.drain(LONG_S)
    assert peer.hear().answers[1].payment.amount_cents == 1200


# Calls of a load: answered without a message of either.

ORDINARY = "1b671a64-40d5-491e-99b0-da01ff1f3341"
ANSWERED = {"GetPayment": 4}, {OK: 4}


def counted(servicer: Servicer) -> tuple[dict[str, int], dict[int, int]]:
    counters = servicer.snapshot()
    return dict(counters.calls), dict(counters.answers)


@in_loop
async def test_an_ordinary_call_is_counted_once_also_where_its_answer_waits(
    servicer: Servicer,
) -> None:
    peer = peer_whose_calls_are_known(Shared(methods(servicer, Health()), servicer))
    payment = payment_of_invoice(ORDINARY)
    size = len(payment.SerializeToString()) + PREFIX_BYTES
    peer.send(settings((INITIAL_WINDOW_SIZE, size - 1)))
    peer.send(ordinary_call(5), ordinary_call(7))
    assert (peer.answers[5].status, peer.answers[7].status) == (None, None)
    peer.send(window_update(5, 1), window_update(7, 1))
    assert [peer.answers[stream].payment for stream in (5, 7)] == [payment, payment]
    assert counted(servicer) == ANSWERED


@in_loop
async def test_an_ordinary_call_becomes_no_message(
    servicer: Servicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servicer, "get_payment", bug)
    peer = peer_whose_calls_are_known(Shared(methods(servicer, Health()), servicer))
    peer.send(ordinary_call(5), ordinary_call(7))
    assert [peer.answers[stream].status for stream in (1, 3, 5, 7)] == [OK] * 4
    peer.send(call(9))
    assert peer.answers[9].status == UNKNOWN


@in_loop
async def test_request_ids_that_are_wanted_are_kept_of_ordinary_calls(servicer: Servicer) -> None:
    peer = peer_whose_calls_are_known(Shared(methods(servicer, Health()), servicer))
    servicer.configure(Behaviour(remember_request_ids=10))
    peer.send(ordinary_call(5), ordinary_call(7))
    assert [*servicer.snapshot().request_ids] == ["id-5", "id-7"]
    assert counted(servicer) == ANSWERED


def peer_whose_calls_are_known(shared: Shared) -> WirePeer:
    """After two calls the next ones are known at a glance."""
    return WirePeer(shared).send(ordinary_call(1)).send(ordinary_call(3))


def ordinary_call(stream: int) -> bytes:
    """As a client makes it that gave its header table up with its first."""
    block = head(stream, {"x-request-id": f"id-{stream}"})[HEADER_BYTES:]
    block = GIVEN_UP + block if stream == 1 else block
    frames = frame(HEADERS, END_HEADERS, stream, block)
    return frames + frame(DATA, END_STREAM, stream, asked(ORDINARY))


# The fault `goaway`.


def with_fault(servicer: Servicer) -> WirePeer:
    servicer.configure(Behaviour(faults=[Fault(share=1, goaway=True)]))
    return peer_of(servicer)


@pytest.mark.parametrize("charges", [False, True])
@in_loop
async def test_the_fault_goaway_is_said_before_the_answer(
    servicer: Servicer, charges: bool
) -> None:
    peer = with_fault(servicer).send(call(1, CHARGE, CREATE) if charges else call(1))
    await until_ended(peer, 1)
    check_end(peer)


@in_loop
async def test_a_method_that_answers_at_once_may_say_goaway() -> None:
    def leave(_request: object, _request_id: object, go_away: object) -> Payment:
        assert callable(go_away)
        go_away()
        return Payment(payment_id="pay_1")

    check_end(WirePeer(shared(leave)).send(call(1)))


def check_end(peer: WirePeer) -> None:
    """One GOAWAY that names the call, then its answer, then nothing more."""
    assert peer.answers[1].status == OK
    assert (peer.ending.codes, peer.ending.last_stream) == ([NO_ERROR], 1)
    kinds = [(found.kind, found.stream) for found in peer.frames]
    assert kinds.index((GOAWAY, 0)) < min(kinds.index(kind) for kind in kinds if kind[1] == 1)
    assert peer.transport.eof
