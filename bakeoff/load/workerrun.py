"""The books of one run in a Locust worker: batches of the engine in, reports to the master out."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bakeoff.load import report, wire
from bakeoff.load.report import Report
from bakeoff.measure.histograms import Counters
from bakeoff.measure.measurement import Counts

# A folder for raw samples, for tests and doubts: samples-RUN-PID.bin, rows of wire.COLUMNS.
SAMPLES_VARIABLE = "BAKEOFF_SAMPLES_DIR"


class WorkerRun:
    """A run under the name that the master gave it."""

    def __init__(self, name: str) -> None:
        self.name = name
        # The engine has been told to open its connections; the start, 0 before it is known.
        self.prepared = False
        self.start_ns = 0
        # Reports are to come more often than Locust's own: there are few workers.
        self.lively = True
        # The engine's last batch is in; the master has the report that has it.
        self.ended = False
        self.acknowledged = False
        # The last report, until it is acknowledged.
        self.last: bytes | None = None
        self._batches: list[wire.Batch] = []
        self._sequence = 0
        self._recorded = self._answered = self._failed = self._timed_out = 0

    def add(self, batch: wire.Batch) -> None:
        """A batch of the engine."""
        self._batches.append(batch)
        self.ended = batch.final

    def take(self) -> list[wire.Batch]:
        """The batches since the last call."""
        batches, self._batches = self._batches, []
        return batches

    def report(self, batches: Sequence[wire.Batch], samples: Counters) -> Report:
        """The next report, of these batches and their samples."""
        last = batches[-1]
        summed = report.digest(samples, self.start_ns, last.elapsed_ns)
        self._recorded += summed.recorded
        self._answered += summed.answered
        self._failed += summed.failed
        self._timed_out += summed.timed_out
        self._sequence += 1
        return Report(
            run=self.name,
            sequence=self._sequence,
            final=last.final,
            elapsed_s=last.elapsed_ns / 1e9,
            counts=Counts(
                scheduled=last.scheduled,
                sent=last.sent,
                never_sent=last.never_sent,
                answered=self._answered,
                failed=self._failed,
                timed_out=self._timed_out,
                in_flight=last.sent - self._recorded,
                waited=last.waited,
                reconnects=last.reconnects,
                followed=last.followed,
            ),
            recorded=self._recorded,
            answered_in_window=summed.answered_in_window,
            latency_us=summed.latency_us,
            lateness_us=summed.lateness_us,
            service_us=summed.service_us,
            statuses=summed.statuses,
            without_status=summed.recorded - sum(summed.statuses.values()),
            errors={**_errors(batches), **summed.errors},
            requests=report.answers(samples, [name for _, name in last.names]),
            seconds=summed.seconds,
        )

    def keep_raw(self, samples: Counters) -> None:
        """Appends samples to a file, where BAKEOFF_SAMPLES_DIR names a folder."""
        folder = os.environ.get(SAMPLES_VARIABLE)
        if folder:
            with Path(folder, f"samples-{self.name}-{os.getpid()}.bin").open("ab") as file:
                file.write(samples.tobytes())


def samples_of(batches: Sequence[wire.Batch]) -> Counters:
    """All samples of some batches, as rows of `wire.COLUMNS`; each column in one piece, since they
    are read column by column."""
    raw = b"".join(batch.samples for batch in batches)
    samples = np.frombuffer(raw, dtype=np.int64).reshape(-1, wire.COLUMNS)
    return np.asfortranarray(samples)


def _errors(batches: Sequence[wire.Batch]) -> dict[str, int]:
    """Errors that do not show in the samples, by their text."""
    errors: dict[str, int] = {}
    for batch in batches:
        found = [(error.message, error.count) for error in batch.request_errors]
        found += [(f"task: {error.message}", error.count) for error in batch.task_errors]
        for text, count in found:
            errors[text] = errors.get(text, 0) + count
    return errors
