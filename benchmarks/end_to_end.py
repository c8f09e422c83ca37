"""The whole rig around a service at its capacity: our generator and stub beside stock parts.

The service has a core of its own; Postgres, stub and generator share the rest. The stock rig is
Locust's FastHttpUser and a stub on grpcio. Besides the answers a second, each stub's CPU a call as
each service calls it: their clients cut calls into other frames.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakeoff.experiment import LOCAL, LOCUSTFILES, TOKENS_VARIABLE, Experiment
from bakeoff.preparation import load_manifests, prepared
from bakeoff.progress import Silent
from bakeoff.rig.rig import Rig, RigSettings
from bakeoff.rig.service import Service, ServiceSettings
from benchmarks import stubs, windows
from benchmarks.windows import Aim, Window

_STUB = "stub"


@dataclass(frozen=True)
class Contestant:
    """A rig: its service, which stub, and whose generator."""

    service: str
    stub: str
    generate: Callable[[Aim], Window]


# Those whose stub is there are measured. What is compared stands side by side, as the weather of a
# machine changes within a repeat.
CONTESTANTS = {
    "end_to_end_stock_rps": Contestant("go", "grpcio", windows.stock),
    "end_to_end_rps": Contestant("go", "wire", windows.ours),
    "end_to_end_go_stub_rps": Contestant("go", "go", windows.ours),
    "end_to_end_grpcio_rps": Contestant("go", "grpcio", windows.ours),
    "end_to_end_rust_grpcio_rps": Contestant("rust", "grpcio", windows.ours),
    "end_to_end_rust_rps": Contestant("rust", "wire", windows.ours),
    "end_to_end_rust_go_stub_rps": Contestant("rust", "go", windows.ours),
}


def measure(repeats: int) -> dict[str, list[float]]:
    """Answers a second and microseconds of the stub's CPU a call, by key."""
    commands = stubs.commands()
    found: dict[str, list[float]] = {}
    with _rig() as (settings, rig, database_url):
        for _ in range(repeats):
            for key, contestant in CONTESTANTS.items():
                if contestant.stub not in commands:
                    continue
                command = commands[contestant.stub]
                window = _window(settings, rig, database_url, command, contestant)
                found.setdefault(key, []).append(window.rps)
                if contestant.generate is windows.ours:
                    stub = f"stub_{contestant.stub}_us_per_call_by_{contestant.service}_service"
                    found.setdefault(stub, []).append(window.us_per_request(_STUB))
    return found


@contextmanager
def _rig() -> Iterator[tuple[RigSettings, Rig, str]]:
    experiment = Experiment(services=["go", "rust"], service_cores=1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bakeoff-bench-")))
        manifests = load_manifests(experiment)
        settings, _ = stack.enter_context(prepared(experiment, manifests, folder, Silent()))
        rig = stack.enter_context(Rig(settings))
        yield settings, rig, rig.postgres.fresh_database("bench")


def _window(
    settings: RigSettings,
    rig: Rig,
    database_url: str,
    stub: Sequence[str],
    contestant: Contestant,
) -> Window:
    access = rig.access(settings.experiment.labels[0])
    tokens_file = rig.write_tokens(access, [LOCAL])[LOCAL]
    with ExitStack() as stack:
        cores = settings.cores.rig
        pids, target = stack.enter_context(stubs.serving(stub))
        # As this process has been since `prepared`.
        assert cores is None or all(os.sched_getaffinity(pid) <= cores for pid in pids), pids
        service = _service(settings, rig, database_url, target, contestant.service)
        up = stack.enter_context(service)
        return contestant.generate(
            Aim(
                up.base_url,
                locustfile=LOCUSTFILES / "payment_status.py",
                environment={TOKENS_VARIABLE: tokens_file},
                cores=cores,
                parts={_STUB: pids},
            )
        )


def _service(settings: RigSettings, rig: Rig, database_url: str, target: str, name: str) -> Service:
    return Service(
        settings.hosts[LOCAL],
        settings.manifests[name],
        ServiceSettings(
            database_url=database_url,
            payment_targets=[target],
            credentials=rig.credentials,
            worker_threads=settings.cores.service_threads,
            cpus=settings.cores.service,
        ),
    )
