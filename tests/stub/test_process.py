"""The payment stub as a process: serving, counting, failing, draining and ending."""

import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2

from protos.payment.v1.payment_pb2 import (
    Behaviour,
    Fault,
    GetPaymentRequest,
    Latency,
    Lognormal,
    PaymentStatus,
)
from stub_payment.payments import payment_of_invoice
from tests.stub.process import (
    DEADLINE_S,
    Stub,
    charge_request,
    code_of,
    ended,
    running,
    started,
    until,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_both_processes_give_the_same_deterministic_answers(stub: Stub) -> None:
    assert len(set(stub.ports)) == 2
    assert stub.control_port not in stub.ports
    for invoice_id in ("inv-1", "inv-2"):
        answers = [stub.get(invoice_id, of) for of in (0, 1)]
        assert answers == [payment_of_invoice(invoice_id)] * 2


def test_counts_add_up_over_the_processes(stub: Stub) -> None:
    charges = stub.snapshot().charges
    stub.configure(remember_request_ids=100)
    for number in range(30):
        stub.get(of=number % 2, request_id=f"request-{number}")
    for number in range(4):
        stub.charge("counted", of=number % 2)
    assert code_of(lambda: stub.get("")) is grpc.StatusCode.INVALID_ARGUMENT
    seen = stub.snapshot()
    assert dict(seen.calls) == {"GetPayment": 31, "CreatePayment": 4}
    assert dict(seen.answers) == {0: 34, 3: 1}
    assert seen.calls_in_flight == 0
    assert seen.charges == charges + 1
    assert sorted(seen.request_ids) == sorted(f"request-{number}" for number in range(30))


def test_the_processes_and_their_cpu_time_are_named(stub: Stub) -> None:
    before = stub.snapshot()
    children = {child.pid for child in psutil.Process(stub.process.pid).children()}
    assert set(before.process_ids) == children
    assert len(before.process_cpu_s) == 2
    for number in range(50):
        stub.get(of=number % 2)
    after = stub.snapshot()
    for then_s, now_s in zip(before.process_cpu_s, after.process_cpu_s, strict=True):
        assert now_s > then_s > 0


def test_a_key_is_charged_once_whichever_process_is_asked(stub: Stub) -> None:
    charges = stub.snapshot().charges
    futures = [
        stub.payments[number % 2].CreatePayment.future(charge_request("raced"), timeout=DEADLINE_S)
        for number in range(40)
    ]
    answers = [future.result(timeout=DEADLINE_S) for future in futures]
    assert all(answer == answers[0] for answer in answers)
    assert stub.snapshot().charges == charges + 1
    refused = code_of(lambda: stub.charge("raced", of=1, amount_cents=1))
    assert refused is grpc.StatusCode.INVALID_ARGUMENT


def test_a_charge_is_executed_though_its_caller_left(stub: Stub) -> None:
    charges = stub.snapshot().charges
    stub.configure(latency=Latency(fixed_ms=2000))
    left = stub.payments[0].CreatePayment.future(charge_request("left"), timeout=DEADLINE_S)
    until(lambda: stub.snapshot().calls_in_flight == 1)
    assert left.cancel()
    until(lambda: stub.snapshot().calls_in_flight == 0)
    seen = stub.snapshot()
    assert seen.charges == charges + 1
    assert dict(seen.answers) == {}


def test_a_fixed_latency_delays_every_answer(stub: Stub) -> None:
    stub.configure(latency=Latency(fixed_ms=100))
    start_s = time.monotonic()
    stub.get()
    assert time.monotonic() - start_s >= 0.1


def test_status_faults_have_their_code(stub: Stub) -> None:
    stub.configure(faults=[Fault(share=1, status_code=13)])
    assert code_of(stub.get) is grpc.StatusCode.INTERNAL
    assert code_of(lambda: stub.charge("never", of=1)) is grpc.StatusCode.INTERNAL
    seen = stub.snapshot()
    assert dict(seen.answers) == {13: 2}
    assert dict(seen.faults) == {"status_code": 2}


def test_every_status_code_can_be_a_fault(stub: Stub) -> None:
    for status in grpc.StatusCode:
        number = int(cast(tuple[int, str], status.value)[0])
        if number:
            stub.configure(faults=[Fault(share=1, status_code=number)])
            assert code_of(stub.get) is status


def test_a_hang_ends_with_the_caller_s_deadline(stub: Stub) -> None:
    stub.configure(faults=[Fault(share=1, hang=True)])
    request = GetPaymentRequest(invoice_id="inv-1")
    hung = [stub.payments[0].GetPayment.future(request, timeout=DEADLINE_S) for _ in range(200)]
    until(lambda: stub.snapshot().calls_in_flight == 200)
    for call in hung:
        call.cancel()
    until(lambda: stub.snapshot().calls_in_flight == 0)
    assert dict(stub.snapshot().answers) == {}
    short = code_of(lambda: stub.payments[0].GetPayment(request, timeout=0.05))
    assert short is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_bad_behaviour_is_refused_and_changes_nothing(stub: Stub) -> None:
    bad = Behaviour(latency=Latency(lognormal=Lognormal(median_ms=-1)))
    with pytest.raises(grpc.RpcError) as caught:
        stub.control.Configure(bad, timeout=DEADLINE_S)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("latency.lognormal.median_ms: ")
    assert stub.get() == payment_of_invoice("inv-1")


@pytest.mark.parametrize("kind", ["reset", "goaway"])
def test_what_an_engine_cannot_do_is_refused(stub_on: Callable[[str], Stub], kind: str) -> None:
    stub = stub_on("grpcio")
    fault = Fault(share=0.5)
    setattr(fault, kind, True)
    with pytest.raises(grpc.RpcError) as caught:
        stub.configure(faults=[fault])
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert f"faults[0].{kind}" in error.details()
    assert "wire" in error.details()


def test_a_key_is_declined_whichever_process_is_asked(stub: Stub) -> None:
    charges = stub.snapshot().charges
    stub.configure(faults=[Fault(share=1, decline=True)])
    declined = stub.charge("declined", of=0)
    assert declined.status == PaymentStatus.PAYMENT_STATUS_DECLINED
    stub.configure()
    assert stub.charge("declined", of=1) == declined
    assert stub.snapshot().charges == charges


def test_a_late_charge_comes_after_the_caller_s_deadline(stub: Stub) -> None:
    charges = stub.snapshot().charges
    stub.configure(faults=[Fault(share=1, charge_after_ms=500)])
    request = charge_request("late")
    late = code_of(lambda: stub.payments[0].CreatePayment(request, timeout=0.05))
    assert late is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: stub.snapshot().charges == charges + 1)
    until(lambda: stub.snapshot().calls_in_flight == 0)
    assert dict(stub.snapshot().answers) == {}


