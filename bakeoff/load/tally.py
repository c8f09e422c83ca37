"""The counters of a histogram that many reports add to: gathered first, then added in one go."""

import numpy as np

from bakeoff.load.report import SparseCounters, add_counters
from bakeoff.measure import histograms
from bakeoff.measure.histograms import Counters

# Gathered at most: adding has a cost of its own, and gathering takes memory.
_GATHERED = 64


class Tally:
    """Counters, of which those that are not zero can be packed."""

    def __init__(self) -> None:
        self._gathered: list[SparseCounters] = []
        self._dense: Counters | None = None
        self._packed: tuple[Counters, Counters] | None = None

    def add(self, new: SparseCounters) -> None:
        """Adds what a report counted."""
        self._gathered.append(new)
        if len(self._gathered) >= _GATHERED:
            is_packed = self._packed is not None
            self.counters()
            if is_packed:
                self.pack()

    def counters(self) -> Counters:
        """All counters so far, as a view."""
        if self._dense is None:
            self._dense = np.zeros(histograms.COUNTERS, np.int64)
            if self._packed is not None:
                indices, counts = self._packed
                self._dense[indices] = counts
                self._packed = None
        if self._gathered:
            add_counters(self._dense, self._gathered)
            self._gathered.clear()
        return self._dense

    def pack(self) -> None:
        """Nobody is going to add much, or to look, for now."""
        counters = self.counters()
        indices = np.flatnonzero(counters)
        self._packed = (indices, counters[indices])
        self._dense = None
