"""The collector on the Locust master (or in a local Locust): starts a run on all workers at once,
merges their reports, and holds the end until the last one is in.

A run: `test_start` opens it; each worker says `bakeoff_ready` when its connections are open; when
all have, `bakeoff_go` gives them a common start and each its part of the schedule. It is complete
when the last report of every worker that takes part is merged; then Locust stops its test, or
quits if it is headless.
"""

from locust.runners import STATE_INIT, STATE_STOPPED, Runner

import logging
import time
from typing import Any
from uuid import uuid4

import gevent
import msgspec

from bakeoff.load import report
from bakeoff.load.collected import Collected
from bakeoff.load.crew import LOCAL, Crew
from bakeoff.load.ending import let_files_follow, stop_locust
from bakeoff.load.settings import RUN_OPTION, host_of, parse_settings, targets
from bakeoff.load.start import book, go
from bakeoff.measure.measurement import PhaseMeasurement

logger = logging.getLogger(__name__)

_READY_DEADLINE_S = 15.0
# A look at a thousand workers takes half a millisecond.
_READY_POLL_S = 0.01
_WATCH_S = 0.2
# Reports that follow each other without a pause would keep all else waiting: the page, and
# workers' heartbeats.
_TURN_S = 0.02
# On a stop by hand, requests under way are waited for this long at most.
_STOP_LIMIT_S = 5.0
# What a last report may take beyond the end of the run.
_REPORT_LIMIT_S = 5.0
_STOPPED_DEADLINE_S = 10.0
_STOPPED = (STATE_INIT, STATE_STOPPED)


