"""When requests are due: one seeded schedule for the whole swarm, of which a worker takes a part.

Worker i of n takes the arrivals k = i, i + n, i + 2n, … The union over the workers is the
schedule, whatever their number, and arrival k has the same instant and the same draw in all of
them. Sums and differences of a Poisson process stay what they are; constant gaps stay constant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Arrivals = Literal["poisson", "constant"]

NS = 1_000_000_000
# Arrivals of the whole swarm that are drawn at once, at most.
CHUNK = 8192
# Past any clock: where a schedule ends.
NEVER_NS = 2**62
# On average between two arrivals, three days: a chunk of such gaps still ends within 63 bits.
_LONGEST_GAP_NS = 2**48


@dataclass(frozen=True)
class Part:
    """A worker's part: every `count`-th arrival from `index` on."""

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class Chunk:
    """Some arrivals of one part, in order.

    `due_ns` counts from the schedule's start; `numbers` are global; `draws` are uniform in [0, 1).
    """

    numbers: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    draws: NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """Arrivals at `rate_rps` in total over `duration_s` seconds (0: without end)."""

    rate_rps: float
    arrivals: Arrivals
    seed: int
    duration_s: float

    def chunks(self, part: Part, drawn_at_once: int = CHUNK) -> Iterator[Chunk]:
        """The arrivals of a part, the same however many of the swarm are drawn at once: instants
        are sums of whole nanoseconds, which have no order."""
        gaps, draws = generators(self.seed)
        gap_ns = min(NS / self.rate_rps, _LONGEST_GAP_NS)
        number, reached_ns = 0, 0
        end_ns = int(self.duration_s * NS) if self.duration_s else NEVER_NS
        while reached_ns < end_ns:
            numbers = np.arange(number, number + drawn_at_once)
            if self.arrivals == "constant":
                due_ns = np.minimum(numbers / self.rate_rps * NS, NEVER_NS).astype(np.int64)
            else:
                gaps_ns = np.rint(gaps.exponential(gap_ns, drawn_at_once)).astype(np.int64)
                due_ns = gaps_ns.cumsum() + reached_ns
            reached_ns = int(due_ns[-1])
            inside = drawn_at_once if reached_ns < end_ns else int(due_ns.searchsorted(end_ns))
            mine = slice((part.index - number) % part.count, inside, part.count)
            drawn = draws.random(drawn_at_once)
            number += drawn_at_once
            yield Chunk(numbers[mine], due_ns[mine], drawn[mine])

    def count(self, part: Part, until_ns: int) -> int:
        """How many arrivals of a part are due before `until_ns`."""
        total = 0
        for chunk in self.chunks(part):
            due = int(np.searchsorted(chunk.due_ns, until_ns))
            total += due
            if due < len(chunk.due_ns):
                break
        return total


def generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """Independent generators for the gaps and for the draws of a seed."""
    gaps, draws = np.random.SeedSequence(seed).spawn(2)
    return np.random.Generator(np.random.PCG64(gaps)), np.random.Generator(np.random.PCG64(draws))


def closed_chunks(seed: int, part: Part, drawn_at_once: int = CHUNK) -> Iterator[Chunk]:
    """The arrivals of a part in a closed model: all due from the start on."""
    _, draws = generators(seed)
    number = 0
    while True:
        numbers = np.arange(number, number + drawn_at_once)
        mine = slice((part.index - number) % part.count, None, part.count)
        drawn = draws.random(drawn_at_once)[mine]
        number += drawn_at_once
        yield Chunk(numbers[mine], np.zeros(len(drawn), np.int64), drawn)
