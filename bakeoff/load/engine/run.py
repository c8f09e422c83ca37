"""One test run in the engine: its lanes, its pacer, its clock, and the batches it sends home."""

import asyncio
import gc
from argparse import Namespace
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.lane import Lane, TaskFunction
from bakeoff.load.engine.mix import Mix
from bakeoff.load.engine.pacing import ClosedPacer, OpenPacer, Pacer
from bakeoff.load.engine.schedule import NEVER_NS, NS, Arrivals, Part, Schedule
from bakeoff.load.engine.target import parse_target
from bakeoff.load.user import OpenModelUser

_FLUSH_S = 0.2
_SWEEP_S = 0.05
# Connections that are being opened at the same time: fewer than a listen backlog.
_OPENING = 64
_OPEN_DEADLINE_S = 10.0
# Objects that only a collection frees before there is one.
_GARBAGE = 20_000


class Run:
    """Prepared by its constructor and `open`, started by `go`, over with the last batch."""

    def __init__(
        self,
        order: wire.Prepare,
        classes: Mapping[str, type[OpenModelUser]],
        emit: Callable[[wire.FromEngine], None],
    ) -> None:
        self.name = order.run
        self._order = order
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._books = Books()
        self._timeout_ns = int(order.timeout_s * NS)
        target = parse_target(order.host)
        self._mix = Mix([entry.weight for entry in order.entries])
        # Lanes are handed to the pacer when there is one.
        self._pacer: Pacer | None = None
        self._lanes = [Lane(target, self._books, self) for _ in range(order.connections)]
        self._give_tasks(classes)
        self._start_ns = 0
        self._end_ns = NEVER_NS
        self._limit_ns = NEVER_NS
        self._over = False

    # The pacer that the lanes know before the run starts.

    def take(self, lane: Lane) -> None:
        """There is no arrival yet; all lanes will be asked when the run starts."""

    def withdraw(self, lane: Lane) -> None:
        """No lane is parked yet."""

    # The run.

    async def open(self) -> None:
        """Opens all connections; OSError or TimeoutError where that fails."""
        gate = asyncio.Semaphore(_OPENING)

        async def open_one(lane: Lane) -> None:
            async with gate:
                await lane.open()

        async with asyncio.timeout(_OPEN_DEADLINE_S):
            await asyncio.gather(*(open_one(lane) for lane in self._lanes))
        gc.collect()
        gc.freeze()

    def go(self, order: wire.Go) -> None:
        """Starts at the instant of the order."""
        part = Part(order.index, order.count)
        self._mix.start(order.seed)
        self._start_ns = order.start_ns
        if order.duration_s:
            self._end_ns = order.start_ns + int(order.duration_s * NS)
        if order.rate_rps is None:
            self._pacer = ClosedPacer(self._pause_of(), order.seed, part, order.start_ns)
        else:
            arrivals: Arrivals = "constant" if order.arrivals == "constant" else "poisson"
            schedule = Schedule(order.rate_rps, arrivals, order.seed, order.duration_s)
            self._pacer = OpenPacer(schedule, part, order.start_ns)
        self._pacer.start()
        for lane in self._lanes:
            lane.pacer = self._pacer
            lane.begin()
        self._loop.call_later(_SWEEP_S, self._sweep)
        self._loop.call_later(_FLUSH_S, self._flush)
        if order.duration_s:
            end_s = (self._end_ns - monotonic_ns()) / NS
            # After the end of the schedule, arrivals that are due and still wait for a connection
            # are sent as long as one would wait for an answer; and then the last are waited for.
            patience_s = 0.0 if order.rate_rps is None else self._order.timeout_s
            self._loop.call_later(end_s + patience_s, self._stop_pacer)
            limit_s = patience_s + self._order.timeout_s + 2 * _SWEEP_S
            self._limit_ns = self._end_ns + int(limit_s * NS)

    def finish(self, limit_s: float) -> None:
        """Ends the schedule now, if it is not over, and waits at most `limit_s` for the rest."""
        now = monotonic_ns()
        if self._pacer is None:
            self.close()
            return
        if now < self._end_ns:
            self._end_ns = max(now, self._start_ns)
        self._stop_pacer()
        self._limit_ns = min(self._limit_ns, now + int(limit_s * NS))

    def close(self) -> None:
        """Ends everything at once, without a last batch."""
        self._over = True
        if self._pacer is not None:
            self._pacer.stop()
        for lane in self._lanes:
            lane.close()
        gc.unfreeze()

    def _stop_pacer(self) -> None:
        assert self._pacer is not None
        self._pacer.stop()

    def _sweep(self) -> None:
        """Gives up what is overdue, and sees whether the run is over."""
        if self._over:
            return
        now = monotonic_ns()
        timeout_ns = self._timeout_ns
        for lane in self._lanes:
            if lane.sent_ns and now - lane.sent_ns >= timeout_ns:
                lane.time_out(timeout_ns)
        if now >= self._limit_ns or (now >= self._end_ns and self._is_drained()):
            self._last_batch()
            return
        if gc.get_count()[0] > _GARBAGE:
            gc.collect()
        self._loop.call_later(_SWEEP_S, self._sweep)

    def _is_drained(self) -> bool:
        assert self._pacer is not None
        if self._pacer.next_due() < self._end_ns:
            return False
        return not any(lane.occupied or lane.sent_ns for lane in self._lanes)

    def _flush(self) -> None:
        if not self._over:
            self._emit(self._batch(final=False))
            self._loop.call_later(_FLUSH_S, self._flush)

    def _last_batch(self) -> None:
        assert self._pacer is not None
        self._pacer.stop()
        self._emit(self._batch(final=True))
        self.close()

    def _batch(self, *, final: bool) -> wire.Batch:
        assert self._pacer is not None
        books, pacer = self._books, self._pacer
        until_ns = min(monotonic_ns(), self._end_ns)
        # Counting the schedule takes a while, so it is done once, at the end.
        due = pacer.due(until_ns) if final else pacer.begun
        not_begun = due - pacer.begun
        silent = books.empty + sum(lane.silent for lane in self._lanes)
        return wire.Batch(
            run=self.name,
            samples=books.drain_samples(),
            names=books.names,
            request_errors=books.drain_request_errors(),
            task_errors=books.drain_task_errors(),
            scheduled=due + books.followed,
            sent=books.sent,
            followed=books.followed,
            never_sent=not_begun + silent,
            waited=pacer.waited + not_begun,
            reconnects=books.reconnects,
            elapsed_ns=max(0, until_ns - self._start_ns),
            final=final,
        )

    def _give_tasks(self, classes: Mapping[str, type[OpenModelUser]]) -> None:
        """Gives each lane a user of each class, with its tasks."""
        order = self._order
        environment = Namespace(host=order.host, parsed_options=Namespace(**order.options))
        functions = [_task_of(classes, entry) for entry in order.entries]
        for lane in self._lanes:
            users: dict[str, OpenModelUser] = {}
            for entry, function in zip(order.entries, functions, strict=True):
                if entry.user_class not in users:
                    users[entry.user_class] = classes[entry.user_class](environment)
                user = users[entry.user_class]
                user.client = lane.client
                lane.tasks.append((user, function))
            lane.choose = self._mix.choose if len(functions) > 1 else None

    def _pause_of(self) -> Callable[[Lane], float] | None:
        """The wait_time of a user between its tasks, as in Locust; without one: None."""
        if not any(user.has_wait_time() for user, _ in self._lanes[0].tasks):
            return None
        return lambda lane: float(lane.tasks[0][0].wait_time())


def _task_of(classes: Mapping[str, type[OpenModelUser]], entry: wire.TaskEntry) -> TaskFunction:
    """The task function, once for each arrival to call: it returns the coroutine to drive."""
    tasks: list[Any] = list(classes[entry.user_class].tasks)
    function: TaskFunction = next(task for task in tasks if task.__name__ == entry.task)
    if not asyncio.iscoroutinefunction(function):
        raise ValueError(f"the task {entry.user_class}.{entry.task} must be `async def`")
    return function
