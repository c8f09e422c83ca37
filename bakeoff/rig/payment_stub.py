"""The payment stub of a run: its processes, and the control that steers and counts."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import grpc
from google.protobuf.empty_pb2 import Empty

from bakeoff.errors import PartDiedError, RigError
from bakeoff.hosts.host import Host, HostProcess, ProcessSpec
from bakeoff.hosts.protocol import PYTHON
from bakeoff.owner import Owner
from protos.payment.v1 import payment_pb2, payment_pb2_grpc

PART = "stub"
_START_DEADLINE_S = 60.0
_CALL_DEADLINE_S = 10.0
_REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
_METHODS: Mapping[str, payment_pb2.Method] = {
    "": payment_pb2.METHOD_UNSPECIFIED,
    "GetPayment": payment_pb2.METHOD_GET_PAYMENT,
    "CreatePayment": payment_pb2.METHOD_CREATE_PAYMENT,
}


FaultKind = Literal[
    "status_code",
    "hang",
    "reset",
    "goaway",
    "charge_after_ms",
    "duplicate",
    "decline",
    "wrong_amount",
]


@dataclass(frozen=True)
class StubFault:
    """What goes wrong with a share of the calls, in the words of the proto's Fault.

    `value` is the status code or the milliseconds of those two kinds. `method` "": each method
    that the kind is for.
    """

    kind: FaultKind
    value: float | None = None
    share: float = 1.0
    method: Literal["", "GetPayment", "CreatePayment"] = ""
    after_execution: bool = False

    def message(self) -> payment_pb2.Fault:
        """As the control service takes it."""
        fault = payment_pb2.Fault(
            share=self.share, method=_METHODS[self.method], after_execution=self.after_execution
        )
        match self.kind:
            case "status_code":
                fault.status_code = int(self.value or 0)
            case "charge_after_ms":
                fault.charge_after_ms = float(self.value or 0)
            case kind:
                setattr(fault, kind, True)
        return fault


@dataclass(frozen=True)
class StubCounters:
    """What the stub has seen since its last reset; `charges` over its ledger's whole life."""

    calls: Mapping[str, int]
    answers: Mapping[int, int]
    faults: Mapping[str, int]
    charges: int
    calls_in_flight: int
    process_cpu_s: tuple[float, ...]
    process_ids: tuple[int, ...]


class StubControl:
    """The stub's control service at `target`. A stub that does not answer is a PartDiedError."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._channel = grpc.insecure_channel(target)
        self._stub: Any = payment_pb2_grpc.ControlStub(self._channel)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def configure(
        self, latency_ms: float = 0.0, faults: Sequence[StubFault] = (), seed: int = 0
    ) -> None:
        """Sets how long each call takes and what goes wrong with calls; counts stay.

        RigError, with the stub's own words, for a behaviour that it refuses."""
        behaviour = payment_pb2.Behaviour(
            latency=payment_pb2.Latency(fixed_ms=latency_ms),
            faults=[fault.message() for fault in faults],
            seed=seed,
        )
        self._call(self._stub.Configure, behaviour)

    def reset(self) -> None:
        """Zeroes the counts and restores the default behaviour."""
        self._call(self._stub.Reset, Empty())

    def counters(self) -> StubCounters:
        """The counts of all its processes together."""
        found = self._call(self._stub.Snapshot, Empty())
        return StubCounters(
            calls=dict(found.calls),
            answers=dict(found.answers),
            faults=dict(found.faults),
            charges=found.charges,
            calls_in_flight=found.calls_in_flight,
            process_cpu_s=tuple(found.process_cpu_s),
            process_ids=tuple(found.process_ids),
        )

    def _call(self, method: Callable[..., Any], request: object) -> Any:
        try:
            return method(request, timeout=_CALL_DEADLINE_S, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() in _REFUSALS:
                raise RigError(f"the payment stub refuses: {error.details()}") from error
            raise PartDiedError(
                PART, f"the payment stub's control at {self.target} does not answer: {error}"
            ) from error


class PaymentStub(Owner):
    """The stub on `host`. `ledger` is a file at the far end; None: a temporary one."""

    def __init__(
        self,
        host: Host,
        processes: int = 1,
        engine: str = "wire",
        address: str = "127.0.0.1",
        ledger: str | None = None,
        cpus: frozenset[int] | None = None,
    ) -> None:
        self.host = host
        folder = host.facts().folder
        self._address = address
        self._spec = ProcessSpec(
            name=PART,
            argv=[
                *(PYTHON, "-m", "stub_payment", "--engine", engine, "--host", address),
                *("--port", "0", "--processes", str(processes)),
                *(("--ledger", ledger) if ledger else ()),
            ],
            environment={},
            cwd=folder,
            log=f"{folder}/{PART}.log",
            error_log=f"{folder}/{PART}-errors.log",
            cpus=cpus,
        )
        self._process: HostProcess
        # One entry a process, as PAYMENT_TARGETS wants them.
        self.targets: tuple[str, ...] = ()
        self.control: StubControl

    def _begin(self, stack: ExitStack) -> None:
        self._process = stack.enter_context(self.host.start(self._spec))

    def await_ready(self) -> None:
        """Waits till it serves: then `targets` and `control` are known."""
        line = json.loads(self._process.wait_for_line('"ports"', _START_DEADLINE_S))
        self.targets = tuple(f"{self._address}:{port}" for port in line["ports"])
        self.control = StubControl(f"{self._address}:{line['control_port']}")
        self._stack.callback(self.control.close)

    @property
    def pids(self) -> list[int]:
        """The root of its processes, for the sampler."""
        return [self._process.pid]

    def check(self) -> None:
        """Raises PartDiedError if it is gone."""
        self._process.check()
