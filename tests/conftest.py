"""What holds for all tests: the flag for golden files, which tests stay together, and time for
the builds that the first of them may need."""

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

_HERE = Path(__file__).parent
_BUILT = {"contract", "money", "running"}
# Of a release build of both, from nothing, on a machine that does other things, too.
_BUILD_S = 1800.0


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests share what is slow to start, so they go to one process of a parallel run;
    an end-to-end test shares nothing."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How tests are dealt to the processes of `pytest -n`."""
    return _ByFile(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """One flag for all golden files: `pytest --update-golden` writes them anew."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whichever test of both services comes first builds them, and the others wait for it."""
    usual_s = float(config.getini("timeout"))
    for item in items:
        if _BUILT.intersection(item.path.relative_to(_HERE).parts):
            marker = item.get_closest_marker("timeout")
            own_s = usual_s if marker is None else float(marker.args[0])
            item.add_marker(pytest.mark.timeout(own_s + _BUILD_S), append=False)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this run writes the golden files."""
    return bool(request.config.getoption("--update-golden"))
