"""The rate that both services get, from what the slower one managed in its pilot."""

from collections.abc import Sequence
from decimal import ROUND_DOWN, Context

REFERENCE_SHARE = 0.5
REFERENCE_DIGITS = 2


def reference_rate(pilots_rps: Sequence[float]) -> float:
    """Half of the lower pilot throughput, in requests a second, rounded down to two digits.

    Raises ValueError where a pilot answered nothing.
    """
    lowest = min(pilots_rps)
    if not lowest > 0:
        raise ValueError(f"a pilot answered nothing: {list(pilots_rps)}")
    rounding = Context(prec=REFERENCE_DIGITS, rounding=ROUND_DOWN)
    return float(rounding.create_decimal(repr(float(REFERENCE_SHARE * lowest))))
