"""What holds for all tests: the flag for golden files, and which tests stay together."""

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


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


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this run writes the golden files."""
    return bool(request.config.getoption("--update-golden"))
