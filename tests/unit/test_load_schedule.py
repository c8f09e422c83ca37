"""The arrival schedule: its gaps, its split over workers, its repeatability."""

import itertools
from collections.abc import Iterable
from typing import cast

import numpy as np
import pytest
import scipy
from numpy.typing import NDArray

from bakeoff.load.engine.schedule import NS, Arrivals, Chunk, Part, Schedule, closed_chunks

WHOLE = Part()


def due_ns(schedule: Schedule, part: Part = WHOLE) -> NDArray[np.int64]:
    """All instants of a part."""
    return np.concatenate([chunk.due_ns for chunk in schedule.chunks(part)])


def test_poisson_gaps_are_exponential() -> None:
    due = due_ns(Schedule(1000, "poisson", 42, 20))
    gaps_s = np.diff(due, prepend=0) / NS
    assert scipy.stats.kstest(gaps_s, scipy.stats.expon(scale=1 / 1000).cdf).pvalue > 0.01
    # And independent of each other.
    assert abs(np.corrcoef(gaps_s[:-1], gaps_s[1:])[0, 1]) < 4 / np.sqrt(len(gaps_s))


def test_a_workers_part_of_poisson_is_not_exponential_but_the_union_is() -> None:
    schedule = Schedule(1000, "poisson", 42, 20)
    gaps_s = np.diff(due_ns(schedule, Part(0, 2))) / NS
    # The sum of two exponential gaps: Erlang.
    assert scipy.stats.kstest(gaps_s, scipy.stats.erlang(2, scale=1 / 1000).cdf).pvalue > 0.01
    assert scipy.stats.kstest(gaps_s, scipy.stats.expon(scale=2 / 1000).cdf).pvalue < 1e-6


def test_constant_gaps_are_all_the_same() -> None:
    due = due_ns(Schedule(400, "constant", 1, 30))
    assert len(due) == 12_000
    assert np.abs(np.diff(due) - NS / 400).max() <= 1
    assert due[0] == 0


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_within_four_sigma(seed: int) -> None:
    count = Schedule(500, "poisson", seed, 10).count(Part(), 10 * NS)
    assert abs(count - 5000) <= 4 * np.sqrt(5000)


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
@pytest.mark.parametrize("workers", [2, 3, 7])
def test_the_parts_are_the_whole(arrivals: Arrivals, workers: int) -> None:
    schedule = Schedule(3000, arrivals, 7, 8)
    (whole, *parts) = [
        list(
            itertools.chain.from_iterable(
                zip(chunk.numbers, chunk.due_ns, chunk.draws, strict=True)
                for chunk in schedule.chunks(part)
            )
        )
        for part in (Part(), *(Part(index, workers) for index in range(workers)))
    ]
    assert sorted(itertools.chain.from_iterable(parts)) == whole
    assert [number for number, _, _ in whole] == list(range(len(whole)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_seed_is_a_schedule_and_another_is_another() -> None:
    first, again, other = (
        due_ns(Schedule(100, "poisson", seed, 5))[:100].tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_draws_are_uniform_and_the_same_in_both_models() -> None:
    draws = np.concatenate(
        [chunk.draws for chunk in Schedule(1000, "poisson", 3, 20).chunks(Part())]
    )
    assert scipy.stats.kstest(draws, "uniform").pvalue > 0.01
    closed = next(closed_chunks(3, Part()))
    assert (closed.draws[:1000] == draws[:1000]).all()
    second = next(closed_chunks(3, Part(1, 2)))
    assert (second.draws[:100] == draws[1:201:2]).all()


@pytest.mark.parametrize("drawn_at_once", [1, 7, 256, 100_000])
@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_how_many_are_drawn_at_once_changes_nothing(arrivals: Arrivals, drawn_at_once: int) -> None:
    schedule, part = Schedule(900, arrivals, 5, 10), Part(2, 3)
    found, drawn = columns(schedule.chunks(part)), columns(schedule.chunks(part, drawn_at_once))
    assert len(found[0]) > 2000
    for one, other in zip(found, drawn, strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("drawn_at_once", [1, 7, 256])
def test_nor_in_a_closed_model(drawn_at_once: int) -> None:
    part = Part(2, 3)
    found = columns(itertools.islice(closed_chunks(3, part), 1))
    drawn = columns(itertools.islice(closed_chunks(3, part, drawn_at_once), 3000 // drawn_at_once))
    for one, other in zip(found, drawn, strict=True):
        assert (one[: len(other)] == other).all()
        assert len(other) > 900


def columns(chunks: Iterable[Chunk]) -> list[NDArray[np.generic]]:
    """Numbers, instants and draws."""
    rows = [(chunk.numbers, chunk.due_ns, chunk.draws) for chunk in chunks]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def test_the_count_until_an_instant() -> None:
    schedule = Schedule(1000, "poisson", 9, 30)
    due = due_ns(schedule, Part(1, 3))
    for until in (0, 1, NS, 12 * NS + 345, 60 * NS):
        assert schedule.count(Part(1, 3), until) == (due < until).sum()


@pytest.mark.parametrize("rate_rps", [1e-12, 1e-6])
@pytest.mark.parametrize("duration_s", [10, 0])
def test_a_rate_of_next_to_nothing_has_next_to_no_arrivals(
    rate_rps: float, duration_s: float
) -> None:
    for arrivals, first in (("constant", 1), ("poisson", 0)):
        schedule = Schedule(rate_rps, cast(Arrivals, arrivals), 1, duration_s)
        assert schedule.count(WHOLE, 10 * NS) == first
        due = next(schedule.chunks(WHOLE)).due_ns
        assert (np.diff(due) >= 0).all()


def test_a_schedule_without_end_goes_on() -> None:
    chunks = Schedule(100, "poisson", 1, 0).chunks(Part())
    last = [next(chunks) for _ in range(3)][-1]
    assert last.due_ns[-1] > 200 * NS
