"""Which task an arrival runs: by the weights, and the same in every run with the same seed."""

import math
import random
from collections.abc import Sequence
from itertools import accumulate

# The golden ratio's fraction: its multiples fill [0, 1) evenly.
_GOLDEN = (math.sqrt(5) - 1) / 2


class Mix:
    """Tasks by their weights; any stretch of arrivals has nearly as many of each as it should."""

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        total = sum(weights)
        self._shares = [reached / total for reached in accumulate(weights)]
        self._shares[-1] = 1.0
        # Where the sequence begins. Not a product with the seed: of a large one, no digits would
        # be left behind the point.
        self._offset = random.Random(seed).random()

    def choose(self, number: int) -> int:
        """The task of an arrival, by its number in the whole swarm."""
        point = (number * _GOLDEN + self._offset) % 1.0
        return next(index for index, share in enumerate(self._shares) if point < share)
