"""The rules about the generator: late, starved, behind, or off its schedule."""

import math
from collections.abc import Iterator

from bakeoff.measure.marks import CLIENT_LIMITED, WAITED_SHARE
from bakeoff.measure.records import Finding
from bakeoff.measure.rules import PhaseRules, percent

GENERATOR_LATE = "generator late"
GENERATOR_STARVED = "generator starved"
GENERATOR_BEHIND = "generator fell behind"
ARRIVALS = "arrivals not as planned"

# Lateness p99, of the reported p99, but never under the floor; and at p50 on a shared machine.
LATE_SHARE = 0.10
LATE_FLOOR_MS = 1.0
# Waiting for a core, a request, of p50.
STARVED_SHARE = 0.10
SENT_SHARE = 0.99
ARRIVAL_SIGMAS = 4.0


class GeneratorRules(PhaseRules):
    """Whether the arrivals of an open model came when they were meant to."""

    def findings(self) -> Iterator[Finding]:
        """What struck; a closed model has no schedule to keep."""
        if self.phase.model == "closed":
            return
        yield from self._late()
        yield from self._starved()
        yield from self._behind()
        yield from self._arrivals()

    def _late(self) -> Iterator[Finding]:
        p50, p99 = self.latency_ms[50.0], self.latency_ms[99.0]
        late_p50, late_p99 = self.lateness_ms[50.0], self.lateness_ms[99.0]
        if p50 is None or p99 is None or late_p50 is None or late_p99 is None:
            return
        allowed = max(LATE_FLOOR_MS, LATE_SHARE * p99)
        advice = "give the generator more or quieter cores, or lower the rate"
        if late_p99 > allowed:
            found = f"p99 of sent minus intended {late_p99:.2f} ms"
            yield self.shared_finding(GENERATOR_LATE, ["L"], found, f"{allowed:.2f} ms", advice)
        if self.shared and late_p50 > LATE_SHARE * p50:
            yield self.finding(
                GENERATOR_LATE,
                "voids",
                ["L"],
                f"p50 of sent minus intended {late_p50:.3f} ms",
                f"{LATE_SHARE * p50:.3f} ms",
                advice,
                ["p50_ms"],
            )

    def _starved(self) -> Iterator[Finding]:
        part, p50 = self.phase.parts.get("generator"), self.latency_ms[50.0]
        if part is None or p50 is None or not self.phase.counts.answered:
            return
        waited_ms = part.run_queue_us / self.phase.counts.answered / 1000
        if waited_ms > STARVED_SHARE * p50:
            yield self.shared_finding(
                GENERATOR_STARVED,
                ["L"],
                f"the generator waited {waited_ms:.3f} ms a request for a core",
                f"{STARVED_SHARE * p50:.3f} ms",
                "give the generator more or quieter cores",
            )

    def _behind(self) -> Iterator[Finding]:
        counts = self.phase.counts
        if counts.waited > WAITED_SHARE * counts.arrivals:
            yield self.finding(
                CLIENT_LIMITED,
                "warns",
                ["L", "C"],
                f"{percent(counts.waited / counts.arrivals)} of the arrivals found no free "
                "connection",
                percent(WAITED_SHARE),
                "the service holds back more than --connections; raise it to see by how much",
            )
        elif counts.sent < SENT_SHARE * counts.scheduled:
            # What is in flight or timed out at the end is the service's; never sent is ours.
            yield self.finding(
                GENERATOR_BEHIND,
                "voids",
                ["L", "C"],
                f"sent {counts.sent:,} of {counts.scheduled:,} with connections free",
                f"{percent(SENT_SHARE)} of the schedule",
                "give the generator more workers or cores, or lower the rate",
            )

    def _arrivals(self) -> Iterator[Finding]:
        phase = self.phase
        if phase.rate_rps is None:
            return
        length_s = phase.end_s - phase.start_s if phase.duration_s is None else phase.duration_s
        planned = phase.rate_rps * length_s
        allowed = ARRIVAL_SIGMAS * math.sqrt(planned)
        if abs(phase.counts.arrivals - planned) > allowed:
            yield self.finding(
                ARRIVALS,
                "voids",
                ["L"],
                f"{phase.counts.arrivals:,} arrivals of {planned:,.0f} planned",
                f"{allowed:,.0f} more or less",
                "a worker was lost, or the schedule is wrong: see the workers' logs",
            )
