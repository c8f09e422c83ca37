"""The recorder in a Locust worker: engine, Locust's statistics, and the reports to the master.

Messages with the collector on the master, as Locust's custom messages: `bakeoff_ready` when the
connections are open, `bakeoff_go` with the common start, `bakeoff_finish` to end early,
`bakeoff_failed`, and `bakeoff_ack` for the last report, which is repeated until then.
"""

from locust.runners import LocalRunner, Runner, WorkerRunner

import logging
import os
import time
from pathlib import Path
from typing import Any

import gevent
import numpy as np

from bakeoff.load import report, wire
from bakeoff.load.child import EngineProcess
from bakeoff.load.locuststats import add_error, add_samples
from bakeoff.load.settings import RUN_OPTION, host_of, parse_settings
from bakeoff.load.user import OpenModelUser
from bakeoff.measure.records import Counts

logger = logging.getLogger(__name__)

_REPORT_S = 1.0
# How long a worker that quits waits for its last report to be acknowledged.
_QUIT_S = 3.0
_REPEAT_S = 0.5
# A folder for raw samples, for tests and doubts: samples-RUN-PID.bin, rows of wire.COLUMNS.
SAMPLES_VARIABLE = "BAKEOFF_SAMPLES_DIR"


class WorkerRun:
    """The books of one run in this worker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prepared = False
        self.start_ns = 0
        self.batches: list[wire.Batch] = []
        self.recorded = self.answered = self.failed = self.timed_out = 0
        self.sequence = 0
        self.elapsed_ns = 0
        self.errors: dict[str, int] = {}
        self.ended = False
        # The last report until the master has it.
        self.unacknowledged: bytes | None = None
        self.acknowledged = False


class Recorder:
    """Lives as long as the worker; one run after the other.

    It listens from the beginning, since a test may start while the engine still loads.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._runner: Runner = environment.runner
        self._run: WorkerRun | None = None
        self.engine = EngineProcess(
            environment.parsed_locustfiles, self._hear, self._on_engine_death
        )
        environment.events.spawning_complete.add_listener(self._on_spawning_complete)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.quitting.add_listener(self._on_quitting)
        environment.events.quit.add_listener(self._on_quit)
        self._runner.register_message("bakeoff_go", self._on_go)
        self._runner.register_message("bakeoff_finish", self._on_finish)
        self._runner.register_message("bakeoff_ack", self._on_ack)
        environment.events.report_to_master.add_listener(self._on_report_to_master)
        self._outgoing: bytes | None = None
        gevent.spawn(self._report_regularly)

    # Locust's events.

    def _on_spawning_complete(self, **_: Any) -> None:
        name = getattr(self._environment.parsed_options, RUN_OPTION, "")
        run = self._run
        if run is None or run.name != name:
            run = self._run = WorkerRun(name)
        if run.prepared:
            logger.warning("The number of connections stays as it is until the next test.")
            return
        run.prepared = True
        users = self._runner.user_count
        if users == 0:
            self._say("bakeoff_ready", run, connections=0)
            return
        options = vars(self._environment.parsed_options)
        self.engine.send(
            wire.Prepare(
                run=run.name,
                host=host_of(self._environment),
                connections=users,
                timeout_s=parse_settings(options).timeout_s,
                entries=_entries(self._environment.user_classes),
                options={k: v for k, v in options.items() if isinstance(v, str | int | float)},
            )
        )

    def _on_test_stopping(self, **_: Any) -> None:
        # The master has waited for the end already; this is for what it could not wait for.
        if self._run is not None and not self._run.ended:
            self.engine.send(wire.Finish(run=self._run.name, limit_s=0))

    def _on_quitting(self, **_: Any) -> None:
        run = self._run
        if run is None or not run.start_ns:
            return
        if not run.ended:
            self.engine.send(wire.Finish(run=run.name, limit_s=0))
        deadline = time.monotonic() + _QUIT_S
        while not run.acknowledged and time.monotonic() < deadline:
            gevent.sleep(0.02)

    def _on_quit(self, **_: Any) -> None:
        self.engine.close()

    def _on_report_to_master(self, data: dict[str, Any], **_: Any) -> None:
        if self._outgoing is not None:
            data[report.KEY] = self._outgoing

    # The collector's messages.

    def _on_go(self, msg: Any, **_: Any) -> None:
        run, data = self._run, msg.data
        if run is None or data["run"] != run.name or run.start_ns:
            return
        # On the master's own machine its clock is ours.
        same_clock = data["clock"] == clock_identity()
        run.start_ns = data["start_ns"] if same_clock else time.monotonic_ns() + data["delay_ns"]
        self.engine.send(
            wire.Go(
                run=run.name,
                start_ns=run.start_ns,
                index=data["index"],
                count=data["count"],
                rate_rps=data["rate_rps"],
                arrivals=data["arrivals"],
                seed=data["seed"],
                duration_s=data["duration_s"],
            )
        )

    def _on_finish(self, msg: Any, **_: Any) -> None:
        self.engine.send(wire.Finish(run=msg.data["run"], limit_s=msg.data["limit_s"]))

    def _on_ack(self, msg: Any, **_: Any) -> None:
        run = self._run
        if run is not None and msg.data["run"] == run.name:
            run.acknowledged = True
            run.unacknowledged = None

    # The engine.

    def _hear(self, message: wire.FromEngine) -> None:
        run = self._run
        if run is None or getattr(message, "run", None) != run.name:
            return
        if isinstance(message, wire.Prepared):
            self._say("bakeoff_ready", run, connections=self._runner.user_count)
        elif isinstance(message, wire.Failed):
            self._say("bakeoff_failed", run, reason=message.reason)
        elif isinstance(message, wire.Batch):
            run.batches.append(message)
            if message.final:
                self._end(run)

    def _end(self, run: WorkerRun) -> None:
        run.ended = True
        # Without users the master need not wait for any when it stops.
        self._runner.stop_users(self._runner.user_classes_count)
        gevent.spawn(self._repeat_last_report, run)

    def _repeat_last_report(self, run: WorkerRun) -> None:
        while run is self._run and not run.acknowledged:
            self._report()
            gevent.sleep(_REPEAT_S)

    def _on_engine_death(self, reason: str) -> None:
        logger.error(reason)
        if self._run is not None:
            self._say("bakeoff_failed", self._run, reason=reason)
        self._environment.process_exit_code = 3
        self._runner.quit()

    # Reports.

    def _report_regularly(self) -> None:
        while True:
            gevent.sleep(_REPORT_S)
            if self._run is not None and self._run.start_ns and not self._run.ended:
                self._report()

    def _report(self) -> None:
        # Before Locust collects its own statistics: this adds to them.
        payload = self._next_report()
        if payload is None:
            return
        if isinstance(self._runner, WorkerRunner):
            self._outgoing = payload
            try:
                self._runner._send_stats()
            finally:
                self._outgoing = None
        else:
            self._runner.send_message("bakeoff_report", payload)

    def _next_report(self) -> bytes | None:
        """What is new since the last report, or the last one again; None without news."""
        run = self._run
        if run is None or run.acknowledged:
            return None
        if run.unacknowledged is not None:
            return run.unacknowledged
        if not run.batches:
            return None
        batches, run.batches = run.batches, []
        payload = self._digest(run, batches)
        if batches[-1].final:
            run.unacknowledged = payload
        return payload

    def _digest(self, run: WorkerRun, batches: list[wire.Batch]) -> bytes:
        last = batches[-1]
        raw = b"".join(batch.samples for batch in batches)
        samples = np.frombuffer(raw, dtype=np.int64).reshape(-1, wire.COLUMNS)
        errors = self._note_errors(batches)
        if len(samples):
            add_samples(self._environment.stats, samples, last.names)
            self._keep_raw(run, raw)
        summed = report.digest(samples, run.start_ns, last.elapsed_ns)
        run.recorded += summed.recorded
        run.answered += summed.answered
        run.failed += summed.failed
        run.timed_out += summed.timed_out
        run.sequence += 1
        return report.encode(
            report.Report(
                run=run.name,
                sequence=run.sequence,
                final=last.final,
                elapsed_s=last.elapsed_ns / 1e9,
                counts=Counts(
                    scheduled=last.scheduled,
                    sent=last.sent,
                    never_sent=last.never_sent,
                    answered=run.answered,
                    failed=run.failed,
                    timed_out=run.timed_out,
                    in_flight=last.sent - run.recorded,
                    waited=last.waited,
                    reconnects=last.reconnects,
                ),
                recorded=run.recorded,
                answered_in_window=summed.answered_in_window,
                latency_us=summed.latency_us,
                lateness_us=summed.lateness_us,
                service_us=summed.service_us,
                statuses=summed.statuses,
                without_status=summed.recorded - sum(summed.statuses.values()),
                errors={**errors, **summed.errors},
                response_bytes=summed.response_bytes,
                body_hash_sum=summed.body_hash_sum,
                seconds=summed.seconds,
            )
        )

    def _note_errors(self, batches: list[wire.Batch]) -> dict[str, int]:
        """Errors by their text; also into Locust's failures and exceptions."""
        errors: dict[str, int] = {}
        for batch in batches:
            for error in batch.request_errors:
                errors[error.message] = errors.get(error.message, 0) + error.count
                if error.name >= 0:
                    method, name = batch.names[error.name]
                    add_error(self._environment.stats, method, name, error.message, error.count)
            for failure in batch.task_errors:
                text = f"task: {failure.message}"
                errors[text] = errors.get(text, 0) + failure.count
                self._log_exception(failure)
        return errors

    def _log_exception(self, failure: wire.TaskError) -> None:
        if isinstance(self._runner, WorkerRunner):
            data = {"msg": failure.message, "traceback": failure.traceback}
            self._runner.send_message("exception", data)
        else:
            self._runner.log_exception("local", failure.message, failure.traceback)

    def _keep_raw(self, run: WorkerRun, raw: bytes) -> None:
        folder = os.environ.get(SAMPLES_VARIABLE)
        if folder:
            with Path(folder, f"samples-{run.name}-{os.getpid()}.bin").open("ab") as file:
                file.write(raw)

    def _say(self, message: str, run: WorkerRun, **data: Any) -> None:
        self._runner.send_message(message, {"run": run.name, **data})


def clock_identity() -> str:
    """The same for all processes that read the same CLOCK_MONOTONIC."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def is_driver(runner: Runner) -> bool:
    """This process runs users itself."""
    return isinstance(runner, WorkerRunner | LocalRunner)


def _entries(user_classes: list[Any]) -> list[wire.TaskEntry]:
    """The tasks that Locust would run (after tags), with their weights."""
    entries = []
    for user_class in user_classes:
        if not issubclass(user_class, OpenModelUser):
            continue
        names = [task.__name__ for task in user_class.tasks]
        for name in dict.fromkeys(names):
            share = float(user_class.weight) * names.count(name) / len(names)
            entries.append(wire.TaskEntry(user_class.__name__, name, share))
    return entries
