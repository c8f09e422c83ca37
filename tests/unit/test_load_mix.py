"""The tasks of a mix: each gets its share, whatever the seed."""

from collections import Counter

import pytest

from bakeoff.load.engine.mix import Mix

WEIGHTS = [4.0, 3.0, 2.0, 1.0, 1.0, 1.0]
ARRIVALS = 1200


@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**53 - 1])
@pytest.mark.parametrize("first", [0, 10_000_000])
def test_each_task_gets_its_share(seed: int, first: int) -> None:
    mix = Mix(WEIGHTS, seed)
    found = Counter(mix.choose(number) for number in range(first, first + ARRIVALS))
    for index, weight in enumerate(WEIGHTS):
        assert abs(found[index] - ARRIVALS * weight / sum(WEIGHTS)) <= 5


def test_the_sequence_is_the_seeds() -> None:
    def sequence(seed: int) -> list[int]:
        mix = Mix(WEIGHTS, seed)
        return [mix.choose(number) for number in range(100)]

    assert sequence(7) == sequence(7) != sequence(8)
