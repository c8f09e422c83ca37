"""The services of this checkout, each behind a link of its own, for payments under faults."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.rig import Bench, bench
from tests.money.clients import Clients
from tests.money.shop import Shop
from tests.money.shop import shop as started

SERVICES = os.environ.get("BAKEOFF_SERVICES", "go,rust").split(",")
# At full scale; a release build, from nothing, may be part of the first.
TIMEOUT_S = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "stand" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Postgres and the provider."""
    with bench(tmp_path_factory, "money") as made:
        yield made


@pytest.fixture(scope="session", params=SERVICES)
def running(request: pytest.FixtureRequest, stand: Bench) -> Iterator[Shop]:
    """Each service in turn."""
    with started(stand, request.param) as shop:
        yield shop


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    """The service; its provider and the link are well before and after."""
    running.heal()
    running.rig.control.reset()
    try:
        yield running
    finally:
        running.heal()


@pytest.fixture
def clients(shop: Shop) -> Clients:
    """Clients of a new account."""
    return Clients(shop.target.new_account())
