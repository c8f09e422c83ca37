"""Arrivals one by one, out of the chunks that they are drawn in."""

from collections.abc import Iterator
from itertools import chain

from bakeoff.load.engine.lane import Arrival
from bakeoff.load.engine.schedule import CHUNK, Chunk, Part

# Nothing is sent meanwhile, so few arrivals are drawn at once, and fewer made of them: in a busy
# engine numpy takes 0.15 ms to draw any at all, and 1.3 ms to draw and make 8,192.
_DRAWN = 2048
_MADE = 256


def drawn_at_once(part: Part) -> int:
    """How many of the swarm's arrivals a part draws at a time."""
    return min(_DRAWN * part.count, CHUNK)


def arrivals_of(chunks: Iterator[Chunk], start_ns: int) -> Iterator[Arrival]:
    """The arrivals of chunks one by one, without a Python frame for each."""
    return chain.from_iterable(
        zip(
            chunk.numbers[made].tolist(),
            chunk.draws[made].tolist(),
            (chunk.due_ns[made] + start_ns).tolist(),
            strict=True,
        )
        for chunk in chunks
        for made in _pieces(len(chunk.numbers))
    )


def _pieces(count: int) -> Iterator[slice]:
    return (slice(first, first + _MADE) for first in range(0, count, _MADE))
