"""One simulated Locust worker, as the master sees it: a connection and what is said over it."""

from locust import __version__
from locust.rpc.protocol import Message
from locust.runners import WORKER_REPORT_INTERVAL
from locust.stats import RequestStats

import time
from collections import deque
from typing import TYPE_CHECKING, Any

import zmq

from bakeoff.load import recorder, report
from bakeoff.load.report import Report
from benchmarks.drawn import Drawn

if TYPE_CHECKING:
    from benchmarks.simulated import Crowd

# What a message of ZeroMQ has around it.
_FRAME_BYTES = 9


class Worker:
    """One worker: its connection and its books."""

    def __init__(self, crowd: "Crowd", index: int) -> None:
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
        # Heartbeats that are not answered yet.
        self.beats: deque[float] = deque()

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
        self.beats.append(time.monotonic())
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

    def _payload(self, one: Drawn, begin_s: int, final: bool) -> Report:
        self.sequence += 1
        self.recorded += one.digest.recorded
        return one.report(
            run=self.run,
            sequence=self.sequence,
            recorded=self.recorded,
            begin_s=begin_s,
            elapsed_s=min(time.monotonic() - self.started_s, self.crowd.plan.duration_s),
            final=final,
        )

    def _users(self) -> dict[str, Any]:
        return {"user_classes_count": self.users, "user_count": sum(self.users.values())}

    # What the master says.

    def _on_ack(self, _: Any) -> None:
        self.connected = True

    def _on_heartbeat(self, _: Any) -> None:
        lag_s = time.monotonic() - self.beats.popleft()
        if self.index == 0:
            self.crowd.lags_s.append(lag_s)

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
