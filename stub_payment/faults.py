"""The faults of a behaviour: which are valid, which methods they can meet, what a call draws."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from protos.payment.v1.payment_pb2 import (
    METHOD_CREATE_PAYMENT,
    METHOD_GET_PAYMENT,
    Behaviour,
    Fault,
    Method,
)

Kind = Literal[
    "status_code",
    "hang",
    "reset",
    "goaway",
    "charge_after_ms",
    "duplicate",
    "decline",
    "wrong_amount",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# Kinds about a charge: GetPayment has none.
CHARGE_KINDS = frozenset({"charge_after_ms", "duplicate", "decline", "wrong_amount"})
# Kinds that can follow an execution as well as stand in for it.
SILENT_KINDS = frozenset({"status_code", "hang", "reset"})
STATUS_CODES = range(1, 17)
MAXIMUM_DELAY_MS = 3_600_000.0
SHARE_ROUNDING = 1e-9  # what a sum of decimal shares may be above 1
METHODS: Mapping[str, Method] = {
    "GetPayment": METHOD_GET_PAYMENT,
    "CreatePayment": METHOD_CREATE_PAYMENT,
}


class InvalidBehaviourError(ValueError):
    """A behaviour that cannot be; the message begins with the field's name."""


@dataclass(frozen=True)
class DealtFault:
    """What goes wrong with one call.

    `code` is a gRPC status, 0 where there is none; `after_s` the seconds of `charge_after_ms`.
    """

    kind: Kind
    code: int = 0
    after_s: float = 0.0
    after_execution: bool = False


class Dealt(NamedTuple):
    """A fault and the upper end of its share of the draws from 0 to 1."""

    limit: float
    fault: DealtFault


def dealt_to(method: str, faults: Iterable[Fault]) -> list[Dealt]:
    """The faults that a method can meet, by their cumulated shares."""
    met = [fault for fault in faults if _meets(fault, METHODS[method])]
    limits = (math.fsum(fault.share for fault in met[: count + 1]) for count in range(len(met)))
    return [Dealt(limit, _dealt(fault)) for limit, fault in zip(limits, met, strict=True)]


def check_faults(behaviour: Behaviour) -> None:
    """Raises InvalidBehaviourError, naming the field, where a fault makes no sense."""
    for index, fault in enumerate(behaviour.faults):
        _check_fault(fault, f"faults[{index}]")
    for method in METHODS:
        dealt = dealt_to(method, behaviour.faults)
        if dealt and dealt[-1].limit > 1 + SHARE_ROUNDING:
            raise InvalidBehaviourError(
                f"faults: the shares of {method} add up to {dealt[-1].limit}, at most 1 can be"
                " dealt"
            )


def check_range(field: str, value: float, maximum: float) -> None:
    """Raises InvalidBehaviourError where a value is not from 0 to `maximum`."""
    if not 0 <= value <= maximum:  # not a number fails too
        raise InvalidBehaviourError(f"{field}: {value} is not from 0 to {maximum}")


def _check_fault(fault: Fault, field: str) -> None:
    check_range(f"{field}.share", fault.share, 1.0)
    kind = fault.WhichOneof("kind")
    match kind:
        case None:
            raise InvalidBehaviourError(f"{field}.kind: none of {', '.join(KINDS)} is set")
        case "status_code":
            if fault.status_code not in STATUS_CODES:
                raise InvalidBehaviourError(
                    f"{field}.status_code: {fault.status_code} is no gRPC error from 1 to 16"
                )
        case "charge_after_ms":
            check_range(f"{field}.charge_after_ms", fault.charge_after_ms, MAXIMUM_DELAY_MS)
        case _ if not getattr(fault, kind):
            raise InvalidBehaviourError(f"{field}.{kind}: false is no fault; leave the fault out")
    if fault.after_execution and kind not in SILENT_KINDS:
        raise InvalidBehaviourError(
            f"{field}.after_execution: goes with status_code, hang and reset, not with {kind}"
        )
    _check_method(fault, field, kind)


def _check_method(fault: Fault, field: str, kind: str) -> None:
    if fault.method not in (0, *METHODS.values()):
        raise InvalidBehaviourError(f"{field}.method: {fault.method} is no method")
    if fault.method == METHOD_GET_PAYMENT and _only_charges(fault):
        which = "after_execution" if fault.after_execution else kind
        raise InvalidBehaviourError(f"{field}.method: {which} is for CreatePayment only")


def _only_charges(fault: Fault) -> bool:
    return fault.after_execution or fault.WhichOneof("kind") in CHARGE_KINDS


def _meets(fault: Fault, method: Method) -> bool:
    if fault.method:
        return fault.method == method
    return method == METHOD_CREATE_PAYMENT or not _only_charges(fault)


def _dealt(fault: Fault) -> DealtFault:
    kind = fault.WhichOneof("kind")
    assert kind is not None, "check_faults lets no fault without a kind through"
    return DealtFault(
        kind,
        code=fault.status_code,
        after_s=fault.charge_after_ms / 1000,
        after_execution=fault.after_execution,
    )
