"""Many Locust workers in one process, as the master sees them: `python -m benchmarks.simulated`.

Each has a connection of its own and speaks Locust's protocol in Locust's own packing: it says that
it is ready, sends heartbeats and reports, and follows orders. Ours report as
`bakeoff.load.recorder` does, stock ones as Locust's workers. One line of JSON when all are
connected, and one when the run is over: `simulation.Outcome`.
"""

from locust import __version__
from locust.runners import HEARTBEAT_INTERVAL, WORKER_REPORT_INTERVAL

import heapq
import itertools
import json
import time
from collections.abc import Callable

import click
import msgspec
import psutil
import zmq

from bakeoff.load.openfiles import raise_limit
from benchmarks.drawn import VARIANTS, Drawn, draw_reports
from benchmarks.processes import cpu_s
from benchmarks.simulatedworker import Worker
from benchmarks.simulation import Outcome, Plan

# How often the connections are looked at; in between we wait for the first one's answers.
_TICK_S = 0.05
_PROBE_S = 0.1
_DEADLINE_S = 60.0


class Crowd:
    """All workers, and a timetable of what they do."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, plan.workers + 10)
        self.bytes = self.report_bytes = self.sent_reports = self.sent_samples = 0
        self.lags_s: list[float] = []
        self.behind_s = 0.0
        self.interval_s = 0.0
        self._drawn: list[Drawn] = []
        self._numbers = itertools.count()
        self._timetable: list[tuple[float, int, Callable[[], None]]] = []
        self._begun_s = 0.0
        self._workers = [Worker(self, index) for index in range(plan.workers)]

    def variant(self, worker: Worker) -> tuple[Drawn, int]:
        """A report's content, and the second of the run in which it begins."""
        begin_s = time.monotonic() - worker.started_s - self.interval_s
        return self._drawn[int(begin_s % 1 * VARIANTS)], int(begin_s // 1)

    def begin(self, interval_s: float) -> None:
        """The run begins; a report covers so much of it."""
        if not self._drawn:
            self.interval_s = interval_s
            self._drawn = draw_reports(self.plan.samples, interval_s)
            self._begun_s = time.monotonic()

    def run(self) -> Outcome:
        """Connects, waits for a run, reports until its end, and sums up."""
        connecting_s = time.monotonic()
        for worker in self._workers:
            worker.say("client_ready", __version__)
            self.every(HEARTBEAT_INTERVAL, connecting_s + worker.phase, worker.beat)
            first_s = connecting_s + WORKER_REPORT_INTERVAL * worker.phase
            self.every(WORKER_REPORT_INTERVAL, first_s, worker.report_regularly)
        self.every(_PROBE_S, connecting_s, self._workers[0].beat)
        self._until("connected", lambda: all(one.connected for one in self._workers))
        connected_s = time.monotonic() - connecting_s
        print(json.dumps({"message": "connected"}), flush=True)
        self._until("begun", lambda: bool(self._begun_s))
        self._wait(self._begun_s + self.plan.settle_s)
        begin = self._reading()
        self.lags_s.clear()
        self._wait(self._begun_s + self.plan.settle_s + self.plan.window_s)
        end, lags_s = self._reading(), sorted(self.lags_s)
        rss_bytes = psutil.Process(self.plan.master_pid).memory_info().rss
        self._wait(self._begun_s + self.plan.duration_s)
        ended_s = time.monotonic()
        if not self.plan.stock:
            self._until("acknowledged", lambda: all(one.acknowledged for one in self._workers))
        wall_s, cpu, reports, report_bytes, sent_bytes = (
            after - before for before, after in zip(begin, end, strict=True)
        )
        return Outcome(
            reports=int(reports),
            report_bytes=report_bytes / reports,
            interval_s=self.interval_s,
            bytes_per_s=sent_bytes / wall_s,
            master_us_per_report=cpu * 1e6 / reports,
            master_cores=cpu / wall_s,
            master_rss_bytes=rss_bytes,
            lag_p50_ms=lags_s[len(lags_s) // 2] * 1000,
            lag_max_ms=lags_s[-1] * 1000,
            connected_s=connected_s,
            sent_reports=self.sent_reports,
            sent_samples=self.sent_samples,
            acknowledged_s=time.monotonic() - ended_s,
            behind_s=self.behind_s,
        )

    def serve(self) -> None:
        """Goes on until the process is ended."""
        self._wait(time.monotonic() + _DEADLINE_S)

    def _reading(self) -> tuple[float, ...]:
        cpu = cpu_s([self.plan.master_pid])
        return (time.monotonic(), cpu, self.sent_reports, self.report_bytes, self.bytes)

    def every(self, interval_s: float, due_s: float, action: Callable[[], None]) -> None:
        """Does it then, and again and again."""

        def act() -> None:
            self.every(interval_s, due_s + interval_s, action)
            action()

        self.at(due_s, act)

    def at(self, due_s: float, action: Callable[[], None]) -> None:
        """Does it then."""
        heapq.heappush(self._timetable, (due_s, next(self._numbers), action))

    def _until(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline, f"not {what} within {_DEADLINE_S:g} s"
            self._tick(time.monotonic() + _TICK_S)

    def _wait(self, instant_s: float) -> None:
        while (now := time.monotonic()) < instant_s:
            self._tick(min(instant_s, now + _TICK_S))

    def _tick(self, end_s: float) -> None:
        """What is due until then, with an ear for the first worker; then for all others."""
        while True:
            now = time.monotonic()
            while self._timetable and self._timetable[0][0] <= now:
                due_s, _, action = heapq.heappop(self._timetable)
                self.behind_s = max(self.behind_s, now - due_s)
                action()
            now = time.monotonic()
            if now >= end_s:
                break
            next_s = min(end_s, self._timetable[0][0] if self._timetable else end_s)
            self._workers[0].socket.poll(max(1, int((next_s - now) * 1000)))
            self._workers[0].listen()
        for worker in self._workers:
            worker.listen()


@click.command()
@click.argument("plan")
def main(plan: str) -> None:
    """Simulates what PLAN, JSON of a `Plan`, says."""
    raise_limit()
    crowd = Crowd(msgspec.json.decode(plan, type=Plan))
    outcome = crowd.run()
    print(msgspec.json.encode(outcome).decode(), flush=True)
    crowd.serve()


if __name__ == "__main__":
    main()