def test_a_charge_whose_answer_is_a_fault_is_repeated_by_its_key(stub: Stub) -> None:
    charges = stub.snapshot().charges
    stub.configure(faults=[Fault(share=1, status_code=14, after_execution=True)])
    assert code_of(lambda: stub.charge("unheard", of=0)) is grpc.StatusCode.UNAVAILABLE
    assert stub.snapshot().charges == charges + 1
    stub.configure()
    assert stub.charge("unheard", of=1).status == PaymentStatus.PAYMENT_STATUS_SUCCEEDED
    assert stub.snapshot().charges == charges + 1


def test_a_reset_zeroes_counts_and_keeps_the_ledger(stub: Stub) -> None:
    stub.charge("kept")
    stub.configure(latency=Latency(fixed_ms=1), remember_request_ids=5)
    stub.get(request_id="forgotten")
    charges = stub.snapshot().charges
    stub.reset()
    seen = stub.snapshot()
    assert (dict(seen.calls), dict(seen.answers), dict(seen.faults)) == ({}, {}, {})
    assert list(seen.request_ids) == []
    assert seen.charges == charges > 0


def test_health_is_serving_and_knows_no_other_service(stub: Stub) -> None:
    for of in (0, 1):
        assert stub.check(of=of) == SERVING
        unknown = code_of(lambda of=of: stub.check("nobody", of))  # type: ignore[misc]
        assert unknown is grpc.StatusCode.NOT_FOUND


