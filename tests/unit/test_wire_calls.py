"""Calls of the wire engine: that fail, that are given up, that come as it ends."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from protos.payment.v1.payment_pb2 import Behaviour, CreatePaymentRequest, Fault, Payment
from stub_payment.ledger import Ledger, create_ledger
from stub_payment.refusal import DEADLINE_EXCEEDED, OK, UNKNOWN
from stub_payment.servicer import Servicer
from stub_payment.wire.methods import Health, methods
from tests.fakes.http2 import GOAWAY, NO_ERROR, message, reset
from tests.stub.peer import call
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
