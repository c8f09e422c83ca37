"""Who begins when: an open model that follows a schedule, and a closed one.

Both are told when a lane is free, and begin arrivals on free lanes. In the open model an arrival
that finds none waits, in order, without being held anywhere: the schedule itself is the queue, and
a lane that comes free takes the first arrival of it that is due.
"""

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Final, Protocol

from bakeoff.load.engine.arrivals import arrivals_of, drawn_at_once
from bakeoff.load.engine.lane import Arrival, Lane, Pacer
from bakeoff.load.engine.schedule import NEVER_NS, NS, Part, Schedule, closed_chunks
from bakeoff.load.wire import TAG_WAITED
from bakeoff.timerfd import TimerFd

# An idle core takes up to so long to wake up, so the timer rings earlier, which takes away most of
# the lateness: by a share of the time between arrivals, since so much of a core it costs. Above a
# rate the engine sleeps too little for it to matter.
_EARLY_NS = 80_000
_EARLY_SHARE = 0.08
_EARLY_UP_TO_RPS = 2000
# Of that, what is waited for busily. Before it the timer, which has rung, makes the loop turn, so
# that no answer waits for an arrival.
_BUSY_NS = 30_000
# The place of its instant in an arrival, and what comes after the last.
_DUE: Final = 2
_NEVER: Arrival = (-1, 0.0, NEVER_NS)


class TimedPacer(Pacer, Protocol):
    """Hands out arrivals from `start` on, until its end or `stop`."""

    # Of the arrivals that have begun, those that had found no free lane.
    waited: int

    def start(self) -> None:
        """Begins at the instant of the schedule's start."""

    def stop(self) -> None:
        """Begins nothing more."""

    def catch_up(self) -> None:
        """Begins what is due; to be called when the answers of a turn are read."""

    def due(self, until_ns: int) -> int:
        """How many arrivals were due before `until_ns` (CLOCK_MONOTONIC)."""

    def next_due(self) -> int:
        """When the next arrival is due (NEVER_NS: none any more)."""


def _early_ns(rate_rps: float) -> int:
    """How long before an arrival the timer rings, for so many a second."""
    if rate_rps > _EARLY_UP_TO_RPS:
        return 0
    return int(min(_EARLY_NS, _EARLY_SHARE * NS / rate_rps))


class OpenPacer:
    """Arrivals at their instants, whether or not the answers keep up.

    `on_due` is called when one is due, and has to call `catch_up`.
    """

    # Whoever takes one has come free only after it was due.
    mark_taken = TAG_WAITED
    at_once = None

    def __init__(
        self, schedule: Schedule, part: Part, start_ns: int, on_due: Callable[[], None]
    ) -> None:
        self.begun = 0
        self.waited = 0
        self._on_due = on_due
        self._schedule = schedule
        self._part = part
        self._start_ns = start_ns
        self._arrivals = arrivals_of(schedule.chunks(part, drawn_at_once(part)), start_ns)
        self._first = next(self._arrivals, _NEVER)
        self._idle: list[Lane] = []
        self._timer = TimerFd()
        # When it rings; 0: not.
        self._rings_ns = 0
        self._early_ns = _early_ns(schedule.rate_rps / part.count)
        self._busy_ns = min(_BUSY_NS, self._early_ns)
        self._stopped = False

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._timer.fileno(), self._on_due)
        self._rearm()

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            asyncio.get_running_loop().remove_reader(self._timer.fileno())
            self._timer.close()

    def take(self, lane: Lane) -> Arrival | None:
        idle, first = self._idle, self._first
        if not idle and not self._stopped and first[_DUE] <= monotonic_ns():
            self._first = next(self._arrivals, _NEVER)
            self.begun += 1
            self.waited += 1
            return first
        lane.parked = True
        idle.append(lane)
        if len(idle) == 1:
            self._rearm()
        return None

    def withdraw(self, lane: Lane) -> None:
        lane.parked = False
        self._idle.remove(lane)

    def due(self, until_ns: int) -> int:
        return self._schedule.count(self._part, until_ns - self._start_ns)

    def next_due(self) -> int:
        return NEVER_NS if self._stopped else self._first[_DUE]

    def catch_up(self) -> None:
        if self._stopped:
            return
        idle, busy_ns = self._idle, self._busy_ns
        while idle:
            first = self._first
            due_ns = first[_DUE]
            ahead_ns = due_ns - monotonic_ns()
            if ahead_ns > busy_ns:
                break
            if ahead_ns > 0:
                while monotonic_ns() < due_ns:
                    pass
            lane = idle.pop()
            lane.parked = False
            if lane.connection.closing:
                # It begins when it has another.
                continue
            self._first = next(self._arrivals, _NEVER)
            self.begun += 1
            lane.start(first, 0)
        self._rearm()

    def _rearm(self) -> None:
        if self._stopped:
            return
        due_ns = self._first[_DUE]
        rings_ns = due_ns - self._early_ns if self._idle and due_ns < NEVER_NS else 0
        if rings_ns == self._rings_ns:
            return
        self._rings_ns = rings_ns
        if rings_ns:
            self._timer.arm(rings_ns)
        else:
            self._timer.disarm()


class ClosedPacer:
    """Each lane begins again as soon as it is free, until the end."""

    mark_taken = 0

    def __init__(
        self, pause_s: Callable[[Lane], float] | None, seed: int, part: Part, start_ns: int
    ) -> None:
        self.begun = 0
        self.waited = 0
        self._pause_s = pause_s
        self._start_ns = start_ns
        self._arrivals = arrivals_of(closed_chunks(seed, part, drawn_at_once(part)), 0)
        # Parked lanes, and what will wake up those that pause between two tasks.
        self._idle: dict[Lane, asyncio.TimerHandle | None] = {}
        self._starts: asyncio.TimerHandle | None = None
        self._running = False
        # While it runs without pauses: the usual case.
        self.at_once: Iterator[Arrival] | None = None

    def start(self) -> None:
        delay_s = max(0, self._start_ns - monotonic_ns()) / NS
        self._starts = asyncio.get_running_loop().call_later(delay_s, self._release)

    def stop(self) -> None:
        if self._starts is not None:
            self._starts.cancel()
        self._running = False
        self.at_once = None

    def take(self, lane: Lane) -> Arrival | None:
        if self.at_once is not None:
            self.begun += 1
            return next(self.at_once)
        timer = None
        if self._running and self._pause_s is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._pause_s(lane), self._start, lane)
        lane.parked = True
        self._idle[lane] = timer
        return None

    def withdraw(self, lane: Lane) -> None:
        lane.parked = False
        timer = self._idle.pop(lane)
        if timer is not None:
            timer.cancel()

    def catch_up(self) -> None:
        """Nothing is due at an instant of its own."""

    def due(self, until_ns: int) -> int:
        return self.begun

    def next_due(self) -> int:
        return NEVER_NS

    def _release(self) -> None:
        self._running = True
        self.at_once = self._arrivals if self._pause_s is None else None
        for lane in list(self._idle):
            self._start(lane)

    def _start(self, lane: Lane) -> None:
        if self._running:
            self.withdraw(lane)
            if lane.connection.closing:
                # It begins when it has another.
                return
            self.begun += 1
            lane.start(next(self._arrivals), 0)
