"""The payment stub as a process, with clients of it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import grpc
import psutil
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.payment.v1 import payment_pb2_grpc
from protos.payment.v1.payment_pb2 import (
    Behaviour,
    Counters,
    CreatePaymentRequest,
    GetPaymentRequest,
)

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
# The tests' own channels share nothing, so that each has a connection of its own.
_CHANNEL_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True)
class Stub:
    """A stub that serves, with clients of it."""

    engine: str
    process: subprocess.Popen[str]
    ports: list[int]
    control_port: int
    payments: list[Any]
    health: list[Any]
    control: Any

    def get(self, invoice_id: str = "inv-1", of: int = 0, request_id: str = "") -> Any:
        request = GetPaymentRequest(invoice_id=invoice_id)
        metadata = [("x-request-id", request_id)] if request_id else None
        return self.payments[of].GetPayment(request, timeout=DEADLINE_S, metadata=metadata)

    def charge(self, key: str, of: int = 0, amount_cents: int = 1200) -> Any:
        request = charge_request(key, amount_cents)
        return self.payments[of].CreatePayment(request, timeout=DEADLINE_S)

    def configure(self, **behaviour: Any) -> None:
        self.control.Configure(Behaviour(**behaviour), timeout=DEADLINE_S)

    def reset(self) -> None:
        self.control.Reset(Empty(), timeout=DEADLINE_S)

    def snapshot(self) -> Counters:
        return cast(Counters, self.control.Snapshot(Empty(), timeout=DEADLINE_S))

    def check(self, service: str = "", of: int = 0) -> Any:
        request = health_pb2.HealthCheckRequest(service=service)
        return self.health[of].Check(request, timeout=DEADLINE_S).status

    @property
    def serving(self) -> psutil.Process:
        """The first serving process."""
        return psutil.Process(psutil.Process(self.process.pid).children()[0].pid)


def charge_request(key: str, amount_cents: int = 1200) -> CreatePaymentRequest:
    return CreatePaymentRequest(
        idempotency_key=key, invoice_id="inv-1", amount_cents=amount_cents, currency="EUR"
    )


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The stub's parent process, which is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stub_payment", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()  # its serving processes see that and end


@contextmanager
def running(engine: str, *arguments: str) -> Iterator[Stub]:
    """A stub on one engine, ready."""
    with started("--engine", engine, *arguments) as process:
        line = json.loads(first_line(process))
        channels = [channel_to(port) for port in line["ports"]]
        control = channel_to(line["control_port"])
        try:
            yield Stub(
                engine,
                process,
                line["ports"],
                line["control_port"],
                [client(payment_pb2_grpc.PaymentsStub, channel) for channel in channels],
                [client(health_pb2_grpc.HealthStub, channel) for channel in channels],
                client(payment_pb2_grpc.ControlStub, control),
            )
        finally:
            for channel in (*channels, control):
                channel.close()


def channel_to(port: int) -> grpc.Channel:
    """A channel with a connection of its own."""
    return grpc.insecure_channel(f"127.0.0.1:{port}", _CHANNEL_OPTIONS)


def client(kind: Callable[[grpc.Channel], Any], channel: grpc.Channel) -> Any:
    return kind(channel)


def first_line(process: subprocess.Popen[str]) -> str:
    line = cast(IO[str], process.stdout).readline()
    assert line, f"the stub said nothing and this: {cast(IO[str], process.stderr).read()}"
    return line


def until(condition: Callable[[], bool]) -> None:
    give_up_at_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < give_up_at_s, "the deadline passed"
        time.sleep(0.01)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and standard error."""
    _, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, errors


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()
