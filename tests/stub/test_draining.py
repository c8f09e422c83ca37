"""The end of a stub on the engine wire, as its connections see it."""

import socket
import time

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from protos.payment.v1.payment_pb2 import Fault, Latency
from stub_payment.payments import payment_of_invoice
from tests.fakes.http2 import NO_ERROR, message
from tests.stub.peer import Peer, call
from tests.stub.process import Stub, ended, running, until

UNAVAILABLE = 14
GRACE_S = 20.0
SLACK = 10
CHECK = {":path": "/grpc.health.v1.Health/Check"}


def health(peer: Peer, stream: int) -> int:
    """What the health service says on a connection."""
    asked = message(HealthCheckRequest(service="").SerializeToString())
    answer = peer.send(call(stream, asked, CHECK)).answer(stream)
    assert answer.status == 0
    return int(HealthCheckResponse.FromString(answer.body[5:]).status)


def test_what_is_in_flight_is_answered_before_the_connections_go() -> None:
    with running("wire", "--grace", str(GRACE_S)) as stub, Peer(stub.ports[0]) as peer:
        with Peer(stub.ports[0]) as idle:
            assert health(peer, 1) == HealthCheckResponse.SERVING
            stub.configure(latency=Latency(fixed_ms=1500))
            peer.send(call(3))
            until(lambda: stub.snapshot().calls_in_flight == 1)
            start_s = time.monotonic()
            stub.process.terminate()
            stream = 5
            while health(peer, stream) != HealthCheckResponse.NOT_SERVING:
                stream += 2
            stub.configure()
            # Who comes now is refused, in words of gRPC.
            assert peer.send(call(stream + 2)).answer(stream + 2).status == UNAVAILABLE
            assert not peer.answers.get(3)
            assert (idle.end().codes, peer.end().codes) == ([NO_ERROR], [NO_ERROR])
        assert peer.answers[3].payment == payment_of_invoice("inv-1")
        assert ended(stub.process) == (0, "")
        assert time.monotonic() - start_s < GRACE_S * SLACK
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", stub.ports[0]), timeout=10)


def test_what_is_in_flight_after_the_grace_is_cut_off() -> None:
    with running("wire", "--grace", "1") as stub, Peer(stub.ports[0]) as peer:
        stub.configure(faults=[Fault(share=1, hang=True)])
        peer.send(call(1))
        until(lambda: stub.snapshot().calls_in_flight == 1)
        stub.process.terminate()
        assert peer.end().codes == [NO_ERROR]
        assert peer.answers == {}
        assert ended(stub.process) == (0, "")


@pytest.mark.parametrize("service", ["payment.v1.Payments", "nobody", "grpc.health.v1.Health"])
def test_health_knows_the_same_services_on_both_engines(stub: Stub, service: str) -> None:
    with Peer(stub.ports[0]) as peer:
        asked = message(HealthCheckRequest(service=service).SerializeToString())
        assert peer.send(call(1, asked, CHECK)).answer(1).status == 5
