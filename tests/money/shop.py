"""A service that takes payments, with the provider behind a link that can break."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bakeoff.rig.service import Service, ServiceSettings
from bakeoff.rig.tokens import Credentials
from tests.contract.api import Api, Rig, Target
from tests.contract.rig import Bench
from tests.money.link import Fate, Link, link

# Short, so that what is lost is looked after soon.
PAYMENT_TIMEOUT_MS = 800
SWEEP_INTERVAL_MS = 100


@dataclass(frozen=True)
class Shop:
    """A service, its rig, and the link between it and the provider."""

    target: Target
    rig: Rig
    link: Link

    def heal(self) -> None:
        """Ends all faults, those of the provider and those of the link."""
        self.link.become(Fate.PASS)
        self.rig.control.configure()

    def invoices(self, api: Api, count: int) -> list[str]:
        """The ids of new open invoices of an account, of one subscription."""
        subscription = api.subscription()["id"]
        return [str(api.invoice(subscription_id=subscription)["id"]) for _ in range(count)]


@contextmanager
def shop(bench: Bench, name: str) -> Iterator[Shop]:
    """Starts the service of this name with short times, and a link of its own."""
    manifest = bench.built(name)
    assert manifest.run is not None
    environment = manifest.run.environment | {"SWEEP_INTERVAL_MS": str(SWEEP_INTERVAL_MS)}
    run = msgspec.structs.replace(manifest.run, environment=environment)
    manifest = msgspec.structs.replace(manifest, run=run)
    with link(bench.stub.targets) as between:
        settings = ServiceSettings(
            database_url=bench.new_database(f"money_{name}_{secrets.token_hex(4)}"),
            payment_targets=between.targets,
            credentials=Credentials.fresh(),
            worker_threads=2,
            payment_timeout_ms=PAYMENT_TIMEOUT_MS,
        )
        with Service(bench.host, manifest, settings, part=f"money-{name}") as service:
            assert service.log_path is not None
            rig = Rig(
                settings.database_url,
                settings.credentials,
                bench.stub.control,
                settings.payment_targets,
                bench.ledger,
                Path(service.log_path),
            )
            yield Shop(Target(name, service.base_url, {}, rig), rig, between)
