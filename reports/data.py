"""A results folder in memory: the document, the rounds, and their histograms as numbers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from bakeoff.errors import ResultsError
from bakeoff.measure import histograms
from bakeoff.measure.document import RunDocument
from bakeoff.measure.footprint import FootprintDocument
from bakeoff.measure.histogramlog import LoggedInterval
from bakeoff.measure.records import PhaseRecord, RoundRecord
from bakeoff.measure.samples import Sample
from bakeoff.store import ResultsFolder
from reports import facts


@dataclass(frozen=True)
class Second:
    """One second of a phase, counted from the phase's start: answers and their percentiles."""

    offset_s: float
    phase: str
    completed: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class RoundData:
    """A round with its seconds and samples; `fixed` is the latency at the reference rate."""

    record: RoundRecord
    seconds: tuple[Second, ...]
    fixed: HdrHistogram
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class ReportData:
    """All that a report is made from; `rounds` has those that count."""

    document: RunDocument
    records: tuple[RoundRecord, ...]
    rounds: tuple[RoundData, ...]
    footprint: FootprintDocument | None = None

    def of(self, label: str) -> list[RoundData]:
        """The rounds of one label."""
        return [data for data in self.rounds if data.record.label == label]


@dataclass(frozen=True)
class Distribution:
    """Latencies of one label over its rounds: `counts[i]` requests took `values_ms[i]`."""

    values_ms: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def total(self) -> int:
        """How many requests it holds."""
        return int(self.counts.sum())


def load(results: ResultsFolder) -> ReportData:
    """Reads a results folder; raises ResultsError where it is damaged."""
    document = results.read_run()
    records = results.read_rounds()
    try:
        rounds = [
            round_data(
                document, record, results.read_intervals(record), results.read_samples(record)
            )
            for record in facts.counted_rounds(document, records)
        ]
    except ValueError as error:
        raise ResultsError(f"{results.path} has a damaged latency.hlog: {error}") from error
    return ReportData(document, tuple(records), tuple(rounds), results.read_footprint())


def round_data(
    document: RunDocument,
    record: RoundRecord,
    intervals: Sequence[LoggedInterval],
    samples: Iterable[Sample],
) -> RoundData:
    """A round with its histograms decoded; ValueError where one is damaged."""
    latencies = [
        (interval, phase, histograms.decode(interval.histogram))
        for interval in intervals
        if interval.tag.endswith(".latency") and (phase := _phase_of(record, interval)) is not None
    ]
    return RoundData(
        record=record,
        seconds=tuple(
            _second(interval, phase, found)
            for interval, phase, found in latencies
            if _whole(interval, phase)
        ),
        fixed=histograms.merge(
            found
            for _, phase, found in latencies
            if phase.name == "fixed" and _is_at(phase, document.reference_rate_rps)
        ),
        samples=tuple(samples),
    )


def distribution(rounds: Iterable[RoundData]) -> Distribution:
    """The latencies at the reference rate of several rounds together."""
    counters = histograms.counters(histograms.merge(data.fixed for data in rounds))
    used = np.flatnonzero(counters)
    return Distribution(histograms.highest_values_us(used) / 1000, counters[used])


def _phase_of(record: RoundRecord, interval: LoggedInterval) -> PhaseRecord | None:
    """The last phase of the interval's name that had begun by then: a name may come again."""
    name = interval.tag.partition(".")[0]
    begun = [p for p in record.phases if p.name == name and p.start_s <= interval.start_s + 1e-3]
    return begun[-1] if begun else None


def _is_at(phase: PhaseRecord, rate_rps: float | None) -> bool:
    if rate_rps is None or phase.rate_rps is None:
        return rate_rps is None
    return math.isclose(phase.rate_rps, rate_rps, rel_tol=1e-6)


def _whole(interval: LoggedInterval, phase: PhaseRecord) -> bool:
    """Not the last, begun second, in which only stragglers are answered."""
    end_s = phase.end_s if phase.duration_s is None else phase.start_s + phase.duration_s
    return interval.start_s + interval.length_s / 2 < end_s


def _second(interval: LoggedInterval, phase: PhaseRecord, found: HdrHistogram) -> Second:
    completed = histograms.count(found)
    percentiles = histograms.percentiles_ms(found, (50, 99))
    # A percentile that not even one answer lies beyond is the maximum under another name.
    enough = completed >= 100
    return Second(
        offset_s=interval.start_s - phase.start_s,
        phase=phase.name,
        completed=completed,
        p50_ms=percentiles[50],
        p99_ms=percentiles[99] if enough else None,
    )
