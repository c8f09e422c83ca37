"""A pytest plugin for `make soak`: a summary that can be kept, in Markdown.

`-p tests.soak --summary FILE` writes what every test said of itself (seeds, counts, figures), how
long it took and how it ended, beside the commit and the machine.
"""

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
# Of a failure: enough to see what it was; the terminal has the rest.
_FAILURE_LINES = 30


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--summary", type=Path, help="the file to write the summary to")


def pytest_configure(config: pytest.Config) -> None:
    path: Path | None = config.getoption("--summary")
    # With xdist only the process that hears of all tests writes.
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Summary(path), "soak-summary")


class Summary:
    """Collects the tests' reports, and writes them after each test: a run may be cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = datetime.now(UTC)
        self._begun_s = time.monotonic()
        self._commit = _commit()
        self._counts: dict[str, int] = {}
        self._sections: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Books a test when its call is over, or its setup or teardown when they fail."""
        if report.when != "call" and report.passed:
            return
        self._counts[report.outcome] = self._counts.get(report.outcome, 0) + 1
        said = [line.rstrip() for line in report.capstdout.splitlines() if line.strip()]
        if report.failed:
            said += report.longreprtext.splitlines()[-_FAILURE_LINES:]
        if said or not report.passed:
            head = f"### {report.nodeid}\n{report.outcome}, {report.duration:.1f} s\n"
            body = "".join(f"    {line}\n" for line in said)
            self._sections.append(f"{head}\n{body}")
        self._write()

    def _write(self) -> None:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self._counts.items())
        lines = [
            f"# Soak of {self._begun:%Y-%m-%d %H:%M} UTC",
            f"{counts}, in {(time.monotonic() - self._begun_s) / 60:.1f} minutes; "
            f"BAKEOFF_SCALE={os.environ.get('BAKEOFF_SCALE', '')}, commit {self._commit}, "
            f"{platform.platform()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}",
            "",
            *self._sections,
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text("\n".join(lines), encoding="utf-8")
        partial.replace(self._path)


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
