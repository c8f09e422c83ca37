"""The recorder in a Locust worker: engine, Locust's statistics, and the reports to the master.

Messages with the collector on the master, as Locust's custom messages: `bakeoff_ready` when the
connections are open, `bakeoff_go` with the common start, `bakeoff_finish` to end early,
`bakeoff_failed`, and `bakeoff_ack` for the last report, which is repeated until then.
"""

from locust.runners import Runner, WorkerRunner

import logging
import time
from collections.abc import Sequence
from typing import Any

import gevent

from bakeoff.load import report, wire
from bakeoff.load.child import EngineProcess
from bakeoff.load.crew import clock_identity
from bakeoff.load.locuststats import add_error, add_samples
from bakeoff.load.settings import RUN_OPTION, host_of, parse_settings
from bakeoff.load.user import OpenModelUser
from bakeoff.load.workerrun import WorkerRun, samples_of
from bakeoff.measure.histograms import Counters

logger = logging.getLogger(__name__)

# In a lively run; else our reports go out with Locust's own alone.
REPORT_S = 1.0
# How long a worker that quits waits for its last report to be acknowledged.
_QUIT_S = 3.0
REPEAT_S = 0.5
_REPEAT_MAXIMUM_S = 4.0


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
        events = environment.events
        events.spawning_complete.add_listener(self._on_spawning_complete)
        events.test_stopping.add_listener(self._on_test_stopping)
        # First of all, so that Locust's own part of a report has what we tell Locust with ours.
        events.report_to_master._handlers.insert(0, self._on_report_to_master)
        events.quitting.add_listener(self._on_quitting)
        events.quit.add_listener(self._on_quit)
        self._runner.register_message("bakeoff_go", self._on_go)
        self._runner.register_message("bakeoff_finish", self._on_finish)
        self._runner.register_message("bakeoff_ack", self._on_ack)
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
        run = self._run
        payload = None if run is None else self._payload(run)
        if payload is not None:
            data[report.KEY] = payload

    # The collector's messages.

    def _on_go(self, msg: Any, **_: Any) -> None:
        run, data = self._run, msg.data
        if run is None or data["run"] != run.name or run.start_ns:
            return
        # On the master's own machine its clock is ours.
        same_clock = data["clock"] == clock_identity()
        run.start_ns = data["start_ns"] if same_clock else time.monotonic_ns() + data["delay_ns"]
        run.lively = data["lively"]
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
            run.last = None

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
            run.add(message)
            if message.final:
                # Without users the master need not wait for any when it stops.
                self._runner.stop_users(self._runner.user_classes_count)
                gevent.spawn(self._repeat_last_report, run)

    def _on_engine_death(self, reason: str) -> None:
        logger.error(reason)
        if self._run is not None:
            self._say("bakeoff_failed", self._run, reason=reason)
        self._environment.process_exit_code = 3
        self._runner.quit()

    # Reports.

    def _report_regularly(self) -> None:
        while True:
            gevent.sleep(REPORT_S)
            run = self._run
            if run is not None and run.start_ns and run.lively and not run.ended:
                self._report(run)

    def _repeat_last_report(self, run: WorkerRun) -> None:
        wait_s = REPEAT_S
        while run is self._run and not run.acknowledged:
            self._report(run)
            gevent.sleep(wait_s)
            # A master that is behind with many workers is not helped by haste.
            wait_s = min(2 * wait_s, _REPEAT_MAXIMUM_S)

    def _report(self, run: WorkerRun) -> None:
        if isinstance(self._runner, WorkerRunner):
            self._runner._send_stats()
            return
        payload = self._payload(run)
        if payload is not None:
            self._runner.send_message("bakeoff_report", payload)

    def _payload(self, run: WorkerRun) -> bytes | None:
        """The next report, or the last one until it is acknowledged; None: there is no news."""
        if run.last is not None:
            return run.last
        batches = run.take()
        if not batches:
            return None
        samples = samples_of(batches)
        self._tell_locust(run, batches, samples)
        payload = report.encode(run.report(batches, samples))
        if batches[-1].final:
            run.last = payload
        return payload

    def _tell_locust(
        self, run: WorkerRun, batches: Sequence[wire.Batch], samples: Counters
    ) -> None:
        stats, names = self._environment.stats, batches[-1].names
        if len(samples):
            add_samples(stats, samples, names)
            run.keep_raw(samples)
        for batch in batches:
            for error in batch.request_errors:
                if error.name >= 0:
                    add_error(stats, *names[error.name], error.message, error.count)
            for failure in batch.task_errors:
                self._log_exception(failure)

    def _log_exception(self, failure: wire.TaskError) -> None:
        if isinstance(self._runner, WorkerRunner):
            data = {"msg": failure.message, "traceback": failure.traceback}
            self._runner.send_message("exception", data)
        else:
            self._runner.log_exception("local", failure.message, failure.traceback)

    def _say(self, message: str, run: WorkerRun, **data: Any) -> None:
        self._runner.send_message(message, {"run": run.name, **data})


def _entries(user_classes: Sequence[Any]) -> list[wire.TaskEntry]:
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
