"""The rig for a person: both services up, with Locust's own page or with their addresses, until
a signal ends it."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bakeoff.errors import InterruptedRunError, UsageError
from bakeoff.experiment import LOCAL, Experiment
from bakeoff.preparation import load_manifests, prepared
from bakeoff.progress import Progress
from bakeoff.rig.rig import Rig
from bakeoff.signals import interruptible

_DATABASE = "attended"
_LOOK_S = 0.5


class RigFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is; the first two seeded accounts come first in `tokens`."""

    services: dict[str, str]
    tokens: dict[str, str]
    tokens_file: str
    database_url: str
    payment_targets: list[str]
    payment_control: str
    ledger: str


def serve_page(
    experiment: Experiment, web_port: int, ready: Callable[[str], None], progress: Progress
) -> None:
    """Serves Locust's page on loopback, with the services to choose from, until a signal.

    `ready` gets the page's address.
    """
    with _up(experiment, progress) as (rig, facts, check):
        swarm = rig.start_swarm(experiment.labels[0], facts.services, web_port)
        ready(swarm.client.base_url)
        _stay(check, swarm.check)


def keep_up(experiment: Experiment, ready: Callable[[RigFacts], None], progress: Progress) -> None:
    """Keeps the services running until a signal; `ready` gets told where everything is."""
    with _up(experiment, progress) as (_, facts, check):
        ready(facts)
        _stay(check)


@contextmanager
def _up(
    experiment: Experiment, progress: Progress
) -> Iterator[tuple[Rig, RigFacts, Callable[[], None]]]:
    """Everything up on one database; yields the rig, where it all is, and a look at its parts."""
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bakeoff-up-")))
        manifests = load_manifests(experiment)
        for manifest in manifests.values():
            if manifest.url is not None:
                raise UsageError(
                    f"{manifest.name} runs already, at {manifest.url} (`url` in {manifest.path}): "
                    "name services that are started here"
                )
        settings, _ = stack.enter_context(prepared(experiment, manifests, folder, progress))
        progress.note("starting Postgres, the payment stub and the services")
        rig = stack.enter_context(Rig(settings))
        url = rig.postgres.fresh_database(_DATABASE)
        services = {
            label: stack.enter_context(rig.service(label, url)) for label in experiment.labels
        }

        def check() -> None:
            for part in (rig.postgres, rig.stub, *services.values()):
                part.check()

        access = rig.access(experiment.labels[0])
        facts = RigFacts(
            services={label: service.base_url for label, service in services.items()},
            tokens=access.tokens,
            tokens_file=rig.write_tokens(access, [LOCAL])[LOCAL],
            database_url=url,
            payment_targets=list(rig.stub.targets),
            payment_control=rig.stub.control.target,
            ledger=str(folder / "ledger.sqlite"),
        )
        yield rig, facts, check


def _stay(*checks: Callable[[], None]) -> None:
    """Until a signal, which is the ordinary end; PartDiedError where a part dies before."""
    try:
        while True:
            for check in checks:
                check()
            time.sleep(_LOOK_S)
    except InterruptedRunError:
        return
