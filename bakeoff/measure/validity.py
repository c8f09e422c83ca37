"""The validity rules of one phase: each is detected, named, and warns or voids.

A fault of the instrument voids the figures that it touches; a fault of the service (errors,
timeouts, slowness) is a result and stays. Under four cores, where service and rig share them,
four rules warn instead, since there they would always strike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bakeoff.measure.audit import audit_findings
from bakeoff.measure.books import books, cpu_findings, worker_findings
from bakeoff.measure.figures import RIG_SATURATED, Measured
from bakeoff.measure.generator import GeneratorRules
from bakeoff.measure.histograms import count
from bakeoff.measure.metrics import SHARED_CORES
from bakeoff.measure.records import CoreUse, Finding
from bakeoff.measure.rules import ALL, PhaseRules, percent

STUB_SLOW = "stub slow"
STUB_SATURATED = "stub saturated"
STEAL = "steal"
ANOTHER_PROCESS = "another process"
PART_DIED = "a part died"

# The stub's time beyond its setting, of the reported latency at the same percentile.
STUB_SHARE = 0.10
STUB_FLOOR_MS = 0.5
STUB_CORE_SHARE = 0.70
RIG_IDLE_SHARE = 0.10
STEAL_WARNS_SHARE = 0.02
STEAL_VOIDS_SHARE = 0.10
OTHER_CORE_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class RigFacts:
    """What the rules must know of the rig.

    `cores` are those of the service's machine, `service_cores` and `rig_cores` the numbers of
    those that service and the rest may use (all of them without pinning).
    """

    cores: int
    service_cores: frozenset[int]
    rig_cores: frozenset[int]
    workers: int
    stub_processes: int

    @property
    def parts_share_cores(self) -> bool:
        """Whether any part of the rig may run on a core of the service."""
        return self.shared or bool(self.service_cores & self.rig_cores)

    @property
    def shared(self) -> bool:
        """Whether service and rig share so few cores that the tail is the scheduler's."""
        return self.cores < SHARED_CORES


def phase_findings(measured: Measured, facts: RigFacts, where: str) -> list[Finding]:
    """Every rule that strikes in one phase; `where` names round, service and phase."""
    phase = measured.phase
    rules = _RigRules(measured, facts, where)
    return [
        *books(phase, count(measured.latency), where),
        *worker_findings(phase, facts.workers, rules.latency_ms[99.0], where),
        *GeneratorRules(measured, facts.shared, where).findings(),
        *rules.stub(),
        *rules.machine(),
        *cpu_findings(phase, facts.cores, where),
        *audit_findings(phase, where),
    ]


def part_died(part: str, how: str, where: str) -> Finding:
    """A part of the rig, not the service, died during a round."""
    return Finding(
        rule=PART_DIED,
        effect="voids",
        where=where,
        found=f"{part}: {how}",
        allowed="all parts live to the end of the round",
        advice=f"see the log of {part}; what was under way is done again, once",
        touches=list(ALL),
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
            found=f"{name} (process {pid}) used {percent(used)} of a core",
            allowed=percent(OTHER_CORE_SHARE),
            advice="end it, or run where nothing else does",
            touches=["L", "C", "U"],
            phase=phase,
        )
        for (pid, name), used in cores_used.items()
        if used > OTHER_CORE_SHARE
    ]


class _RigRules(PhaseRules):
    """The rules about the stub and about the cores of the machine."""

    def __init__(self, measured: Measured, facts: RigFacts, where: str) -> None:
        super().__init__(measured, facts.shared, where)
        self.facts = facts

    def stub(self) -> Iterator[Finding]:
        yield from self._stub_slow()
        part = self.phase.parts.get("stub")
        if part is None:
            return
        used = part.cpu_us / (part.wall_s * 1e6 * self.facts.stub_processes)
        if used > STUB_CORE_SHARE:
            yield self.shared_finding(
                STUB_SATURATED,
                ["L", "C"],
                f"the stub used {percent(used)} of its core",
                percent(STUB_CORE_SHARE),
                "give the stub more processes (stub_processes) or cores",
            )

    def machine(self) -> Iterator[Finding]:
        idle = _mean([core.idle for core in self._cores(self.facts.rig_cores)])
        if idle is not None and idle < RIG_IDLE_SHARE:
            # Not void: the throughput is then a lower bound, and printed as "at least".
            yield self.finding(
                RIG_SATURATED,
                "warns",
                ["C"],
                f"the rig's cores were idle {percent(idle)} of the time",
                f"{percent(RIG_IDLE_SHARE)} or more",
                "the rig gave out first: give it more cores or another machine" + self.small(),
            )
        yield from self._steal()

    def _stub_slow(self) -> Iterator[Finding]:
        for name, excess_ms, reported_ms in (
            ("p50", self.phase.stub_excess_p50_ms, self.latency_ms[50.0]),
            ("p99", self.phase.stub_excess_p99_ms, self.latency_ms[99.0]),
        ):
            if excess_ms is None or reported_ms is None:
                continue
            allowed = max(STUB_FLOOR_MS, STUB_SHARE * reported_ms)
            if excess_ms > allowed:
                yield self.shared_finding(
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
            yield self.finding(
                STEAL,
                "voids" if stolen > STEAL_VOIDS_SHARE else "warns",
                ALL,
                f"the hypervisor took {percent(stolen)} of the cores' time",
                f"{percent(STEAL_WARNS_SHARE)}; over {percent(STEAL_VOIDS_SHARE)} voids",
                "run on a machine of your own, or when its neighbours are quiet",
            )

    def _cores(self, numbers: frozenset[int]) -> list[CoreUse]:
        return [core for core in self.phase.cores if core.core in numbers]


def _mean(shares: Sequence[float]) -> float | None:
    return sum(shares) / len(shares) if shares else None
