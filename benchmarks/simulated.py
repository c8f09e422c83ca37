"""Many Locust workers in one process, as the master sees them: `python -m benchmarks.simulated`.

Each has a connection of its own and speaks Locust's protocol in Locust's own packing: it says that
it is ready, sends heartbeats and reports, and follows orders. What it reports was drawn before, so
that a thousand of them leave the master its core. Ours report as `bakeoff.load.recorder` does,
stock ones as Locust's workers. One line of JSON when all are connected, and one when the run is
over: `Outcome`.
"""

import heapq
import itertools
import json
import os
import time
from collections.abc import Callable
from typing import Any

import click
import msgspec
import numpy as np
import zmq

# Without gevent's patches: nothing here waits in a greenlet.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
from locust import __version__
from locust.rpc.protocol import Message
from locust.runners import HEARTBEAT_INTERVAL, WORKER_REPORT_INTERVAL
from locust.stats import RequestStats

# What is started from here wants them.
del os.environ["LOCUST_SKIP_MONKEY_PATCH"]

from bakeoff.load import recorder, report, wire
from bakeoff.load.locuststats import add_samples
from bakeoff.measure.histograms import Counters
from bakeoff.measure.measurement import Counts
from benchmarks.generator import cpu_s

NAME = ("GET", "/v1/invoices/{id}/payment")
_VARIANTS = 16
_NS = 1_000_000_000
# How often the connections are looked at; in between we wait for the first one's answers.
_TICK_S = 0.05
_PROBE_S = 0.1
_REPEAT_S = 0.5
_DEADLINE_S = 60.0
# What a message of ZeroMQ has around it.
_FRAME_BYTES = 9


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated, and when it is measured: the window begins `settle_s` into the run."""

    port: int
    master_pid: int
    workers: int
    samples: int
    stock: bool
    duration_s: float
    settle_s: float
    window_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the window and the whole run came to.

    `reports` counts those with samples, of the window; `lag_*` is how long the master took to
    answer a heartbeat.
    """

    reports: int
    report_bytes: float
    interval_s: float
    bytes_per_s: float
    master_us_per_report: float
    master_cores: float
    lag_p50_ms: float
    lag_max_ms: float
    connected_s: float
    # The whole run: reports with samples, samples, and how long the last acknowledgement took.
    sent_reports: int
    sent_samples: int
    acknowledged_s: float
    # How far this process fell behind its own schedule, at worst.
    behind_s: float


class _Variant(msgspec.Struct, frozen=True):
    """What a report says, drawn before; its seconds count from the one in which it begins."""

    digest: report.Digest
    answers: dict[str, Any]
    stats: list[Any]
    total: Any


def variants(samples: int, interval_s: float) -> list[_Variant]:
    """Reports of `samples` answers, lognormal around 5 ms, that begin at different fractions of
    a second."""
    return [_variant(samples, interval_s, one) for one in range(_VARIANTS)]


def _variant(samples: int, interval_s: float, number: int) -> _Variant:
    rng = np.random.default_rng([samples, number])
    rows: Counters = np.zeros((samples, wire.COLUMNS), np.int64)
    begin_ns = number * _NS // _VARIANTS
    done = begin_ns + np.sort(rng.integers(0, int(interval_s * _NS), samples))
    rows[:, wire.DONE] = done
    rows[:, wire.SENT] = done - rng.lognormal(np.log(5e6), 0.5, samples).astype(np.int64)
    rows[:, wire.DUE] = rows[:, wire.SENT] - rng.lognormal(np.log(1e5), 0.5, samples).astype(int)
    rows[:, wire.OUTCOME] = 200
    rows[:, wire.SIZE] = 300
    rows[:, wire.HASH] = rng.integers(0, 2**63, samples)
    stats = RequestStats()
    add_samples(stats, rows, [NAME])
    return _Variant(
        report.digest(rows, 0, 10**18),
        report.answers(rows, [NAME[1]]),
        stats.serialize_stats(),
        stats.total.get_stripped_report(),
    )


