"""The books of one worker in a run, as the master keeps them."""

from dataclasses import dataclass, field

from bakeoff.load.report import Report
from bakeoff.load.tally import Tally
from bakeoff.measure import histograms
from bakeoff.measure.measurement import Counts, WorkerBooks


@dataclass
class WorkerPart:
    """What the master knows of one worker."""

    worker: str
    index: int
    connections: int = 0
    reports: int = 0
    last_sequence: int = 0
    missing: set[int] = field(default_factory=set)
    repeats: int = 0
    final: bool = False
    lost: bool = False
    counts: Counts = field(default_factory=Counts)
    recorded: int = 0
    merged: int = 0
    elapsed_s: float = 0.0
    latency: Tally = field(default_factory=Tally)

    def is_news(self, report: Report) -> bool:
        """Books the sequence number; False for a report that was merged before."""
        sequence = report.sequence
        if sequence > self.last_sequence:
            self.missing.update(range(self.last_sequence + 1, sequence))
            self.last_sequence = sequence
        elif sequence in self.missing:
            self.missing.discard(sequence)
        else:
            self.repeats += 1
            return False
        self.reports += 1
        return True

    def books(self) -> WorkerBooks:
        """The worker's line in the measurement."""
        p99_ms = histograms.percentiles_of_ms(self.latency.counters(), [99])[99]
        return WorkerBooks(
            worker=self.worker,
            index=self.index,
            reports=self.reports,
            last_sequence=self.last_sequence,
            gaps=len(self.missing),
            repeats=self.repeats,
            final=self.final,
            counts=self.counts,
            recorded=self.recorded,
            merged=self.merged,
            p99_ms=p99_ms,
        )
