"""The order of the rounds: blocks that alternate AB BA, and blocks that are run again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """One round of each label, back to back, with one arrival seed. Numbers count from 1."""

    number: int
    order: tuple[str, str]
    seed: int
    rerun_of: int | None = None


def plan_blocks(labels: tuple[str, str], rounds: int, seed: int) -> list[Block]:
    """The blocks of a comparison: AB, BA, AB, ... with a seed each, drawn from the run's seed."""
    draw = random.Random(seed)
    first, second = labels
    return [
        Block(
            number=number,
            order=(first, second) if number % 2 else (second, first),
            seed=draw.randrange(1, 2**31),
        )
        for number in range(1, rounds + 1)
    ]


def rerun(block: Block, blocks: Sequence[Block]) -> Block:
    """The same block once more, at the end, under a new number."""
    return Block(
        number=max(planned.number for planned in blocks) + 1,
        order=block.order,
        seed=block.seed,
        # A rerun of a rerun still stands for the first one.
        rerun_of=block.number if block.rerun_of is None else block.rerun_of,
    )
