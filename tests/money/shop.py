"""A service that takes payments, with the provider behind a link that can break."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
    with (
        link(bench.stub.targets) as between,
        bench.service(
            name,
            payment_targets=between.targets,
            payment_timeout_ms=PAYMENT_TIMEOUT_MS,
            environment={"SWEEP_INTERVAL_MS": str(SWEEP_INTERVAL_MS)},
        ) as target,
    ):
        yield Shop(target, target.behind(), between)
