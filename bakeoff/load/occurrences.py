"""How often each of some whole numbers comes."""

import numpy as np

from bakeoff.measure.histograms import Counters

# Numbers that lie further apart than so many times their count are sorted instead.
_SPREAD = 8
_SPREAD_MINIMUM = 1024


def occurrences(values: Counters) -> tuple[Counters, Counters]:
    """The different values, ascending, and how often each comes: np.unique without its sorting,
    which takes ten times as long where the values lie close together."""
    if not len(values):
        return values, values
    lowest = int(values.min())
    if int(values.max()) - lowest >= max(_SPREAD_MINIMUM, _SPREAD * len(values)):
        different, counts = np.unique(values, return_counts=True)
        return different, counts.astype(np.int64)
    counts = np.bincount(values - lowest)
    found = np.flatnonzero(counts)
    return found + lowest, counts[found]


def counted(values: Counters) -> dict[int, int]:
    """How often each different value comes, ascending."""
    different, counts = occurrences(values)
    return dict(zip(different.tolist(), counts.tolist(), strict=True))
