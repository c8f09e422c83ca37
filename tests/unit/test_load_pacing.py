"""Who begins when in the open model: what is due, on the lanes that are free."""

import asyncio
import time
from collections.abc import Iterator
from time import monotonic_ns
from types import SimpleNamespace
from typing import cast

import pytest

from bakeoff.load.engine import pacing
from bakeoff.load.engine.arrivals import arrivals_of, drawn_at_once
from bakeoff.load.engine.lane import Arrival, Lane
from bakeoff.load.engine.pacing import ClosedPacer, OpenPacer
from bakeoff.load.engine.schedule import CHUNK, NEVER_NS, NS, Chunk, Part, Schedule

DEADLINE_S = 30.0
MANY = 200
EARLY_NS, BUSY_NS = 80_000, 30_000
WHOLE = Part()


class Begun:
    """A lane that notes what it is given, and keeps it."""

    def __init__(self) -> None:
        self.parked = False
        self.connection = SimpleNamespace(closing=False)
        self.arrivals: list[Arrival] = []

    def start(self, arrival: Arrival, mark: int) -> None:
        assert mark == 0
        self.arrivals.append(arrival)


class RecordedTimer:
    """What it was set to; 0 where it was to be silent."""

    def __init__(self) -> None:
        self.set_to: list[int] = []

    def arm(self, when_ns: int) -> None:
        self.set_to.append(when_ns)

    def disarm(self) -> None:
        self.set_to.append(0)

    def fileno(self) -> int:
        return 0

    def close(self) -> None:
        pass


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


