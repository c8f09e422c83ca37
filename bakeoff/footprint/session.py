"""A run of `bakeoff footprint`: count, make ready, time, and keep what there is after each step."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bakeoff import toolchains
from bakeoff.build import require_toolchain
from bakeoff.environment import describe
from bakeoff.errors import BakeoffError, UsageError
from bakeoff.experiment import LOCAL, SERVICES
from bakeoff.footprint.bench import NO_SECTION, Bench, command_of, lacking
from bakeoff.footprint.images import image_build, image_size
from bakeoff.footprint.lines import count_lines, counter
from bakeoff.footprint.plan import Step, expected_s, plan_steps, time_left_s
from bakeoff.footprint.workspace import WORKSPACE, Workspace, alone_in, check_changes
from bakeoff.hosts.host import LOCAL_COMMAND, Host
from bakeoff.images.records import RESULTS
from bakeoff.manifest import ServiceManifest, load_manifest
from bakeoff.measure.footprint import Amount, FootprintDocument
from bakeoff.measure.footprintsummary import (
    SIZES,
    FootprintFacts,
    ServiceFacts,
    footprint_document,
)
from bakeoff.measure.operations import OPERATIONS, Repetitions
from bakeoff.progress import Progress
from bakeoff.rig.cores import plan_cores
from bakeoff.rig.postgres import ExternalPostgres, Postgres
from bakeoff.rig.rig import MIGRATIONS
from bakeoff.signals import interruptible
from bakeoff.store import ResultsFolder

WORKLOAD = "footprint"
_DATABASE = "service_tests"
# What the services' tests call the copies that they make of it.
_TEST_DATABASES = "billing_test_"


@dataclass(frozen=True)
class Options:
    """What to measure and where it goes. `into` is a results folder that is there already."""

    services: Sequence[str]
    results: Path
    into: Path | None = None
    skip_cold: bool = False
    database_url: str | None = None
    repetitions: Repetitions = field(default_factory=Repetitions)
    workspace: Path = WORKSPACE


@dataclass(frozen=True)
class Outcome:
    """A run that left results; `error` says why it is not whole."""

    folder: ResultsFolder
    document: FootprintDocument
    error: BakeoffError | None


def measure(options: Options, progress: Progress) -> Outcome:
    """Measures services and stores it.

    Errors before anything was timed are raised, and nothing is stored then; later ones stand in
    the outcome, beside what was finished until then.
    """
    manifests = {name: _manifest(name) for name in dict.fromkeys(options.services)}
    facts = _count(manifests, options)
    error: BakeoffError | None = None
    with alone_in(options.workspace):
        folder = _folder(options)
        try:
            with interruptible():
                _time(facts, manifests, folder, options, progress)
        except BakeoffError as caught:
            if not facts.runs:
                raise
            error = caught
        document = footprint_document(facts, finished=error is None)
        stored = folder.write_footprint(document)
    if error is not None and options.into is not None:
        progress.note(f"not finished: what this run has is in {stored}")
    return Outcome(folder, document, error)


def _folder(options: Options) -> ResultsFolder:
    if options.into is not None:
        return ResultsFolder.open(options.into)
    return ResultsFolder.create(options.results, WORKLOAD, datetime.now(UTC), rounds=False)


def _manifest(service: str) -> ServiceManifest:
    manifest = load_manifest(service, SERVICES)
    if manifest.build is None:
        raise UsageError(f"{manifest.path} has no [build]: {service} is built elsewhere")
    require_toolchain(manifest)
    check_changes(manifest)
    return manifest


def _count(manifests: Mapping[str, ServiceManifest], options: Options) -> FootprintFacts:
    """What needs no compiler: lines, and what is known of the images."""
    facts = FootprintFacts(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        repetitions=options.repetitions,
        counter=counter(),
        skipped=["cold"] if options.skip_cold else [],
    )
    for name, manifest in manifests.items():
        one = ServiceFacts(title=manifest.title, lines=count_lines(manifest))
        folders = (options.results, RESULTS)
        one.sizes["image_bytes"] = image_size(name, folders)
        one.image = image_build(manifest, folders)
        one.lacking = lacking(manifest)
        if manifest.footprint is None:
            nothing = Amount(value=None, reason=NO_SECTION)
            one.sizes |= dict.fromkeys(SIZES, nothing) | one.sizes
        one.commands = {
            key: command_of(manifest, operation) for key, operation in OPERATIONS.items()
        }
        changes = manifest.footprint.changes if manifest.footprint is not None else {}
        one.changes = {key: change.file for key, change in changes.items()}
        facts.services[name] = one
    return facts


def _time(
    facts: FootprintFacts,
    manifests: Mapping[str, ServiceManifest],
    folder: ResultsFolder,
    options: Options,
    progress: Progress,
) -> None:
    with ExitStack() as stack:
        host = stack.enter_context(_host(options.workspace))
        facts.environment = describe({LOCAL: host}, plan_cores(host.facts().affinity, None, False))
        workspaces = _copied(manifests, options.workspace)
        database_url = _database(stack, host, manifests, options)
        logs = folder.make_folder("builds")
        benches = {
            name: Bench(workspace, host, database_url, logs)
            for name, workspace in workspaces.items()
        }
        for name, bench in benches.items():
            progress.note(f"{name}: fetching what it depends on, which is not timed")
            bench.fetch()
            facts.services[name].toolchain = bench.toolchain()
            facts.services[name].sizes |= bench.dependencies()
        able = {
            name: [key for key in OPERATIONS if key not in facts.services[name].lacking]
            for name in benches
        }
        steps = plan_steps(able, options.repetitions, options.skip_cold)
        _do(steps, benches, facts, folder, progress)


def _do(
    steps: Sequence[Step],
    benches: Mapping[str, Bench],
    facts: FootprintFacts,
    folder: ResultsFolder,
    progress: Progress,
) -> None:
    for number, step in enumerate(steps):
        progress.plan(time_left_s(steps[number:], facts.runs))
        progress.phase(step.where, step.title, expected_s(step, facts.runs))
        bench = benches[step.service]
        run = bench.do(step, lambda elapsed_s: progress.tick(elapsed_s, None, None))
        if step.repetition:
            facts.runs.append(run)
        service = facts.services[step.service]
        if step.operation.work == "release build":
            # That of the unchanged sources, where there is one.
            if step.operation.cold or not step.repetition:
                service.sizes["binary_bytes"] = bench.binary_bytes()
            service.linker = bench.linker()
        if facts.runs:
            folder.write_footprint(footprint_document(facts, finished=False))


def _host(workspace: Path) -> Host:
    """A far end whose checkout is the workspace, and which finds every toolchain that we do."""
    far_end = [*LOCAL_COMMAND, "--checkout", str(workspace)]
    command = ["env", f"PATH={toolchains.search_path()}", *far_end]
    return Host(LOCAL, command, run_id=secrets.token_hex(8))


def _copied(manifests: Mapping[str, ServiceManifest], root: Path) -> dict[str, Workspace]:
    """Fresh copies of the services that say how they are changed and built."""
    workspaces = {
        name: Workspace(root, manifest, manifest.footprint)
        for name, manifest in manifests.items()
        if manifest.footprint is not None
    }
    for workspace in workspaces.values():
        workspace.refresh()
    return workspaces


def _database(
    stack: ExitStack, host: Host, manifests: Mapping[str, ServiceManifest], options: Options
) -> str | None:
    """A migrated database without rows, which the services' tests copy."""
    if not any(manifest.test and manifest.footprint for manifest in manifests.values()):
        return None
    postgres: Postgres | ExternalPostgres = (
        ExternalPostgres(options.database_url, leftovers=_TEST_DATABASES)
        if options.database_url
        else Postgres(host)
    )
    stack.enter_context(postgres)
    postgres.prepare_template(MIGRATIONS, None)
    return postgres.fresh_database(_DATABASE)