class _Worker:
    """One worker: its connection and its books."""

    def __init__(self, crowd: "_Crowd", index: int) -> None:
        self.crowd = crowd
        self.index = index
        # Of an interval: all do the same, but not at once.
        self.phase = index / crowd.plan.workers
        self.node = f"simulated_{index:05}"
        self.socket = crowd.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.IDENTITY, self.node.encode())
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{crowd.plan.port}")
        self.connected = False
        self.state = "ready"
        self.users: dict[str, int] = {}
        self.run = ""
        self.started_s = 0.0
        self.sequence = self.recorded = 0
        self.last: dict[str, Any] | None = None
        self.acknowledged = False
        self.beat_s = 0.0

    def say(self, kind: str, data: Any = None) -> int:
        """Sends a message; its bytes on the wire."""
        packed: bytes = Message(kind, data, self.node).serialize()  # type: ignore[no-untyped-call]
        self.socket.send(packed, zmq.NOBLOCK)
        self.crowd.bytes += len(packed) + _FRAME_BYTES
        return len(packed) + _FRAME_BYTES

    def listen(self) -> None:
        """Hears what has come."""
        while self.socket.poll(0):
            packed = self.socket.recv(zmq.NOBLOCK)
            message = Message.unserialize(packed)  # type: ignore[no-untyped-call]
            handler = getattr(self, f"_on_{message.type}", None)
            if handler is not None:
                handler(message.data)

    def beat(self) -> None:
        """Locust's heartbeat."""
        self.beat_s = time.monotonic()
        usage = {"current_cpu_usage": 50, "current_memory_usage": 10**8}
        self.say("heartbeat", {"state": self.state, **usage})

    def report_regularly(self) -> None:
        """A report, with samples if a run is under way."""
        if self.last is not None and not self.acknowledged:
            self.say("stats", self.last)
        elif self.is_running():
            self.report_samples()
        else:
            total = RequestStats().total.get_stripped_report()
            self.say("stats", {"stats": [], "stats_total": total, "errors": {}, **self._users()})

    def report_last(self, wait_s: float = recorder.REPEAT_S) -> None:
        """The last report, until it is acknowledged."""
        if self.acknowledged:
            return
        if self.last is None:
            self.report_samples(final=True)
        else:
            self.say("stats", self.last)
        self.crowd.at(time.monotonic() + wait_s, lambda: self.report_last(2 * wait_s))

    def is_running(self) -> bool:
        """It has a start and no end."""
        return 0 < self.started_s < time.monotonic() and self.last is None

    def report_samples(self, *, final: bool = False) -> None:
        """A report with samples."""
        one, begin_s = self.crowd.variant(self)
        data = {"stats": one.stats, "stats_total": one.total, "errors": {}, **self._users()}
        _date(data)
        if not self.crowd.plan.stock:
            data[report.KEY] = report.encode(self._payload(one, begin_s, final))
        if final:
            self.last = data
        self.crowd.sent_reports += 1
        self.crowd.sent_samples += one.digest.recorded
        self.crowd.report_bytes += self.say("stats", data)

    def _payload(self, one: _Variant, begin_s: int, final: bool) -> report.Report:
        summed = one.digest
        self.sequence += 1
        self.recorded += summed.recorded
        elapsed_s = time.monotonic() - self.started_s
        total = self.recorded
        return report.Report(
            run=self.run,
            sequence=self.sequence,
            final=final,
            elapsed_s=min(elapsed_s, self.crowd.plan.duration_s),
            counts=Counts(scheduled=total, sent=total, answered=total),
            recorded=total,
            answered_in_window=summed.answered_in_window,
            latency_us=summed.latency_us,
            lateness_us=summed.lateness_us,
            service_us=summed.service_us,
            statuses=summed.statuses,
            without_status=0,
            errors=summed.errors,
            requests=one.answers,
            seconds=[
                msgspec.structs.replace(second, second=max(0, second.second + begin_s))
                for second in summed.seconds
            ],
        )

    def _users(self) -> dict[str, Any]:
        return {"user_classes_count": self.users, "user_count": sum(self.users.values())}

    # What the master says.

    def _on_ack(self, _: Any) -> None:
        self.connected = True

    def _on_heartbeat(self, _: Any) -> None:
        if self.index == 0:
            self.crowd.lags_s.append(time.monotonic() - self.beat_s)

    def _on_spawn(self, data: Any) -> None:
        self.say("spawning")
        self.users = data["user_classes_count"]
        self.state = "running"
        self.run = data["parsed_options"].get("bakeoff_run", "")
        self.say("spawning_complete", self._users())
        if self.crowd.plan.stock and not self.started_s:
            self.started_s = time.monotonic()
            self.crowd.begin(WORKER_REPORT_INTERVAL)

    def _on_spawning_complete(self, _: Any) -> None:
        if not self.crowd.plan.stock:
            connections = sum(self.users.values())
            self.say("bakeoff_ready", {"run": self.run, "connections": connections})

    def _on_bakeoff_go(self, data: Any) -> None:
        self.started_s = data["start_ns"] / 1e9
        self.crowd.begin(recorder.REPORT_S if data["lively"] else WORKER_REPORT_INTERVAL)
        if data["lively"]:
            self.crowd.every(recorder.REPORT_S, self.started_s + self.phase, self.report_lively)
        self.crowd.at(self.started_s + self.crowd.plan.duration_s, self.report_last)

    def report_lively(self) -> None:
        """A report of ours between Locust's."""
        if self.is_running():
            self.report_samples()

    def _on_bakeoff_ack(self, _: Any) -> None:
        self.acknowledged = True

    def _on_stop(self, _: Any) -> None:
        self.users = dict.fromkeys(self.users, 0)
        self.state = "ready"
        self.say("client_stopped")
        self.say("client_ready", __version__)

    def _on_quit(self, _: Any) -> None:
        self.say("quit")


def _date(data: dict[str, Any]) -> None:
    """Locust's statistics are of now."""
    now = time.time()
    for entry in (data["stats_total"], *data["stats"]):
        entry["last_request_timestamp"] = now
        entry["num_reqs_per_sec"] = {int(now): entry["num_requests"]}


class _Crowd:
    """All workers, and a timetable of what they do."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, plan.workers + 10)
        self.bytes = self.report_bytes = self.sent_reports = self.sent_samples = 0
        self.lags_s: list[float] = []
        self.behind_s = 0.0
        self.interval_s = 0.0
        self._variants: list[_Variant] = []
        self._numbers = itertools.count()
        self._timetable: list[tuple[float, int, Callable[[], None]]] = []
        self._begun_s = 0.0
        self._workers = [_Worker(self, index) for index in range(plan.workers)]

    def variant(self, worker: _Worker) -> tuple[_Variant, int]:
        """A report's content, and the second of the run in which it begins."""
        begin_s = time.monotonic() - worker.started_s - self.interval_s
        return self._variants[int(begin_s % 1 * _VARIANTS)], int(begin_s // 1)

    def begin(self, interval_s: float) -> None:
        """The run begins; a report covers so much of it."""
        if not self._variants:
            self.interval_s = interval_s
            self._variants = variants(self.plan.samples, interval_s)
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
        cpu = cpu_s(self.plan.master_pid)
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
    crowd = _Crowd(msgspec.json.decode(plan, type=Plan))
    outcome = crowd.run()
    print(msgspec.json.encode(outcome).decode(), flush=True)
    crowd.serve()


if __name__ == "__main__":
    main()