def test_a_lane_that_is_losing_its_connection_is_passed_over() -> None:
    pacer, lanes = pacer_of(3, lanes=4)
    for place in (1, 3):
        lanes[place].connection.closing = True
    await_due()
    pacer.catch_up()
    assert [len(lane.arrivals) for lane in lanes] == [1, 0, 1, 0]
    # It is asked for again when the lane has another connection.
    assert not any(lane.parked for lane in lanes)
    assert pacer.begun == 2
    stop(pacer)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_closed_model_that_is_stopped_before_it_starts_begins_nothing(stopped: bool) -> None:
    async def run() -> None:
        pacer = ClosedPacer(None, 1, WHOLE, monotonic_ns() + NS // 20)
        lane = Begun()
        pacer.start()
        assert pacer.take(cast(Lane, lane)) is None
        if stopped:
            pacer.stop()
        await asyncio.sleep(0.2)
        assert len(lane.arrivals) == pacer.begun == (0 if stopped else 1)
        assert (pacer.at_once is None) == stopped

    asyncio.run(run())


def test_nor_does_a_closed_model_begin_without_a_connection() -> None:
    async def run() -> None:
        pacer = ClosedPacer(lambda _: 0.01, 1, WHOLE, monotonic_ns())
        lanes = [Begun(), Begun()]
        lanes[0].connection.closing = True
        for lane in lanes:
            pacer.take(cast(Lane, lane))
        pacer.start()
        async with asyncio.timeout(DEADLINE_S):
            while not lanes[1].arrivals:
                await asyncio.sleep(0.01)
        assert (lanes[0].arrivals, lanes[0].parked, pacer.begun) == ([], False, 1)

    asyncio.run(run())


def test_nothing_begins_after_the_stop() -> None:
    pacer, lanes = pacer_of(5, lanes=2)
    stop(pacer)
    await_due()
    pacer.catch_up()
    assert [lane.arrivals for lane in lanes] == [[], []]
    assert pacer.next_due() == NEVER_NS


def caught_up_before_it_is_due(before_ns: int) -> Iterator[tuple[OpenPacer, Begun, int]]:
    """Pacers of one arrival that have just caught up, so long before it; and when that began."""
    for _ in range(MANY):
        due_ns = monotonic_ns() + NS // 500
        pacer = OpenPacer(Schedule(50, "constant", 1, 0.02), WHOLE, due_ns, lambda: None)
        lane = Begun()
        if pacer.take(cast(Lane, lane)) is None:
            while (began_ns := monotonic_ns()) < due_ns - before_ns:
                pass
            pacer.catch_up()
            yield pacer, lane, began_ns
        stop(pacer)


def test_nothing_begins_before_it_is_due() -> None:
    """What the timer rings early for is waited for, at last busily."""
    waited_for = 0
    for _, lane, began_ns in caught_up_before_it_is_due(BUSY_NS // 2):
        ((_, _, due_ns),) = lane.arrivals
        assert monotonic_ns() >= due_ns
        waited_for += began_ns < due_ns
    assert waited_for


def test_answers_are_not_kept_waiting_for_an_arrival() -> None:
    """The loop has its turn while the arrival is still some way off."""
    left = 0
    for pacer, lane, began_ns in caught_up_before_it_is_due(BUSY_NS + 10_000):
        if not lane.arrivals:
            left += 1
            assert pacer.next_due() - began_ns > BUSY_NS
    assert left


@pytest.mark.parametrize(
    ("rate_rps", "engines", "early_ns"),
    [
        (0.001, 1, EARLY_NS),
        (1000.0, 1, EARLY_NS),
        (1600.0, 1, 50_000),
        (2000.0, 1, 40_000),
        (4000.0, 2, 40_000),
        (2001.0, 1, 0),
        (5000.0, 1, 0),
    ],
)
def test_the_timer_rings_early_by_a_share_of_the_time_between_arrivals(
    rate_rps: float, engines: int, early_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    timer = RecordedTimer()
    monkeypatch.setattr(pacing, "TimerFd", lambda: timer)
    start_ns = monotonic_ns() + 3600 * NS
    schedule = Schedule(rate_rps, "constant", 1, 1)
    pacer = OpenPacer(schedule, Part(0, engines), start_ns, lambda: None)
    lanes = [cast(Lane, Begun()) for _ in range(2)]
    for lane in lanes:
        pacer.take(lane)
    # Once for the two, and for what changes nothing.
    pacer.catch_up()
    assert timer.set_to == [start_ns - early_ns]
    for lane in lanes:
        pacer.withdraw(lane)
    pacer.catch_up()
    pacer.take(lanes[0])
    assert timer.set_to == [start_ns - early_ns, 0, start_ns - early_ns]
    stop(pacer)


@pytest.mark.parametrize("lanes", [1, 3])
def test_the_timer_alone_begins_all_and_rings_no_more_than_it_must(lanes: int) -> None:
    """With lanes that come free outside of any turn, and stay busy for longer than a gap."""
    count, ahead_ns, late_ns = 40, list[int](), list[int]()
    rings_in_vain = 0
    schedule = Schedule(400, "constant", 1, count / 400)

    class Busy(Begun):
        def start(self, arrival: Arrival, mark: int) -> None:
            late_ns.append(monotonic_ns() - arrival[2])
            asyncio.get_running_loop().call_later(0.004, free, self)

    def ring() -> None:
        nonlocal rings_in_vain
        rings_in_vain += not any(lane.parked for lane in all_lanes)
        ahead_ns.append(pacer.next_due() - monotonic_ns())
        pacer.catch_up()

    def free(lane: Busy) -> None:
        arrival = pacer.take(cast(Lane, lane))
        if arrival is not None:
            lane.start(arrival, pacer.mark_taken)

    async def run() -> None:
        pacer.start()
        for lane in all_lanes:
            free(lane)
        async with asyncio.timeout(DEADLINE_S):
            while pacer.next_due() < NEVER_NS:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        pacer.stop()

    all_lanes = [Busy() for _ in range(lanes)]
    pacer = OpenPacer(schedule, WHOLE, monotonic_ns() + NS // 10, ring)
    asyncio.run(run())
    assert pacer.begun == len(late_ns) == count
    assert min(late_ns) >= 0
    assert rings_in_vain == 0
    assert max(ahead_ns) <= EARLY_NS
    # What rings when there is no more than this to wait for begins something.
    assert 1 <= sum(ns <= BUSY_NS for ns in ahead_ns) <= count


def test_few_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    whole = Schedule.chunks

    def chunks(schedule: Schedule, part: Part, drawn_at_once: int = CHUNK) -> Iterator[Chunk]:
        made.append(drawn_at_once)
        return whole(schedule, part, drawn_at_once)

    monkeypatch.setattr(Schedule, "chunks", chunks)
    schedule = Schedule(1000, "poisson", 1, 1)
    stop(OpenPacer(schedule, Part(1, 3), monotonic_ns(), lambda: None))
    assert made == [3 * 2048]


@pytest.mark.parametrize("count", [1, 3, 32, 1000])
def test_few_arrivals_are_drawn_at_once_for_a_part(count: int) -> None:
    assert drawn_at_once(Part(0, count)) == min(2048 * count, CHUNK)


def test_all_arrivals_are_made_in_order() -> None:
    schedule, part, start_ns = Schedule(10_000, "poisson", 1, 1), Part(1, 3), 12_345
    (whole,) = schedule.chunks(part, 20_000)
    arrivals = [*arrivals_of(schedule.chunks(part, 2000), start_ns)]
    assert [number for number, _, _ in arrivals] == [*range(1, 3 * len(arrivals), 3)]
    assert [draw for _, draw, _ in arrivals] == whole.draws.tolist()
    assert [due_ns - start_ns for _, _, due_ns in arrivals] == whole.due_ns.tolist()
    assert len(arrivals) > 3000
