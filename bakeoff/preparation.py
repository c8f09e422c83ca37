"""What comes before a rig: the services' manifests and builds, the hosts, and the cores."""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bakeoff.build import BuildRecord, build, require_toolchain
from bakeoff.experiment import LOCAL, TOKENS_VARIABLE, Experiment
from bakeoff.hosts.host import Host
from bakeoff.manifest import ServiceManifest, load_manifest
from bakeoff.progress import Progress
from bakeoff.rig.cores import CorePlan, plan_cores
from bakeoff.rig.rig import RigSettings
from bakeoff.rig.tokens import Access


def load_manifests(experiment: Experiment) -> dict[str, ServiceManifest]:
    """The manifests of the services of an experiment, by name."""
    names = dict.fromkeys(experiment.service_of(label) for label in experiment.labels)
    return {name: load_manifest(name) for name in names}


@contextmanager
def prepared(
    experiment: Experiment,
    manifests: Mapping[str, ServiceManifest],
    folder: Path,
    progress: Progress,
) -> Iterator[tuple[RigSettings, dict[str, BuildRecord]]]:
    """Builds the services, opens the hosts, and pins this process to the rig's cores.

    Nothing is measured while something builds, so the builds come first and unpinned.
    """
    run_id = secrets.token_hex(8)
    with ExitStack() as stack:
        hosts = {LOCAL: stack.enter_context(Host(LOCAL, run_id=run_id))}
        for name, settings in experiment.hosts.items():
            hosts[name] = stack.enter_context(Host(name, settings.command, run_id=run_id))
        service_host = hosts[experiment.placement.service]
        for manifest in manifests.values():
            # Before the first build, which may take minutes.
            require_toolchain(manifest)
        accesses = {
            name: Access.read(manifest.tokens_path(os.environ.get(TOKENS_VARIABLE)))
            for name, manifest in manifests.items()
            if manifest.url is not None
        }
        builds = {}
        for name, manifest in manifests.items():
            if manifest.build is None:
                continue
            progress.note(f"building {name}: {manifest.title}")
            builds[name] = build(manifest, service_host, folder, experiment.allow_debug)
        cores = plan_cores(service_host.facts().affinity, experiment.service_cores, experiment.pin)
        stack.enter_context(_pinned(cores))
        yield (
            RigSettings(
                experiment=experiment,
                manifests=manifests,
                hosts=hosts,
                cores=cores,
                folder=folder,
                accesses=accesses,
            ),
            builds,
        )


@contextmanager
def _pinned(cores: CorePlan) -> Iterator[None]:
    """Keeps this process off the service's cores, where it is on the same machine."""
    before = os.sched_getaffinity(0)
    if cores.rig is not None and cores.rig & before:
        os.sched_setaffinity(0, cores.rig & before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
