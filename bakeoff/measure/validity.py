"""The validity rules of one phase: each is detected, named, and warns or voids.

A fault of the instrument voids the figures that it touches; a fault of the service (errors,
timeouts, slowness) is a result and stays. Under four cores, where service and rig share them,
four rules warn instead, since there they would always strike.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bakeoff.measure.audit import audit_findings
from bakeoff.measure.books import books, cpu_findings, worker_findings
from bakeoff.measure.figures import CLIENT_LIMITED, RIG_SATURATED, WAITED_SHARE, Measured
from bakeoff.measure.histograms import count, percentiles_ms
from bakeoff.measure.metrics import SHARED_CORES
from bakeoff.measure.records import CoreUse, Finding, PhaseRecord

GENERATOR_LATE = "generator late"
GENERATOR_STARVED = "generator starved"
GENERATOR_BEHIND = "generator fell behind"
ARRIVALS = "arrivals not as planned"
STUB_SLOW = "stub slow"
STUB_SATURATED = "stub saturated"
STEAL = "steal"
ANOTHER_PROCESS = "another process"
PART_DIED = "a part died"

# Lateness p99, of the reported p99, but never under the floor; and at p50 on a shared machine.
LATE_SHARE = 0.10
LATE_FLOOR_MS = 1.0
# Waiting for a core, a request, of p50.
STARVED_SHARE = 0.10
SENT_SHARE = 0.99
ARRIVAL_SIGMAS = 4.0
# The stub's time beyond its setting, of the reported latency at the same percentile.
STUB_SHARE = 0.10
STUB_FLOOR_MS = 0.5
STUB_CORE_SHARE = 0.70
RIG_IDLE_SHARE = 0.10
STEAL_WARNS_SHARE = 0.02
STEAL_VOIDS_SHARE = 0.10
OTHER_CORE_SHARE = 0.05

_Class = Literal["L", "C", "U", "R"]
_ALL: list[_Class] = ["L", "C", "U", "R"]


@dataclass(frozen=True, kw_only=True)
class RigFacts:
    """What the rules must know of the rig.

    `cores` are those of the service's machine, `service_cores` and `rig_cores` the numbers of
    those that service and the rest may use (all of them without pinning). `statements` and
    `grpc_calls` are what the workload declares for a request.
    """

    cores: int
    service_cores: frozenset[int]
    rig_cores: frozenset[int]
    workers: int
    stub_processes: int
    statements: float
    grpc_calls: float

    @property
    def shared(self) -> bool:
        """Whether service and rig share so few cores that the tail is the scheduler's."""
        return self.cores < SHARED_CORES


def phase_findings(measured: Measured, facts: RigFacts, where: str) -> list[Finding]:
    """Every rule that strikes in one phase; `where` names round, service and phase."""
    phase = measured.phase
    rules = _Rules(measured, facts, where)
    return [
        *books(phase, count(measured.latency), where),
        *worker_findings(phase, facts.workers, rules.latency_ms[99.0], where),
        *rules.generator(),
        *rules.stub(),
        *rules.machine(),
        *cpu_findings(phase, facts.cores, where),
        *audit_findings(phase, facts.statements, facts.grpc_calls, where),
    ]


def part_died(part: str, how: str, where: str) -> Finding:
    """A part of the rig, not the service, died during a round."""
    return Finding(
        rule=PART_DIED,
        effect="voids",
        where=where,
        found=f"{part}: {how}",
        allowed="all parts live to the end of the round",
        advice=f"see the log of {part}; the block is run again",
        touches=list(_ALL),
    )


def other_process_findings(
    cores_used: Mapping[tuple[int, str], float], phase: str, where: str
) -> list[Finding]:
    """Processes of no part that used over 5 % of a core on average (see samples.other_cores)."""
    return [
        Finding(
            rule=ANOTHER_PROCESS,
            effect="warns",
            where=where,
            found=f"{name} (process {pid}) used {_percent(used)} of a core",
            allowed=_percent(OTHER_CORE_SHARE),
            advice="end it, or run where nothing else does",
            touches=["L", "C", "U"],
            phase=phase,
        )
        for (pid, name), used in cores_used.items()
        if used > OTHER_CORE_SHARE
    ]


