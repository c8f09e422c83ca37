"""The books of one run on the master: merged reports, and what is read from them."""

import time
from typing import Any

import msgspec

from bakeoff.load.report import Report, add_answers
from bakeoff.load.settings import LoadSettings
from bakeoff.load.tally import Tally
from bakeoff.load.workerpart import WorkerPart
from bakeoff.measure import histograms
from bakeoff.measure.measurement import Answers, Counts, Interval, PhaseMeasurement, Sums

_COUNTS = [one.name for one in msgspec.structs.fields(Counts)]
# A second this long over gets few reports more: Locust's own interval, and as much again.
_PACK_S = 6


class _Second:
    def __init__(self) -> None:
        self.answered = 0
        self.latency = Tally()
        self.lateness = Tally()


class Collected:
    """All that the workers of a run have reported."""

    def __init__(self, name: str, settings: LoadSettings) -> None:
        self.name = name
        self.settings = settings
        self.parts: dict[str, WorkerPart] = {}
        self.started_ns = 0
        self.started_unix_s = 0.0
        self._answered_in_window = 0
        self._latency_us = self._lateness_us = self._service_us = 0
        self._statuses: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._requests: dict[str, Answers] = {}
        self._seconds: dict[int, _Second] = {}
        self._packed_before = 0

    def merge(self, worker: str, report: Report) -> None:
        """Adds a report of a worker that takes part; one that was added before only counts."""
        part = self.parts[worker]
        if not part.is_news(report):
            return
        if report.sequence == part.last_sequence:
            part.counts, part.recorded = report.counts, report.recorded
            part.elapsed_s = report.elapsed_s
        # Who was taken for lost has no last report, even if it comes after all.
        part.final = part.final or (report.final and not part.lost)
        for new in report.seconds:
            second = self._seconds.get(new.second)
            if second is None:
                second = self._seconds[new.second] = _Second()
                self._pack_before(new.second - _PACK_S)
            second.answered += new.answered
            second.latency.add(new.latency)
            second.lateness.add(new.lateness)
            part.latency.add(new.latency)
        part.merged += _merged(report)
        self._answered_in_window += report.answered_in_window
        self._latency_us += report.latency_us
        self._lateness_us += report.lateness_us
        self._service_us += report.service_us
        _add(self._statuses, report.statuses)
        _add(self._errors, report.errors)
        add_answers(self._requests, report.requests)

    @property
    def complete(self) -> bool:
        """The last report of every worker that takes part is in."""
        return bool(self.parts) and all(part.final for part in self.parts.values())

    @property
    def elapsed_s(self) -> float:
        """From the start to the end of the schedule, or to now."""
        if self.complete:
            return max(part.elapsed_s for part in self.parts.values())
        if not self.started_ns:
            return 0.0
        elapsed_s = max(0.0, (time.monotonic_ns() - self.started_ns) / 1e9)
        return min(elapsed_s, self.settings.duration_s or elapsed_s)

    def counts(self) -> Counts:
        """The sum over the workers."""
        parts = [part.counts for part in self.parts.values()]
        return Counts(**{name: sum(getattr(one, name) for one in parts) for name in _COUNTS})

    def measurement(self) -> PhaseMeasurement:
        """All of it, with one interval for each second in which something was completed."""
        settings = self.settings
        return PhaseMeasurement(
            test_id=self.name,
            complete=self.complete,
            model="closed" if settings.rate_rps is None else "open",
            rate_rps=settings.rate_rps,
            arrivals=None if settings.rate_rps is None else settings.arrivals,
            seed=settings.seed,
            duration_s=settings.duration_s,
            connections=sum(part.connections for part in self.parts.values()),
            started_unix_s=self.started_unix_s,
            started_monotonic_s=self.started_ns / 1e9,
            elapsed_s=self.elapsed_s,
            completed_in_window=self._answered_in_window,
            counts=self.counts(),
            sums=Sums(
                latency_us=self._latency_us,
                lateness_us=self._lateness_us,
                service_us=self._service_us,
            ),
            statuses=dict(sorted(self._statuses.items())),
            errors=dict(self._errors),
            requests=dict(sorted(self._requests.items())),
            workers=[part.books() for part in self._sorted_parts()],
            intervals=[
                Interval(
                    start_s=float(number),
                    completed=second.answered,
                    latency=_encoded(second.latency),
                    lateness=_encoded(second.lateness),
                )
                for number, second in sorted(self._seconds.items())
            ],
        )

    def live(self) -> dict[str, Any]:
        """What a display shows; rate and p99 of the last second that all workers reported."""
        counts = self.counts()
        reported_s = min((part.elapsed_s for part in self.parts.values()), default=0.0)
        second = self._seconds.get(int(reported_s) - 1)
        p99_ms = None
        if second is not None:
            p99_ms = histograms.percentiles_of_ms(second.latency.counters(), [99])[99]
        return {
            "elapsed_s": self.elapsed_s,
            "completed": counts.answered,
            "rate_rps": None if second is None else float(second.answered),
            "p99_ms": p99_ms,
            "errors": counts.failed + counts.timed_out,
        }

    def lost(self) -> list[str]:
        """The workers that went away before their last report."""
        return [f"{part.worker} (index {part.index})" for part in self._sorted_parts() if part.lost]

    def waited_for(self) -> list[str]:
        """The workers whose last report is not in."""
        return [
            f"{part.worker} (index {part.index})" for part in self._sorted_parts() if not part.final
        ]

    def _sorted_parts(self) -> list[WorkerPart]:
        return sorted(self.parts.values(), key=lambda part: part.index)

    def _pack_before(self, number: int) -> None:
        for one, second in self._seconds.items():
            if self._packed_before <= one < number:
                second.latency.pack()
                second.lateness.pack()
        self._packed_before = max(self._packed_before, number)


def _encoded(tally: Tally) -> str:
    text = histograms.encode(histograms.from_counters(tally.counters()))
    tally.pack()
    return text


def _merged(report: Report) -> int:
    """Samples behind a report, from what it adds: answers by status, and the rest by error."""
    return sum(report.statuses.values()) + report.without_status


def _add(totals: dict[str, int], news: dict[str, int]) -> None:
    for key, count in news.items():
        totals[key] = totals.get(key, 0) + count
