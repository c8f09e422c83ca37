"""Who begins when in the open model: what is due, on the lanes that are free."""

import asyncio
import time
from time import monotonic_ns
from typing import cast

import pytest

from bakeoff.load.engine import pacing
from bakeoff.load.engine.lane import Arrival, Lane
from bakeoff.load.engine.pacing import OpenPacer
from bakeoff.load.engine.schedule import CHUNK, NEVER_NS, NS, Part, Schedule

DEADLINE_S = 30.0
WHOLE = Part()


class Begun:
    """A lane that notes what it is given, and keeps it."""

    def __init__(self) -> None:
        self.parked = False
        self.arrivals: list[Arrival] = []

    def start(self, arrival: Arrival, mark: int) -> None:
        assert mark == 0
        self.arrivals.append(arrival)


def pacer_of(count: int, lanes: int) -> tuple[OpenPacer, list[Begun]]:
    """A pacer of so many arrivals, soon due, that is not started, with so many free lanes."""
    schedule = Schedule(1e6, "constant", 1, count / 1e6)
    pacer = OpenPacer(schedule, WHOLE, monotonic_ns() + NS // 4, lambda: None)
    begun = [Begun() for _ in range(lanes)]
    for lane in begun:
        assert pacer.take(cast(Lane, lane)) is None
        assert lane.parked
    return pacer, begun


def stop(pacer: OpenPacer) -> None:
    """In a loop, which it needs."""

    async def stopped() -> None:
        pacer.stop()

    asyncio.run(stopped())


def await_due() -> None:
    """Until all of `pacer_of` are due."""
    time.sleep(0.3)


def test_what_is_due_begins_and_no_more() -> None:
    pacer, lanes = pacer_of(5, lanes=8)
    pacer.catch_up()
    assert pacer.begun == 0
    await_due()
    pacer.catch_up()
    pacer.catch_up()
    assert sorted(arrival[0] for lane in lanes for arrival in lane.arrivals) == [0, 1, 2, 3, 4]
    assert (pacer.begun, pacer.waited) == (5, 0)
    assert sum(lane.parked for lane in lanes) == 3
    stop(pacer)


def test_what_finds_no_free_lane_is_taken_by_the_next_in_order() -> None:
    pacer, (lane,) = pacer_of(3, lanes=1)
    await_due()
    pacer.catch_up()
    assert [arrival[0] for arrival in lane.arrivals] == [0]
    taken = [pacer.take(cast(Lane, lane)) for _ in range(3)]
    assert [arrival and arrival[0] for arrival in taken] == [1, 2, None]
    assert (pacer.begun, pacer.waited) == (3, 2)
    stop(pacer)


def test_nothing_begins_after_the_stop() -> None:
    pacer, lanes = pacer_of(5, lanes=2)
    stop(pacer)
    await_due()
    pacer.catch_up()
    assert [lane.arrivals for lane in lanes] == [[], []]
    assert pacer.next_due() == NEVER_NS


# Above the rate up to which the timer rings early, and below it.
@pytest.mark.parametrize("rate_rps", [5000.0, 50.0])
def test_each_is_told_when_it_is_due_also_after_turns_without_any(rate_rps: float) -> None:
    """Turns in between, which is what answers make, do not take the next one's timer away."""
    late_ns: list[int] = []

    async def run() -> None:
        schedule = Schedule(rate_rps, "constant", 1, 20 / rate_rps)
        pacer = OpenPacer(schedule, WHOLE, monotonic_ns(), lambda: pacer.catch_up())

        class Lanes(Begun):
            def start(self, arrival: Arrival, mark: int) -> None:
                late_ns.append(monotonic_ns() - arrival[2])
                asyncio.get_running_loop().call_soon(again, self)

        def again(lane: Lanes) -> None:
            arrival = pacer.take(cast(Lane, lane))
            if arrival is not None:
                lane.start(arrival, 0)
            pacer.catch_up()

        pacer.start()
        again(Lanes())
        async with asyncio.timeout(DEADLINE_S):
            while pacer.next_due() < NEVER_NS:
                await asyncio.sleep(1 / rate_rps / 3)
                pacer.catch_up()
        await asyncio.sleep(0)
        pacer.stop()

    asyncio.run(run())
    assert len(late_ns) == 20
    assert min(late_ns) >= 0


def test_the_timer_alone_begins_all() -> None:
    lanes = [Begun() for _ in range(20)]

    async def run() -> None:
        schedule = Schedule(500, "poisson", 1, 0.02)
        pacer = OpenPacer(schedule, WHOLE, monotonic_ns() + NS // 100, lambda: pacer.catch_up())
        for lane in lanes:
            pacer.take(cast(Lane, lane))
        pacer.start()
        async with asyncio.timeout(DEADLINE_S):
            while pacer.next_due() < NEVER_NS:
                await asyncio.sleep(0.01)
        assert pacer.begun == schedule.count(WHOLE, NS) > 0
        pacer.stop()

    asyncio.run(run())
    assert all(lane.arrivals[0][2] <= monotonic_ns() for lane in lanes if lane.arrivals)


@pytest.mark.parametrize("count", [1, 3, 32, 1000])
def test_few_arrivals_are_drawn_at_once_for_a_part(count: int) -> None:
    assert pacing._drawn_at_once(Part(0, count)) == min(256 * count, CHUNK)