class _Rules:
    """The rules of one phase, with what they all look at."""

    def __init__(self, measured: Measured, facts: RigFacts, where: str) -> None:
        self.phase: PhaseRecord = measured.phase
        self.facts = facts
        self.where = where
        self.latency_ms = percentiles_ms(measured.latency, (50.0, 99.0))
        self.lateness_ms = percentiles_ms(measured.lateness, (50.0, 99.0))

    def generator(self) -> Iterator[Finding]:
        if self.phase.model == "closed":
            return
        yield from self._late()
        yield from self._starved()
        yield from self._behind()
        yield from self._arrivals()

    def stub(self) -> Iterator[Finding]:
        yield from self._stub_slow()
        part = self.phase.parts.get("stub")
        if part is None:
            return
        used = part.cpu_us / (part.wall_s * 1e6 * self.facts.stub_processes)
        if used > STUB_CORE_SHARE:
            yield self._shared_finding(
                STUB_SATURATED,
                ["L", "C"],
                f"the stub used {_percent(used)} of its core",
                _percent(STUB_CORE_SHARE),
                "give the stub more processes (stub_processes) or cores",
            )

    def machine(self) -> Iterator[Finding]:
        idle = _mean([core.idle for core in self._cores(self.facts.rig_cores)])
        if idle is not None and idle < RIG_IDLE_SHARE:
            # Not void: the throughput is then a lower bound, and printed as "at least".
            yield self._finding(
                RIG_SATURATED,
                "warns",
                ["C"],
                f"the rig's cores were idle {_percent(idle)} of the time",
                f"{_percent(RIG_IDLE_SHARE)} or more",
                "the rig gave out first: give it more cores or another machine" + self._small(),
            )
        yield from self._steal()

    def _late(self) -> Iterator[Finding]:
        p50, p99 = self.latency_ms[50.0], self.latency_ms[99.0]
        late_p50, late_p99 = self.lateness_ms[50.0], self.lateness_ms[99.0]
        if p50 is None or p99 is None or late_p50 is None or late_p99 is None:
            return
        allowed = max(LATE_FLOOR_MS, LATE_SHARE * p99)
        advice = "give the generator more or quieter cores, or lower the rate"
        if late_p99 > allowed:
            found = f"p99 of sent minus intended {late_p99:.2f} ms"
            yield self._shared_finding(GENERATOR_LATE, ["L"], found, f"{allowed:.2f} ms", advice)
        if self.facts.shared and late_p50 > LATE_SHARE * p50:
            yield self._finding(
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
            yield self._shared_finding(
                GENERATOR_STARVED,
                ["L"],
                f"the generator waited {waited_ms:.3f} ms a request for a core",
                f"{STARVED_SHARE * p50:.3f} ms",
                "give the generator more or quieter cores",
            )

    def _behind(self) -> Iterator[Finding]:
        counts = self.phase.counts
        if counts.waited > WAITED_SHARE * counts.scheduled:
            yield self._finding(
                CLIENT_LIMITED,
                "warns",
                ["L", "C"],
                f"{_percent(counts.waited / counts.scheduled)} of the arrivals found no free "
                "connection",
                _percent(WAITED_SHARE),
                "the service holds back more than --connections; raise it to see by how much",
            )
        elif counts.sent < SENT_SHARE * counts.scheduled:
            # What is in flight or timed out at the end is the service's; never sent is ours.
            yield self._finding(
                GENERATOR_BEHIND,
                "voids",
                ["L", "C"],
                f"sent {counts.sent:,} of {counts.scheduled:,} with connections free",
                f"{_percent(SENT_SHARE)} of the schedule",
                "give the generator more workers or cores, or lower the rate",
            )

    def _arrivals(self) -> Iterator[Finding]:
        phase = self.phase
        if phase.rate_rps is None:
            return
        length_s = phase.end_s - phase.start_s if phase.duration_s is None else phase.duration_s
        planned = phase.rate_rps * length_s
        allowed = ARRIVAL_SIGMAS * math.sqrt(planned)
        if abs(phase.counts.scheduled - planned) > allowed:
            yield self._finding(
                ARRIVALS,
                "voids",
                ["L"],
                f"{phase.counts.scheduled:,} arrivals of {planned:,.0f} planned",
                f"{allowed:,.0f} more or less",
                "a worker was lost, or the schedule is wrong: see the workers' logs",
            )

    def _stub_slow(self) -> Iterator[Finding]:
        for name, excess_ms, reported_ms in (
            ("p50", self.phase.stub_excess_p50_ms, self.latency_ms[50.0]),
            ("p99", self.phase.stub_excess_p99_ms, self.latency_ms[99.0]),
        ):
            if excess_ms is None or reported_ms is None:
                continue
            allowed = max(STUB_FLOOR_MS, STUB_SHARE * reported_ms)
            if excess_ms > allowed:
                yield self._shared_finding(
                    STUB_SLOW,
                    ["L", "C"],
                    f"{name} of the stub is {excess_ms:.2f} ms over its setting",
                    f"{allowed:.2f} ms",
                    "give the stub more processes (stub_processes) or cores",
                )

    def _steal(self) -> Iterator[Finding]:
        shares = [
            _mean([core.steal for core in self._cores(numbers)])
            for numbers in (self.facts.service_cores, self.facts.rig_cores)
        ]
        stolen = max((share for share in shares if share is not None), default=0.0)
        if stolen > STEAL_WARNS_SHARE:
            yield self._finding(
                STEAL,
                "voids" if stolen > STEAL_VOIDS_SHARE else "warns",
                _ALL,
                f"the hypervisor took {_percent(stolen)} of the cores' time",
                f"{_percent(STEAL_WARNS_SHARE)}; over {_percent(STEAL_VOIDS_SHARE)} voids",
                "run on a machine of your own, or when its neighbours are quiet",
            )

    def _cores(self, numbers: frozenset[int]) -> list[CoreUse]:
        return [core for core in self.phase.cores if core.core in numbers]

    def _small(self) -> str:
        if not self.facts.shared:
            return ""
        return f" (shared machine: under {SHARED_CORES} cores this warns instead of voiding)"

    def _shared_finding(
        self, rule: str, touches: list[_Class], found: str, allowed: str, advice: str
    ) -> Finding:
        """A finding that voids, and under four cores warns."""
        effect: Literal["warns", "voids"] = "warns" if self.facts.shared else "voids"
        return self._finding(rule, effect, touches, found, allowed, advice + self._small())

    def _finding(
        self,
        rule: str,
        effect: Literal["warns", "voids"],
        touches: list[_Class],
        found: str,
        allowed: str,
        advice: str,
        metrics: Sequence[str] = (),
    ) -> Finding:
        return Finding(
            rule=rule,
            effect=effect,
            where=self.where,
            found=found,
            allowed=allowed,
            advice=advice,
            touches=list(touches),
            phase=self.phase.name,
            metrics=list(metrics),
        )


def _mean(shares: Sequence[float]) -> float | None:
    return sum(shares) / len(shares) if shares else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
