"""The rate that both services get, from what the slower one managed in its pilot."""

from collections.abc import Sequence
from decimal import ROUND_DOWN, Context

from bakeoff.measure.records import PhaseRecord

REFERENCE_SHARE = 0.5
REFERENCE_DIGITS = 2


def arrivals_rps(phase: PhaseRecord) -> float:
    """The arrivals a second that a phase achieved: one may be several requests."""
    counts = phase.counts
    return phase.achieved_rps * counts.arrivals / counts.scheduled if counts.scheduled else 0.0


def reference_rate(pilots_rps: Sequence[float]) -> float:
    """Half of the lower pilot throughput, in arrivals a second, rounded down to two digits.

    Raises ValueError where a pilot answered nothing.
    """
    lowest = min(pilots_rps)
    if not lowest > 0:
        raise ValueError(f"a pilot answered nothing: {list(pilots_rps)}")
    rounding = Context(prec=REFERENCE_DIGITS, rounding=ROUND_DOWN)
    return float(rounding.create_decimal(repr(float(REFERENCE_SHARE * lowest))))
