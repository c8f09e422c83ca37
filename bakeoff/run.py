"""The cycle of a comparison: build, rig up, pilot, blocks of rounds, each stored when it ends."""

import secrets
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from bakeoff.environment import describe
from bakeoff.errors import BakeoffError, InvalidRunError, PartDiedError
from bakeoff.experiment import Experiment
from bakeoff.manifest import ServiceManifest
from bakeoff.measure.books import SAMPLES_LOST, WORKER_LOST
from bakeoff.measure.checks import Check, evaluate_all
from bakeoff.measure.document import RunDocument
from bakeoff.measure.rate import arrivals_rps, reference_rate
from bakeoff.measure.summary import stands
from bakeoff.measure.validity import STEAL
from bakeoff.preparation import load_manifests, prepared
from bakeoff.progress import Progress
from bakeoff.rig.rig import Rig, RigSettings
from bakeoff.rounds.floor import measure_floor
from bakeoff.rounds.ledger import RunLedger, must_rerun
from bakeoff.rounds.phase import PhaseSpec
from bakeoff.rounds.round import RoundOutcome, RoundPlan, RoundRunner
from bakeoff.rounds.schedule import Block, plan_blocks, rerun
from bakeoff.rounds.upkeep import Upkeep
from bakeoff.signals import interruptible
from bakeoff.store import ResultsFolder
from bakeoff.verify import compare as compare_answers

# Beside its phases a round takes about this long: database, start, checks, stop.
_ROUND_OVERHEAD_S = 6.0
_PILOT_WARM_UP_S = 2.0
# Faults outside the services, for which a block is run again.
_RERUN_CAUSES = frozenset((STEAL, SAMPLES_LOST, WORKER_LOST))


@dataclass(frozen=True)
class Options:
    """What does not belong to the experiment: where results go, what must hold."""

    results: Path
    checks: list[Check]
    database_url: str | None = None


@dataclass(frozen=True)
class Outcome:
    """A run that left results; `error` says why it is not whole or not valid."""

    folder: ResultsFolder
    document: RunDocument
    error: BakeoffError | None


def compare(experiment: Experiment, options: Options, progress: Progress) -> Outcome:
    """Runs a comparison and stores it.

    Errors before the first finished round are raised; later ones stand in the outcome, beside
    what was finished until then.
    """
    if not experiment.seed:
        experiment = msgspec.structs.replace(experiment, seed=secrets.randbelow(2**31 - 1) + 1)
    manifests = load_manifests(experiment)
    now = datetime.now(UTC)
    folder = ResultsFolder.create(options.results, experiment.workload, now)
    ledger = RunLedger(
        folder=folder,
        experiment=experiment,
        started_at=now,
        titles={name: manifest.title for name, manifest in manifests.items()},
        urls={name: one.url for name, one in manifests.items() if one.url is not None},
    )
    error: BakeoffError | None = None
    try:
        with interruptible():
            _measure(ledger, manifests, options, progress)
    except BakeoffError as caught:
        if not ledger.rounds:
            raise
        error = caught
    document = evaluate_all(options.checks, ledger.document(finished=error is None))
    folder.write_run(document)
    if error is None and not stands(document):
        error = InvalidRunError(
            "no figure of the family stands, so there is nothing to compare: see `validity` in "
            f"{folder.path / 'run.json'} for what was wrong and what to do about it"
        )
    return Outcome(folder, document, error)


def _measure(
    ledger: RunLedger,
    manifests: Mapping[str, ServiceManifest],
    options: Options,
    progress: Progress,
) -> None:
    experiment = ledger.experiment
    scratch = ledger.folder.path.resolve() / "rig"
    scratch.mkdir()
    with prepared(experiment, manifests, scratch, progress) as (settings, builds):
        settings = replace(settings, database_url=options.database_url)
        ledger.builds = builds
        ledger.cores = settings.cores.usable
        ledger.environment = describe(settings.hosts, settings.cores)
        up = partial(_up, settings=settings)
        with Upkeep(up, ledger.findings) as upkeep:
            rate_rps = upkeep.attempt(
                "the pilot", lambda rig: _reference_rate(rig, ledger, progress)
            )
            ledger.reference_rate_rps = rate_rps
            ledger.floor = upkeep.attempt(
                "the floor", lambda rig: measure_floor(rig, experiment, rate_rps, progress)
            )
            _run_blocks(upkeep, ledger, progress)


