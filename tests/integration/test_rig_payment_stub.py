"""The payment stub of a run, and its control."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from bakeoff.errors import PartDiedError, RigError, StartError
from bakeoff.hosts.host import Host
from bakeoff.rig.payment_stub import PaymentStub, StubFault
from protos.payment.v1 import payment_pb2, payment_pb2_grpc
from tests.integration.checkout import DEADLINE_S, until


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host("local", run_id=uuid.uuid4().hex) as host:
        yield host


def _get(target: str, invoice: str) -> Any:
    with grpc.insecure_channel(target) as channel:
        stub: Any = payment_pb2_grpc.PaymentsStub(channel)
        request = payment_pb2.GetPaymentRequest(invoice_id=invoice)
        return stub.GetPayment(request, timeout=DEADLINE_S, wait_for_ready=True)


def test_it_counts_over_all_its_processes(host: Host, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite"
    with PaymentStub(host, processes=2, ledger=str(ledger)) as stub:
        assert len(set(stub.targets)) == 2
        invoice = str(uuid.uuid4())
        answers = [_get(target, invoice) for target in stub.targets]
        assert answers[0] == answers[1]
        counters = stub.control.counters()
        assert counters.calls == {"GetPayment": 2}
        assert counters.answers == {0: 2}
        assert (counters.charges, counters.calls_in_flight) == (0, 0)
        assert len(counters.process_ids) == len(counters.process_cpu_s) == 2
        stub.control.configure(latency_ms=1.0)
        stub.control.reset()
        assert sum(stub.control.counters().calls.values()) == 0
        stub.check()
        with host.watch({"stub": stub.pids}, 0.05) as watch:
            assert until(lambda: watch.read_now("stub")["processes"] == 3)
    assert ledger.exists()


def test_faults_are_set_and_counted(host: Host) -> None:
    with PaymentStub(host, engine="grpcio") as stub:
        control = stub.control
        control.configure(faults=[StubFault("status_code", 5, method="GetPayment")])
        with pytest.raises(grpc.RpcError) as caught:
            _get(stub.targets[0], "inv-1")
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert control.counters().faults == {"status_code": 1}
        control.configure()
        assert _get(stub.targets[0], "inv-1").invoice_id == "inv-1"
        for refused, said in (
            (StubFault("decline", method="GetPayment"), "faults.0..method"),
            (StubFault("charge_after_ms", -1), "charge_after_ms"),
            (StubFault("goaway"), "wire"),
        ):
            with pytest.raises(RigError, match=said):
                control.configure(faults=[refused])


def test_a_death_is_named(host: Host) -> None:
    with PaymentStub(host) as stub:
        os.kill(stub.pids[0], signal.SIGKILL)

        def dead() -> bool:
            try:
                stub.check()
            except PartDiedError as error:
                assert error.part == "stub"
                return True
            return False

        assert until(dead)


def test_a_start_that_fails_says_why(host: Host) -> None:
    with (
        pytest.raises(StartError, match=r"(?s)stub did not start: exit code \d+.*/no/such"),
        PaymentStub(host, ledger="/no/such/folder/ledger"),
    ):
        pass
