"""The service under test: `go` and `rust` from this checkout one after the other, or, with
BAKEOFF_BASE_URL and BAKEOFF_TOKENS_FILE, one that runs elsewhere. BAKEOFF_SERVICES names others.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.api import Api, Target
from tests.contract.rig import Bench, bench, running_target

BASE_URL = os.environ.get("BAKEOFF_BASE_URL")
SERVICES = os.environ.get("BAKEOFF_SERVICES", "go,rust").split(",")


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Target]]:
    """Services by name: each is started when it is first asked for, and lives as long as all."""
    with ExitStack() as stack:
        benches: list[Bench] = []
        targets: dict[str, Target] = {}

        def start(name: str) -> Target:
            if not benches:
                benches.append(stack.enter_context(bench(tmp_path_factory, "contract")))
            if name not in targets:
                targets[name] = stack.enter_context(benches[0].service(name))
            return targets[name]

        yield start


@pytest.fixture(scope="session", params=[BASE_URL] if BASE_URL else SERVICES)
def target(request: pytest.FixtureRequest) -> Target:
    """Each service in turn."""
    name: str = request.param
    if BASE_URL:
        file = os.environ.get("BAKEOFF_TOKENS_FILE")
        assert file, "BAKEOFF_BASE_URL needs BAKEOFF_TOKENS_FILE: tokens of two accounts"
        return running_target(BASE_URL, Path(file))
    start: Callable[[str], Target] = request.getfixturevalue("started")
    return start(name)


@pytest.fixture(scope="session")
def pair(started: Callable[[str], Target]) -> tuple[Target, Target]:
    """The two services beside each other."""
    if BASE_URL or len(SERVICES) != 2:
        pytest.skip("compares two services of this checkout")
    return started(SERVICES[0]), started(SERVICES[1])


@pytest.fixture
def api(target: Target) -> Api:
    """An account."""
    return target.account(0)


@pytest.fixture
def stranger(target: Target) -> Api:
    """Another account."""
    return target.account(1)
