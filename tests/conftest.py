"""What holds for all tests: the flag for golden files, and which tests stay together."""

from pathlib import Path

import pytest

# Here every test has a rig of its own; elsewhere those of a file share what is slow to start.
_ALONE = Path(__file__).parent / "e2e"


def pytest_addoption(parser: pytest.Parser) -> None:
    """One flag for all golden files: `pytest --update-golden` writes them anew."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps the tests of a file in one process of a parallel run (`--dist loadgroup`)."""
    for item in items:
        if _ALONE not in item.path.parents:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this run writes the golden files."""
    return bool(request.config.getoption("--update-golden"))
