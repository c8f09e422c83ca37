"""One round: a fresh service on a fresh database, verified, warmed up, loaded, sampled, audited."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bakeoff.errors import HostError, PartDiedError
from bakeoff.experiment import WORKLOADS, Experiment
from bakeoff.measure.audit import declared_work
from bakeoff.measure.figures import Measured, round_figures
from bakeoff.measure.histogramlog import LoggedInterval, logged_intervals
from bakeoff.measure.measurement import PhaseMeasurement
from bakeoff.measure.phase import decode_measurement
from bakeoff.measure.records import Finding, RoundRecord
from bakeoff.measure.samples import Sample, other_cores
from bakeoff.measure.steadiness import steadiness_findings
from bakeoff.measure.validity import RigFacts, other_process_findings, phase_findings
from bakeoff.progress import Progress
from bakeoff.rig.probe import StubProbe
from bakeoff.rig.rig import Rig
from bakeoff.rig.service import Service
from bakeoff.rig.swarmclient import PhasePlan
from bakeoff.rig.swarmclient import Progress as SwarmProgress
from bakeoff.rounds.cut import Cutter
from bakeoff.rounds.phase import PhaseInputs, PhaseSpec, excess_ms, measured_phase
from bakeoff.rounds.sampling import Sampling
from bakeoff.store import LOG_LIMIT_BYTES
from bakeoff.verify import Account, Answer, verify


@dataclass(frozen=True)
class RoundPlan:
    """Which round it is. `where` is for the display; `phases` in their order."""

    number: int
    block: int
    position: int
    label: str
    seed: int
    where: str
    phases: Sequence[PhaseSpec]


@dataclass(frozen=True)
class RoundOutcome:
    """A finished round, and all that is written down of it."""

    record: RoundRecord
    intervals: list[LoggedInterval]
    samples: list[Sample]
    log: bytes | None
    answers: dict[str, Answer]


@dataclass
class _Running:
    """What gathers while a round runs."""

    measured: dict[str, Measured] = field(default_factory=dict)
    intervals: list[LoggedInterval] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    died: str | None = None


class RoundRunner:
    """Runs rounds on a rig that stays up between them."""

    def __init__(self, rig: Rig, experiment: Experiment, progress: Progress) -> None:
        self._rig = rig
        self.folder = rig.folder
        self._experiment = experiment
        self._progress = progress
        self._work = WORKLOADS[experiment.workload]
        self._facts = RigFacts(
            cores=rig.cores.usable,
            service_cores=rig.cores.service or rig.cores.all,
            rig_cores=rig.cores.rig or rig.cores.all,
            workers=rig.workers,
            stub_processes=experiment.stub_processes,
        )

    def run(self, plan: RoundPlan) -> RoundOutcome:
        """Runs one round.

        A service that dies while it is loaded is a result and ends the round; PartDiedError is
        raised for any other part, StartError for a service that does not get ready, and
        WrongAnswerError for one that answers wrongly.
        """
        rig = self._rig
        starts = rig.starts(plan.label)
        database = f"round_{plan.number}"
        running = _Running()
        with ExitStack() as stack:
            url = self._reset(database) if starts else ""
            started_at = datetime.now(UTC)
            zero_s = time.monotonic()
            service = stack.enter_context(rig.service(plan.label, url))
            answers = self._verify(plan, service)
            swarm = rig.swarm_for(plan.label)
            sampling = stack.enter_context(Sampling(rig, service, swarm, zero_s))
            cutter = Cutter(
                postgres=rig.postgres if starts else None,
                database=database,
                stub=rig.stub if starts else None,
                service_host=service.host,
                log_path=service.log_path,
                sampling=sampling,
            )
            probe = stack.enter_context(StubProbe(rig.stub.targets[0])) if starts else None
            for spec in plan.phases:
                try:
                    self._phase(plan, spec, service, sampling, cutter, probe, running)
                except (PartDiedError, HostError) as error:
                    death = self._death(service, error)
                    if death.part != service.part:
                        raise death from error
                    running.died = f"died in the {spec.name} phase{_at(spec)}: {death}"
                    break
            samples = sampling.labelled()
            log = None
            if service.log_path is not None:
                log = service.host.read_log(service.log_path, LOG_LIMIT_BYTES)
        record = self._record(plan, started_at, running)
        return RoundOutcome(record, running.intervals, samples, log, answers)

    def _reset(self, database: str) -> str:
        """A fresh database and a stub that has seen nothing; the database's URL."""
        rig = self._rig
        url = rig.postgres.fresh_database(database)
        rig.stub.control.reset()
        rig.stub.control.configure(latency_ms=self._experiment.stub_latency_ms)
        return url

    def _death(self, service: Service, error: PartDiedError | HostError) -> PartDiedError:
        """Which part died: a reading that a host refuses may just be the first to notice."""
        if isinstance(error, PartDiedError):
            return error
        try:
            service.check()
            self._rig.check()
        except PartDiedError as death:
            return death
        raise error

    def _verify(self, plan: RoundPlan, service: Service) -> dict[str, Answer]:
        access = self._rig.access(plan.label)
        accounts = {
            account: Account(token=token, invoices=access.invoices[account])
            for account, token in access.tokens.items()
            if access.invoices.get(account)
        }
        return verify(plan.label, service.base_url, accounts, self._experiment.seed)

    def _phase(
        self,
        plan: RoundPlan,
        spec: PhaseSpec,
        service: Service,
        sampling: Sampling,
        cutter: Cutter,
        probe: StubProbe | None,
        running: _Running,
    ) -> None:
        self._progress.phase(plan.where, spec.name, spec.duration_s)
        service.check()
        before = cutter.cut()
        sampling.reset_peak()
        measurement = self._load(plan, spec, service)
        cut_s = sampling.read_all()
        if spec.name == "warm-up":
            return
        declared = declared_work(measurement.requests, self._work)
        audit = cutter.audit(before, measurement.counts.answered, declared)
        start_s = sampling.on_round_clock(measurement.started_monotonic_s)
        excess = None
        # Where no request waits for the stub, its latency is in none of the figures.
        if probe is not None and declared.stub_calls > 0:
            under_load = probe.between(measurement.started_monotonic_s, sampling.zero_s + cut_s)
            excess = excess_ms(under_load, probe.at_rest_ms)
        measured = measured_phase(
            PhaseInputs(
                spec=spec,
                measurement=measurement,
                start_s=start_s,
                cut_s=cut_s,
                samples=sampling.samples(),
                cores=sampling.service_cores(),
                audit=audit,
                stub_excess_ms=excess,
                work=self._work,
                elsewhere=probe is None,
            )
        )
        where = f"round {plan.number}, {plan.label}, {spec.name} phase"
        running.measured[spec.name] = measured
        running.intervals += logged_intervals(spec.name, start_s, measurement.intervals)
        running.findings += phase_findings(measured, self._facts, where)
        whole_seconds = measurement.intervals[: int(measurement.duration_s)]
        running.findings += steadiness_findings(
            whole_seconds, sampling.of_service(), start_s, spec.name, where
        )
        if not measured.elsewhere:
            # Else the service itself may be among them.
            others = other_cores(sampling.others(), start_s, measured.phase.end_s)
            running.findings += other_process_findings(others, spec.name, where)

    def _load(self, plan: RoundPlan, spec: PhaseSpec, service: Service) -> PhaseMeasurement:
        def watch(progress: SwarmProgress) -> None:
            self._rig.check()
            service.check()
            self._progress.tick(progress.elapsed_s, progress.rate_rps, progress.p99_ms)

        answer = self._rig.swarm_for(plan.label).run(
            PhasePlan(
                target=service.base_url,
                rate_rps=spec.rate_rps,
                arrivals=self._experiment.arrivals,
                duration_s=spec.duration_s,
                connections=spec.connections,
                seed=plan.seed,
                request_timeout_s=self._experiment.request_timeout_s,
            ),
            watch,
        )
        return decode_measurement(answer)

    def _record(self, plan: RoundPlan, started_at: datetime, running: _Running) -> RoundRecord:
        return RoundRecord(
            number=plan.number,
            block=plan.block,
            position=plan.position,
            label=plan.label,
            service=self._experiment.service_of(plan.label),
            seed=plan.seed,
            started_at=started_at.isoformat(timespec="milliseconds"),
            phases=[measured.phase for measured in running.measured.values()],
            figures=round_figures(
                running.measured,
                running.findings,
                shared=self._facts.parts_share_cores,
                died=running.died,
            ),
            findings=running.findings,
            died=running.died,
        )


def _at(spec: PhaseSpec) -> str:
    return "" if spec.rate_rps is None else f" at {spec.rate_rps:,.0f} req/s"
