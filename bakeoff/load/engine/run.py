"""One test run in the engine: its lanes, its pacer, its clock, and the batches it sends home."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from time import monotonic_ns

from bakeoff.load import wire
from bakeoff.load.engine.books import PACKED_AT_ONCE, Books
from bakeoff.load.engine.lane import OPEN_DEADLINE_S, Lane
from bakeoff.load.engine.lanes import make_lanes
from bakeoff.load.engine.mix import Mix
from bakeoff.load.engine.pacing import ClosedPacer, OpenPacer, TimedPacer
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.schedule import NEVER_NS, NS, Arrivals, Part, Schedule
from bakeoff.load.user import OpenModelUser

# A batch goes when it is as old as this, or as large: for 350 kB nothing was sent for 0.8 ms.
_FLUSH_S = 0.2
_BATCH_BYTES = 64 << 10
_SWEEP_S = 0.05
# Connections that are being opened at the same time: fewer than a listen backlog.
_OPENING = 64
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
        self._rows = self._books.rows
        self._timeout_ns = int(order.timeout_s * NS)
        self._poller = Poller(self._after_turn)
        # Lanes are handed to the pacer when there is one.
        self._pacer: TimedPacer | None = None
        try:
            self._lanes = make_lanes(order, classes, self._books, self._poller, self)
        except BaseException:
            self._poller.close()
            raise
        self._start_ns = 0
        self._end_ns = NEVER_NS
        self._limit_ns = NEVER_NS
        self._over = False

    # The pacer that the lanes know before the run starts.

    mark_taken = 0
    at_once = None
    begun = 0

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

        async with asyncio.timeout(OPEN_DEADLINE_S):
            await asyncio.gather(*(open_one(lane) for lane in self._lanes))
        gc.collect()
        gc.freeze()

    def go(self, order: wire.Go) -> None:
        """Starts at the instant of the order."""
        part = Part(order.index, order.count)
        choose = self._choose(order.seed)
        self._start_ns = order.start_ns
        if order.duration_s:
            self._end_ns = order.start_ns + int(order.duration_s * NS)
        if order.rate_rps is None:
            self._pacer = ClosedPacer(self._pause_of(), order.seed, part, order.start_ns)
        else:
            arrivals: Arrivals = "constant" if order.arrivals == "constant" else "poisson"
            schedule = Schedule(order.rate_rps, arrivals, order.seed, order.duration_s)
            self._pacer = OpenPacer(schedule, part, order.start_ns, self._poller.turn)
        self._pacer.start()
        for lane in self._lanes:
            lane.pacer, lane.choose = self._pacer, choose
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
        # After the lanes' sockets, which close in the next turn.
        self._loop.call_soon(self._poller.close)
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

    def _after_turn(self) -> None:
        if self._pacer is not None:
            self._pacer.catch_up()
        if len(self._rows) >= PACKED_AT_ONCE:
            books = self._books
            books.pack()
            if books.packed_bytes >= _BATCH_BYTES and not self._over:
                self._emit(self._batch(final=False))

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
        samples = books.drain_samples()
        silent = books.empty + sum(lane.silent for lane in self._lanes)
        return wire.Batch(
            run=self.name,
            samples=samples,
            names=books.names,
            request_errors=books.drain_request_errors(),
            task_errors=books.drain_task_errors(),
            scheduled=due + books.followed,
            sent=books.recorded + sum(lane.sent_ns > 0 for lane in self._lanes),
            followed=books.followed,
            never_sent=not_begun + silent,
            waited=pacer.waited + not_begun,
            reconnects=books.reconnects,
            elapsed_ns=max(0, until_ns - self._start_ns),
            final=final,
        )

    def _choose(self, seed: int) -> Callable[[int], int] | None:
        """Which task an arrival runs; None where there is one."""
        weights = [entry.weight for entry in self._order.entries]
        return Mix(weights, seed).choose if len(weights) > 1 else None

    def _pause_of(self) -> Callable[[Lane], float] | None:
        """The wait_time of a user between its tasks, as in Locust; without one: None."""
        if not any(user.has_wait_time() for user, _ in self._lanes[0].tasks):
            return None
        return lambda lane: float(lane.tasks[0][0].wait_time())
