"""What the engine wire can do to a connection: the faults that grpcio cannot have, and their
counts."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import grpc
import pytest

from protos.payment.v1.payment_pb2 import (
    METHOD_CREATE_PAYMENT,
    METHOD_GET_PAYMENT,
    Fault,
    GetPaymentRequest,
    Latency,
)
from stub_payment.payments import payment_of_invoice
from tests.fakes.http2 import NO_ERROR, reset
from tests.stub.peer import PROMPT_S, Peer, call
from tests.stub.process import DEADLINE_S, Stub, code_of, until

pytestmark = pytest.mark.usefixtures("honest")

CALLS = 200


def test_a_reset_closes_the_connection_of_its_call(wire: Stub) -> None:
    wire.configure(faults=[Fault(share=1, reset=True)])
    with Peer(wire.ports[0]) as peer:
        assert peer.send(call(1)).end(PROMPT_S).codes == []
        assert peer.answers == {}
    assert code_of(wire.get) is grpc.StatusCode.UNAVAILABLE
    until(lambda: wire.snapshot().calls_in_flight == 0)
    seen = wire.snapshot()
    assert dict(seen.answers) == {}
    # A client of gRPC may have tried once more.
    assert seen.calls["GetPayment"] == seen.faults["reset"] in (2, 3)


def test_a_reset_after_the_execution_has_charged(wire: Stub) -> None:
    charges = wire.snapshot().charges
    wire.configure(faults=[Fault(share=1, reset=True, after_execution=True)])
    assert code_of(lambda: wire.charge("reset")) is grpc.StatusCode.UNAVAILABLE
    assert wire.snapshot().charges == charges + 1
    wire.configure()
    assert wire.charge("reset").idempotency_key == "reset"
    assert wire.snapshot().charges == charges + 1


def test_a_connection_that_goes_away_answers_what_is_in_flight(wire: Stub) -> None:
    wire.configure(
        latency=Latency(fixed_ms=500),
        faults=[Fault(share=1, goaway=True, method=METHOD_CREATE_PAYMENT)],
    )
    with Peer(wire.ports[0]) as peer:
        peer.send(call(1))
        until(lambda: wire.snapshot().calls_in_flight == 1)
        peer.send(call(3, changes={":path": "/payment.v1.Payments/CreatePayment"}))
        peer.until(lambda: bool(peer.ending.codes))
        assert (peer.ending.codes, peer.ending.last_stream) == ([NO_ERROR], 3)
        assert not any(answer.ended for answer in peer.answers.values())
        peer.send(call(5))  # came after the GOAWAY: not taken
        peer.end()
        assert peer.answers[1].payment == payment_of_invoice("inv-1")
        assert peer.answers[3].status == 3
        assert 5 not in peer.answers
    assert dict(wire.snapshot().calls) == {"GetPayment": 1, "CreatePayment": 1}


def test_no_call_is_lost_where_its_connection_goes_away(wire: Stub) -> None:
    wire.configure(faults=[Fault(share=0.2, goaway=True, method=METHOD_GET_PAYMENT)])
    answers = [wire.get() for _ in range(CALLS)]
    assert answers == [payment_of_invoice("inv-1")] * CALLS
    seen = wire.snapshot()
    assert seen.calls["GetPayment"] == seen.answers[0] == CALLS
    assert seen.faults["goaway"] > 0


def test_what_a_connection_that_goes_away_does_not_name_is_not_executed(wire: Stub) -> None:
    wire.configure(faults=[Fault(share=0.2, goaway=True, method=METHOD_GET_PAYMENT)])

    def outcome(_: int) -> grpc.StatusCode:
        try:
            wire.get()
        except grpc.RpcError as error:
            return cast(grpc.Call, error).code()
        return grpc.StatusCode.OK

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(outcome, range(CALLS)))
    # A client tries again once by itself.
    assert set(outcomes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
    seen = wire.snapshot()
    assert seen.calls["GetPayment"] == seen.answers[0] == outcomes[grpc.StatusCode.OK]
    assert seen.faults["goaway"] > 0


def test_counts_add_up_over_what_was_given_up(wire: Stub) -> None:
    wire.configure(latency=Latency(fixed_ms=200), faults=[Fault(share=0.4, hang=True)], seed=7)
    with Peer(wire.ports[0]) as peer:
        streams = range(1, 2 * CALLS, 2)
        peer.send(*map(call, streams))
        until(lambda: wire.snapshot().calls_in_flight == wire.snapshot().faults["hang"] > 0)
        peer.pong()
        answered = [stream for stream in streams if stream in peer.answers]
        seen = wire.snapshot()
        assert seen.calls["GetPayment"] == CALLS
        assert seen.answers[0] == len(answered)
        assert seen.calls_in_flight == CALLS - len(answered) == seen.faults["hang"]
        given_up = [stream for stream in streams if stream not in peer.answers]
        peer.send(*map(reset, given_up[:10]))
        until(lambda: wire.snapshot().calls_in_flight == len(given_up) - 10)
    until(lambda: wire.snapshot().calls_in_flight == 0)
    assert wire.snapshot().answers[0] == len(answered)


def test_a_deadline_of_a_client_gives_a_call_up(wire: Stub) -> None:
    wire.configure(faults=[Fault(share=1, hang=True)])
    request = GetPaymentRequest(invoice_id="inv-1")
    late = code_of(lambda: wire.payments[0].GetPayment(request, timeout=0.2))
    assert late is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: wire.snapshot().calls_in_flight == 0)
    hung = wire.payments[0].GetPayment.future(request, timeout=DEADLINE_S)
    until(lambda: wire.snapshot().calls_in_flight == 1)
    hung.cancel()
    until(lambda: wire.snapshot().calls_in_flight == 0)
    assert dict(wire.snapshot().answers) == {}
