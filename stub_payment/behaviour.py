"""The behaviour of the provider: which are valid, and what each call draws from one."""

import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from protos.payment.v1.payment_pb2 import Behaviour, Exponential, Latency, Lognormal
from stub_payment.faults import (
    METHODS,
    DealtFault,
    InvalidBehaviourError,
    check_faults,
    check_range,
    dealt_to,
)

MINIMUM_SCALE_MS = 1e-6  # a nanosecond; below it logarithms and rates overflow
MAXIMUM_LATENCY_MS = 3_600_000.0  # an hour, also where a distribution names no maximum
MAXIMUM_SIGMA = 10.0
MAXIMUM_REMEMBERED_IDS = 1_000_000


class Plan(NamedTuple):
    """What one call has to do: wait, then answer or go wrong."""

    delay_s: float
    fault: DealtFault | None


class Dice:
    """Draws a plan for each call. The same behaviour and process draw the same plans."""

    def __init__(self, behaviour: Behaviour, process_index: int) -> None:
        self._random = Random(f"{behaviour.seed}/{process_index}")
        self._delay_s = _delay_draw(behaviour.latency, self._random)
        self._faults = {method: dealt_to(method, behaviour.faults) for method in METHODS}

    def throw(self, method: str) -> Plan | None:
        """The plan of the next call, which is of this method, or None for an answer at once."""
        delay_s = self._delay_s()
        fault = self._fault(method)
        return Plan(delay_s, fault) if delay_s > 0 or fault else None

    def _fault(self, method: str) -> DealtFault | None:
        dealt = self._faults[method]
        if not dealt:
            return None
        point = self._random.random()
        return next((fault for limit, fault in dealt if point < limit), None)


def dice_for(behaviour: Behaviour, process_index: int) -> Dice | None:
    """The dice of a valid behaviour, or None where every answer is at once."""
    if behaviour.latency.WhichOneof("kind") is None and not behaviour.faults:
        return None
    return Dice(behaviour, process_index)


def check_behaviour(behaviour: Behaviour) -> None:
    """Raises InvalidBehaviourError, naming the field, where a behaviour makes no sense."""
    _check_latency(behaviour.latency)
    check_faults(behaviour)
    if behaviour.remember_request_ids > MAXIMUM_REMEMBERED_IDS:
        raise InvalidBehaviourError(
            f"remember_request_ids: {behaviour.remember_request_ids} is over"
            f" {MAXIMUM_REMEMBERED_IDS}"
        )


def _check_latency(latency: Latency) -> None:
    match latency.WhichOneof("kind"):
        case "fixed_ms":
            check_range("latency.fixed_ms", latency.fixed_ms, MAXIMUM_LATENCY_MS)
        case "lognormal":
            shape = latency.lognormal
            _check_scale("latency.lognormal.median_ms", shape.median_ms)
            check_range("latency.lognormal.sigma", shape.sigma, MAXIMUM_SIGMA)
            check_range("latency.lognormal.maximum_ms", shape.maximum_ms, MAXIMUM_LATENCY_MS)
        case "exponential":
            mean_ms, maximum_ms = latency.exponential.mean_ms, latency.exponential.maximum_ms
            _check_scale("latency.exponential.mean_ms", mean_ms)
            check_range("latency.exponential.maximum_ms", maximum_ms, MAXIMUM_LATENCY_MS)


def _check_scale(field: str, value: float) -> None:
    if not MINIMUM_SCALE_MS <= value <= MAXIMUM_LATENCY_MS:
        raise InvalidBehaviourError(
            f"{field}: {value} is not from {MINIMUM_SCALE_MS} to {MAXIMUM_LATENCY_MS}"
        )


def _delay_draw(latency: Latency, random: Random) -> Callable[[], float]:
    match latency.WhichOneof("kind"):
        case "fixed_ms":
            delay_s = latency.fixed_ms / 1000
            return lambda: delay_s
        case "lognormal":
            return _lognormal_draw(latency.lognormal, random)
        case "exponential":
            return _exponential_draw(latency.exponential, random)
    return lambda: 0.0


def _lognormal_draw(shape: Lognormal, random: Random) -> Callable[[], float]:
    location, sigma = math.log(shape.median_ms / 1000), shape.sigma
    limit_s = (shape.maximum_ms or MAXIMUM_LATENCY_MS) / 1000
    return lambda: min(random.lognormvariate(location, sigma), limit_s)


def _exponential_draw(shape: Exponential, random: Random) -> Callable[[], float]:
    rate_per_s = 1000 / shape.mean_ms
    limit_s = (shape.maximum_ms or MAXIMUM_LATENCY_MS) / 1000
    return lambda: min(random.expovariate(rate_per_s), limit_s)