class Collector:
    """Lives as long as the master; one run after the other."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._runner: Runner = environment.runner
        self._crew = Crew(environment.runner)
        self._run: Collected | None = None
        self._state = "idle"
        self._failure: str | None = None
        # Workers that are to take part, until the go; and the connections of those ready.
        self._expected: set[str] = set()
        self._ready: dict[str, int] = {}
        self._end_deadline_s = float("inf")
        self._turn_s = 0.0
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.worker_report.add_listener(self._on_worker_report)
        self._runner.register_message("bakeoff_ready", self._on_ready)
        self._runner.register_message("bakeoff_failed", self._on_failed)
        self._runner.register_message("bakeoff_report", self._on_local_report)
        gevent.spawn(self._watch)

    # For the page and the harness.

    def measurement(self) -> PhaseMeasurement | None:
        """The measurement of the run under way, or of the last one; None before the first."""
        return None if self._run is None else self._run.measurement()

    def summary(self) -> dict[str, Any]:
        """A light look at the run: see `Collected.live`, and its state.

        States: idle, starting, running, stopping, complete, incomplete (a last report never came)
        and failed (`failure` says why).
        """
        empty = {"elapsed_s": 0.0, "completed": 0, "rate_rps": None, "p99_ms": None, "errors": 0}
        run = self._run
        return {
            "complete": run is not None and run.complete,
            "state": self._state,
            "test_id": None if run is None else run.name,
            **(empty if run is None else run.live()),
            "failure": self._failure,
            "lost": [] if run is None else run.lost(),
        }

    def refusal(self) -> str | None:
        """Why no test can start now; waits for one that is just ending."""
        if self._state in ("starting", "running", "stopping"):
            return "a test is running: stop it first"
        parts = [] if self._run is None else self._run.parts.values()
        workers = [part.worker for part in parts if not part.lost]
        deadline = time.monotonic() + _STOPPED_DEADLINE_S
        while self._runner.state not in _STOPPED or not self._crew.are_back(workers):
            if time.monotonic() > deadline:
                return f"the test before has not ended: Locust is {self._runner.state!r}"
            gevent.sleep(0.01)
        return "no worker is connected" if self._crew.is_empty() else None

    # Locust's events and messages.

    def _on_test_start(self, **_: Any) -> None:
        options = self._environment.parsed_options
        run = Collected(uuid4().hex, parse_settings(vars(options)))
        setattr(options, RUN_OPTION, run.name)
        self._run, self._state, self._failure = run, "starting", None
        self._ready = {}
        self._expected = self._crew.active()
        host = host_of(self._environment)
        if not host:
            self._fail("no host to aim at: give --host, or fill in the field")
        elif targets() and host not in targets().values():
            self._fail(f"{host} is not one of the services that may be aimed at")
        else:
            gevent.spawn(self._go_when_ready, run)

    def _on_ready(self, msg: Any, **_: Any) -> None:
        if self._run is not None and msg.data["run"] == self._run.name:
            if self._state == "starting":
                self._ready[msg.node_id] = msg.data["connections"]
            else:
                logger.warning("Worker %s joined late and does not take part.", msg.node_id)

    def _on_failed(self, msg: Any, **_: Any) -> None:
        if self._run is not None and msg.data["run"] == self._run.name:
            self._fail(f"worker {msg.node_id}: {msg.data['reason']}")

    def _on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        payload = data.get(report.KEY)
        if payload is not None:
            self._merge(client_id, payload)
        now_s = time.monotonic()
        if now_s - self._turn_s > _TURN_S:
            gevent.sleep(0)
            self._turn_s = time.monotonic()

    def _on_local_report(self, msg: Any, **_: Any) -> None:
        self._merge(LOCAL, msg.data)

    def _on_test_stopping(self, **_: Any) -> None:
        """Holds a stop, also that of quitting, until the last reports are in."""
        run = self._run
        if run is None or self._state not in ("starting", "running"):
            return
        if self._state == "starting":
            self._failure = "stopped before it began"
            self._finish("failed", stop=False)
            return
        self._state = "stopping"
        limit_s = min(_STOP_LIMIT_S, run.settings.timeout_s)
        self._end_deadline_s = time.monotonic() + limit_s + _REPORT_LIMIT_S
        for worker in run.parts:
            self._crew.say("bakeoff_finish", worker, run=run.name, limit_s=limit_s)
        while self._state == "stopping":
            gevent.sleep(0.01)
        let_files_follow(self._environment)

    # The run.

    def _go_when_ready(self, run: Collected) -> None:
        deadline = time.monotonic() + _READY_DEADLINE_S
        while self._expected - self._ready.keys() and time.monotonic() < deadline:
            gevent.sleep(_READY_POLL_S)
            self._expected &= self._crew.active()
            if self._run is not run or self._state != "starting":
                return
        workers = [worker for worker, connections in self._ready.items() if connections]
        late = self._expected - self._ready.keys()
        if late:
            logger.error("Not ready in time, so not taking part: %s", ", ".join(sorted(late)))
        if not workers:
            self._fail("no worker has a connection: start with at least one user")
            return
        self._go(run, sorted(workers, key=self._crew.index_of))

    def _go(self, run: Collected, workers: list[str]) -> None:
        book(run, workers, self._ready)
        settings = run.settings
        if settings.duration_s:
            # Arrivals that wait for a connection take up to a timeout, their answers another.
            longest_s = settings.duration_s + 2 * settings.timeout_s
            self._end_deadline_s = run.started_ns / 1e9 + longest_s + _REPORT_LIMIT_S
        else:
            self._end_deadline_s = float("inf")
        self._state = "running"
        go(self._crew, run)

    def _merge(self, worker: str, payload: bytes) -> None:
        try:
            one = report.decode(payload)
            run = self._run
            if run is None or one.run != run.name or worker not in run.parts:
                return
            run.merge(worker, one)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            # Its sequence number will be missing.
            logger.error("A report of worker %s cannot be read: %s", worker, error)
            return
        if one.final:
            self._crew.say("bakeoff_ack", worker, run=run.name)
            if run.complete and self._state in ("running", "stopping"):
                self._finish("complete")

    def _watch(self) -> None:
        """Notices lost workers, and the end of a run whose last reports do not come."""
        while True:
            gevent.sleep(_WATCH_S)
            run = self._run
            if run is None or self._state not in ("running", "stopping"):
                continue
            active = self._crew.active()
            for part in run.parts.values():
                if part.worker not in active and not part.final and not part.lost:
                    part.lost = True
                    logger.error("Worker %s (index %d) lost.", part.worker, part.index)
            remaining = [part for part in run.parts.values() if not part.final and not part.lost]
            if not remaining or time.monotonic() > self._end_deadline_s:
                missing = ", ".join(run.waited_for())
                logger.error("The last report of these workers is missing: %s", missing)
                self._failure = f"the last report is missing of: {missing}"
                self._finish("incomplete")

    def _fail(self, reason: str) -> None:
        logger.error("The load cannot run: %s", reason)
        self._failure = reason
        self._finish("failed")

    def _finish(self, state: str, *, stop: bool = True) -> None:
        if state != "complete" and self._environment.process_exit_code is None:
            self._environment.process_exit_code = 1
        stop = stop and self._state in ("starting", "running")
        self._state = state
        if stop:
            gevent.spawn(stop_locust, self._environment)
