"""Who begins when: an open model that follows a schedule, and a closed one.

Both are told when a lane is free, and begin arrivals on free lanes. In the open model an arrival
that finds none waits, in order, without being held anywhere: the schedule itself is the queue, and
a lane that comes free takes the first arrival of it that is due.
"""

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Protocol

from bakeoff.load.engine.lane import Lane
from bakeoff.load.engine.schedule import NEVER_NS, NS, Chunk, Part, Schedule, draw_chunks
from bakeoff.timerfd import TimerFd

# begin(lane, number, draw, intended_ns, waited) starts a task on a lane.
Begin = Callable[[Lane, int, float, int, bool], None]


class Pacer(Protocol):
    """Hands out arrivals from `start` on, until its end or `stop`."""

    # Arrivals begun, and those of them that had found no free lane.
    begun: int
    waited: int

    def start(self) -> None:
        """Begins at the instant of the schedule's start."""

    def stop(self) -> None:
        """Begins nothing more."""

    def free(self, lane: Lane) -> None:
        """A lane can take an arrival."""

    def withdraw(self, lane: Lane) -> None:
        """A lane cannot any more, until it is free again."""

    def due(self, until_ns: int) -> int:
        """How many arrivals were due before `until_ns`, counted from the start."""

    def next_due(self) -> int:
        """When the next arrival is due (NEVER_NS: none any more)."""


class OpenPacer:
    """Arrivals at their instants, whether or not the answers keep up."""

    def __init__(self, begin: Begin, schedule: Schedule, part: Part, start_ns: int) -> None:
        self.begun = 0
        self.waited = 0
        self._begin = begin
        self._schedule = schedule
        self._part = part
        self._start_ns = start_ns
        self._chunks: Iterator[Chunk] = schedule.chunks(part)
        self._idle: list[Lane] = []
        self._timer = TimerFd()
        # The chunk that is under way, as lists, and the place in it.
        self._dues: list[int] = []
        self._numbers: list[int] = []
        self._draws: list[float] = []
        self._place = 0
        self._due = 0
        self._refill()

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._timer.fileno(), self._tick)
        if self._idle:
            self._timer.arm(self._due)

    def stop(self) -> None:
        self._due = NEVER_NS
        if self._timer.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._timer.fileno())
            self._timer.close()

    def free(self, lane: Lane) -> None:
        idle = self._idle
        if idle:
            idle.append(lane)
        elif self._due <= monotonic_ns():
            self.waited += 1
            self._take(lane, True)
        else:
            idle.append(lane)
            self._rearm()

    def withdraw(self, lane: Lane) -> None:
        if lane in self._idle:
            self._idle.remove(lane)

    def due(self, until_ns: int) -> int:
        return self._schedule.count(self._part, until_ns)

    def next_due(self) -> int:
        return self._due

    def _tick(self) -> None:
        idle = self._idle
        now = monotonic_ns()
        while idle and self._due <= now:
            self._take(idle.pop(), False)
            now = monotonic_ns()
        self._rearm()

    def _rearm(self) -> None:
        if self._timer.fileno() < 0:
            return
        if self._idle and self._due < NEVER_NS:
            self._timer.arm(self._due)
        else:
            self._timer.disarm()

    def _take(self, lane: Lane, waited: bool) -> None:
        place, due = self._place, self._due
        number, draw = self._numbers[place], self._draws[place]
        self._place = place = place + 1
        if place < len(self._dues):
            self._due = self._dues[place]
        else:
            self._refill()
        self.begun += 1
        self._begin(lane, number, draw, due, waited)

    def _refill(self) -> None:
        for chunk in self._chunks:
            if len(chunk.due_ns):
                self._dues = (chunk.due_ns + self._start_ns).tolist()
                self._numbers = chunk.numbers.tolist()
                self._draws = chunk.draws.tolist()
                self._place = 0
                self._due = self._dues[0]
                return
        self._due = NEVER_NS


class ClosedPacer:
    """Each lane begins again as soon as it is free, until the end."""

    def __init__(
        self, begin: Begin, pause_s: Callable[[Lane], float], seed: int, part: Part, start_ns: int
    ) -> None:
        self.begun = 0
        self.waited = 0
        self._begin = begin
        self._pause_s = pause_s
        self._start_ns = start_ns
        self._arrivals = _closed_arrivals(seed, part)
        self._idle: list[Lane] = []
        self._pausing: dict[Lane, asyncio.TimerHandle] = {}
        self._running = False

    def start(self) -> None:
        delay_s = max(0, self._start_ns - monotonic_ns()) / NS
        asyncio.get_running_loop().call_later(delay_s, self._release)

    def stop(self) -> None:
        self._running = False

    def free(self, lane: Lane) -> None:
        if not self._running:
            self._idle.append(lane)
            return
        pause_s = self._pause_s(lane) if self.begun else 0.0
        if pause_s > 0:
            loop = asyncio.get_running_loop()
            self._pausing[lane] = loop.call_later(pause_s, self._paused, lane)
        else:
            self._take(lane)

    def withdraw(self, lane: Lane) -> None:
        if lane in self._idle:
            self._idle.remove(lane)
        elif lane in self._pausing:
            self._pausing.pop(lane).cancel()

    def due(self, until_ns: int) -> int:
        return self.begun

    def next_due(self) -> int:
        return NEVER_NS

    def _release(self) -> None:
        self._running = True
        idle, self._idle = self._idle, []
        for lane in idle:
            self._take(lane)

    def _paused(self, lane: Lane) -> None:
        del self._pausing[lane]
        self._take(lane)

    def _take(self, lane: Lane) -> None:
        if not self._running:
            self._idle.append(lane)
            return
        number, draw = next(self._arrivals)
        self.begun += 1
        self._begin(lane, number, draw, 0, False)


def _closed_arrivals(seed: int, part: Part) -> Iterator[tuple[int, float]]:
    for numbers, draws in draw_chunks(seed, part):
        yield from zip(numbers.tolist(), draws.tolist(), strict=True)