def _run_blocks(upkeep: Upkeep, ledger: RunLedger, progress: Progress) -> None:
    """All blocks, and those again at the end that a fault of the rig spoiled."""
    experiment = ledger.experiment
    pending = deque(plan_blocks(experiment.labels, experiment.rounds, experiment.seed))
    planned = list(pending)
    reruns = 0
    while pending:
        block = pending.popleft()
        progress.plan(_time_left_s(len(pending) + 1, experiment, ledger))
        try:
            because = _run_block(block, upkeep.rig, ledger, progress)
        except PartDiedError as error:
            upkeep.mend(error, f"block {block.number}")
            because = str(error)
        if because is not None and reruns < experiment.reruns:
            reruns += 1
            planned.append(rerun(block, planned))
            pending.append(planned[-1])
            progress.note(f"block {block.number} is run again at the end: {because}")


def _up(stack: ExitStack, settings: RigSettings) -> Rig:
    rig = stack.enter_context(Rig(settings))
    for label in settings.experiment.labels:
        rig.swarm_for(label)
    return rig


def _reference_rate(rig: Rig, ledger: RunLedger, progress: Progress) -> float:
    """The rate of the experiment, or from a pilot round of each service, which does not count."""
    experiment = ledger.experiment
    runner = RoundRunner(rig, experiment, progress)
    if experiment.rate_rps is not None:
        return experiment.rate_rps
    connections = experiment.connections_closed
    phases = [
        PhaseSpec("warm-up", None, _PILOT_WARM_UP_S, connections),
        PhaseSpec("pilot", None, experiment.pilot_s, connections),
    ]
    answers, throughputs = {}, []
    for label in experiment.labels:
        plan = RoundPlan(
            number=0,
            block=0,
            position=0,
            label=label,
            seed=experiment.seed,
            where=f"pilot      {label}",
            phases=phases,
        )
        outcome = runner.run(plan)
        answers[label] = outcome.answers
        throughputs += [arrivals_rps(phase) for phase in outcome.record.phases]
    compare_answers(answers)
    if len(throughputs) < len(experiment.labels) or min(throughputs) <= 0:
        raise InvalidRunError(
            "a service answered nothing in its pilot, so there is no rate that both can be given: "
            f"see the logs in {runner.folder}, or give one with --rate"
        )
    return reference_rate(throughputs)


def _run_block(block: Block, rig: Rig, ledger: RunLedger, progress: Progress) -> str | None:
    """Runs a block; returns the fault of the rig for which it must be run again, or None."""
    experiment = ledger.experiment
    runner = RoundRunner(rig, experiment, progress)
    ledger.begin(block)
    outcomes: dict[str, RoundOutcome] = {}
    for position, label in enumerate(block.order):
        plan = RoundPlan(
            number=len(ledger.rounds) + 1,
            block=block.number,
            position=position,
            label=label,
            seed=block.seed,
            where=f"block {block.number}/{experiment.rounds}  {label}",
            phases=_phases(experiment, ledger.reference_rate_rps),
        )
        outcomes[label] = runner.run(plan)
        ledger.add(outcomes[label])
    compare_answers({label: outcome.answers for label, outcome in outcomes.items()})
    return must_rerun([outcome.record for outcome in outcomes.values()], _RERUN_CAUSES)


def _phases(experiment: Experiment, rate_rps: float | None) -> list[PhaseSpec]:
    return [
        PhaseSpec("warm-up", rate_rps, experiment.warm_up_s, experiment.connections_open),
        PhaseSpec("fixed", rate_rps, _fixed_s(experiment, rate_rps), experiment.connections_open),
        PhaseSpec("closed", None, experiment.closed_s, experiment.connections_closed),
    ]


def _fixed_s(experiment: Experiment, rate_rps: float | None) -> float:
    """The length of the fixed-rate phase: longer until it has its requests, up to its maximum."""
    wanted_s = 0.0 if rate_rps is None else experiment.fixed_requests / rate_rps
    # A Poisson count falls short of its mean half of the time; two percent more seldom does.
    return min(max(experiment.fixed_s, 1.02 * wanted_s), experiment.fixed_maximum_s)


def _time_left_s(blocks: int, experiment: Experiment, ledger: RunLedger) -> float:
    phases = _phases(experiment, ledger.reference_rate_rps)
    return 2 * blocks * (sum(phase.duration_s for phase in phases) + _ROUND_OVERHEAD_S)
