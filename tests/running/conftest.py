"""Postgres, the payment stub, and a service of this checkout at a time, started as often as a
test wants."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.contract.rig import Bench, bench
from tests.running.rig import Starter


@pytest.fixture(scope="session")
def running_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The rig of these tests, which some of them break and mend."""
    with bench(tmp_path_factory, "running") as made:
        yield made


@pytest.fixture(scope="session")
def starters(running_bench: Bench) -> Callable[[str], Starter]:
    """A starter a service."""
    return cache(lambda name: Starter(running_bench, name))


@pytest.fixture(scope="session", params=["go", "rust"])
def starter(
    request: pytest.FixtureRequest, starters: Callable[[str], Starter]
) -> Iterator[Starter]:
    """Each service in turn. Its provider is well."""
    found = starters(request.param)
    found.bench.stub.control.reset()
    yield found
