"""What holds for all tests: the flag for golden files, which tests stay together, and time for
the builds that the first of them may need."""

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Else each of several hundred processes of a run would compile every module anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# A shell starts what runs in its background with SIGINT ignored, nohup does so with SIGHUP, and
# what tests start and interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_MEMORY = Path("/dev/shm")
# Of Postgres's data, a few copies at a time.
_ROOM_BYTES = 4 * 2**30
# Rigs keep what is theirs in memory where it has room: each checkpoint would wait for the disk. The
# tests' own folders stay where they are, since results outlive a run.
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK):
    tempfile.gettempdir()
    if shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
        os.environ["TMPDIR"] = str(_MEMORY)

_HERE = Path(__file__).parent
# Its tests share a rig.
_UP = "tests/e2e/test_up.py"
# Files, and a folder, whose tests take a minute or more in one process.
_LONGEST = (
    "tests/integration/test_services.py",
    "tests/images/test_running.py",
    "tests/integration/test_load_runs.py",
    _UP,
    "tests/e2e/test_compare.py",
    "tests/contract/test_schema.py",
    "tests/running/test_outages.py",
    "tests/e2e/",
)
# Folders whose tests start the services or the stub.
_SLOW = {"contract", "running", "stub"}
_BUILT = {"contract", "money", "running"}
# Of a release build of both, from nothing, on a machine that does other things, too.
_BUILD_S = 1800.0


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests share what is slow to start, so they go to one process of a parallel run;
    an end-to-end test shares nothing, but for those of `bakeoff up`."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.startswith("tests/e2e/") and file != _UP else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """How tests are dealt to the processes of `pytest -n`."""
    return _ByFile(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """One flag for all golden files: `pytest --update-golden` writes them anew."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest come first, so that no process of a parallel run is left with one at the end.

    Whichever test of both services comes first builds them, and the others wait for it."""
    items.sort(key=lambda item: _place(item.nodeid))
    usual_s = float(config.getini("timeout"))
    for item in items:
        folders = item.path.relative_to(_HERE).parts
        if _SLOW.intersection(folders):
            item.add_marker(pytest.mark.slow)
        if _BUILT.intersection(folders):
            marker = item.get_closest_marker("timeout")
            own_s = usual_s if marker is None else float(marker.args[0])
            item.add_marker(pytest.mark.timeout(own_s + _BUILD_S), append=False)


def _place(nodeid: str) -> int:
    for place, start in enumerate(_LONGEST):
        if nodeid.startswith(start):
            return place
    return len(_LONGEST)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this run writes the golden files."""
    return bool(request.config.getoption("--update-golden"))
