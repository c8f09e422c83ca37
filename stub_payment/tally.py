"""Counts of calls, answers and faults, and their sums over processes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from protos.payment.v1.payment_pb2 import Counters
from stub_payment.faults import METHODS

_STATUS_CODES = 17


@dataclass
class Tally:
    """What one process counted since its start or the last reset.

    A call keeps the tally it began with, so that an answer after a reset is not
    counted without its call. Calls that the caller gave up have no answer.
    """

    # Of each method and code from the start: counting in a plain dict is cheaper than in a Counter.
    calls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(METHODS, 0))
    answers: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(_STATUS_CODES), 0))
    faults: Counter[str] = field(default_factory=Counter)
    # GetPayment that was answered OK without a message of either; not in the others.
    payments_at_once: int = 0


def summed(parts: Iterable[Counters], charges: int) -> Counters:
    """The counters of all processes as one; `charges` is the shared ledger's count."""
    total = Counters(charges=charges)
    for part in parts:
        for method, count in part.calls.items():
            total.calls[method] += count
        for code, count in part.answers.items():
            total.answers[code] += count
        for kind, count in part.faults.items():
            total.faults[kind] += count
        total.calls_in_flight += part.calls_in_flight
        total.request_ids.extend(part.request_ids)
        total.process_cpu_s.extend(part.process_cpu_s)
        total.process_ids.extend(part.process_ids)
    return total