def test_messages_and_metadata_have_limits(stub: Stub) -> None:
    assert code_of(lambda: stub.get("x" * (5 << 20))) is grpc.StatusCode.RESOURCE_EXHAUSTED
    many = [(f"x-fill-{number}", "y" * 1000) for number in range(64)]
    request = GetPaymentRequest(invoice_id="inv-1")
    big = code_of(lambda: stub.payments[0].GetPayment(request, timeout=DEADLINE_S, metadata=many))
    # `wire` closes a connection that sends more than it said it takes.
    closed = stub.engine == "wire"
    assert big is grpc.StatusCode["UNAVAILABLE" if closed else "RESOURCE_EXHAUSTED"]
    assert stub.get() == payment_of_invoice("inv-1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_calls_in_flight_finish(
    engine: str, number: signal.Signals, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.sqlite"
    with running(engine, "--processes", "2", "--grace", "50", "--ledger", str(path)) as stub:
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")  # a charge waits as long as this lasts
            late = stub.payments[0].CreatePayment.future(charge_request("slow"), timeout=DEADLINE_S)
            until(lambda: stub.snapshot().calls_in_flight == 1)
            stub.process.send_signal(number)
            until(lambda: bool(stub.check() == NOT_SERVING))
            assert code_of(stub.get) is grpc.StatusCode.UNAVAILABLE
            holder.execute("ROLLBACK")
        assert late.result(timeout=DEADLINE_S).idempotency_key == "slow"
        assert ended(stub.process) == (0, "")


def test_a_call_that_hangs_is_cut_off_after_the_grace(engine: str) -> None:
    with running(engine, "--grace", "1") as stub:
        stub.configure(faults=[Fault(share=1, hang=True)])
        request = GetPaymentRequest(invoice_id="inv-1")
        hung = stub.payments[0].GetPayment.future(request, timeout=DEADLINE_S)
        until(lambda: stub.snapshot().calls_in_flight == 1)
        stub.process.terminate()
        assert ended(stub.process)[0] == 0
        assert hung.exception(timeout=DEADLINE_S) is not None


def test_a_second_signal_ends_it_at_once(engine: str) -> None:
    with running(engine, "--grace", "3600") as stub:
        stub.configure(faults=[Fault(share=1, hang=True)])
        request = GetPaymentRequest(invoice_id="inv-1")
        hung = stub.payments[0].GetPayment.future(request, timeout=DEADLINE_S)
        until(lambda: stub.snapshot().calls_in_flight == 1)
        stub.process.terminate()
        until(lambda: bool(stub.check() == NOT_SERVING))
        stub.process.terminate()
        code, errors = ended(stub.process)
        hung.cancel()
    assert code == 130
    assert "second signal" in errors


def test_nothing_outlives_a_parent_that_is_killed(engine: str) -> None:
    with running(engine, "--processes", "2") as stub:
        children = psutil.Process(stub.process.pid).children(recursive=True)
        assert len(children) == 2
        opened = {Path(file.path) for child in children for file in child.open_files()}
        (ledger,) = [path for path in opened if path.name == "ledger.sqlite"]
        stub.process.kill()
        gone, alive = psutil.wait_procs(children, timeout=DEADLINE_S)
        assert (len(gone), alive) == (2, [])
        until(lambda: not ledger.parent.exists())


def test_a_process_that_dies_ends_the_stub_with_a_message(engine: str) -> None:
    with running(engine, "--processes", "2") as stub:
        victim, other = psutil.Process(stub.process.pid).children()
        victim.kill()
        code, errors = ended(stub.process)
        assert code == 3
        assert f"process {victim.pid} of the payment stub" in errors
        assert not other.is_running()


def test_ports_follow_the_first_one(engine: str) -> None:
    with running(engine, "--processes", "1") as probe:
        port = probe.ports[0]
        probe.process.terminate()
        assert ended(probe.process)[0] == 0
    with running(engine, "--port", str(port)) as stub:
        assert stub.ports == [port]
        assert stub.check() == SERVING


def test_a_port_that_is_taken_is_an_error_of_the_rig(engine: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with started("--engine", engine, "--port", str(port)) as process:
            code, errors = ended(process)
    assert code == 3
    assert f"cannot listen on 127.0.0.1:{port}" in errors
    assert "--port" in errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "smoke"], "--engine"),
        (["--processes", "0"], "--processes"),
        (["--port", "65536"], "--port"),
        (["--port", "65535", "--processes", "2"], "--processes"),
        (["--grace", "-1"], "--grace"),
        (["--ledger", "/nowhere/at/all/ledger.sqlite"], "--ledger"),
        (["--unknown"], "--unknown"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], said: str) -> None:
    with started(*arguments) as process:
        code, errors = ended(process)
    assert code == 2
    assert said in errors


def test_the_ledger_survives_a_kill_and_a_restart(engine: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with running(engine, "--processes", "2", "--ledger", str(path)) as stub:
        first = stub.charge("kept", of=0)
        stub.process.kill()
        stub.process.wait(DEADLINE_S)
    with running(engine, "--ledger", str(path)) as stub:
        assert stub.charge("kept") == first
        assert stub.snapshot().charges == 1
        stub.process.terminate()
        assert ended(stub.process)[0] == 0
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT idempotency_key FROM charges").fetchall() == [("kept",)]


def test_only_the_address_that_was_asked_for_is_bound(stub: Stub) -> None:
    bound = {
        connection.laddr.ip.removeprefix("::ffff:")  # an IPv4 address on grpcio's sockets
        for process in [psutil.Process(pid) for pid in stub.snapshot().process_ids]
        + [psutil.Process(stub.process.pid)]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert bound == {"127.0.0.1"}


def test_a_reader_that_never_reads_does_not_hold_up_the_end() -> None:
    with running("grpcio", "--grace", "5") as stub:
        stub.check()
        watch = stub.health[0].Watch(health_pb2.HealthCheckRequest(service=""))
        assert next(watch).status == SERVING
        os.kill(stub.process.pid, signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        assert ended(stub.process)[0] == 0
        watch.cancel()
