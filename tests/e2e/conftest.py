"""A checkout of its own for the end-to-end tests, with services that fail in chosen ways."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
_COPIED = ("bakeoff", "reports", "stub_payment", "protos", "locustfiles", "experiments")
_MANIFEST = """
name = "{name}"
title = "A fake: {name}"
[build]
command = ["true"]
artifact = "billing.py"
toolchain = ["true"]
[run]
command = ["./billing.py"]
[run.environment]
FAKE_FAULT = "{fault}"
PYTHONPATH = "{root}"
"""
# The smallest comparison that goes through every phase. Unpinned: several run beside each other,
# and pinned ones would all have their rigs on the first cores.
TINY = """
services = ["steady", "same"]
rounds = 2
seed = 7
rate_rps = 40
warm_up_s = 0.5
fixed_s = 2
fixed_requests = 0
fixed_maximum_s = 2
closed_s = 0.5
pilot_s = 0.5
floor_s = 0.5
connections_open = 16
connections_closed = 4
database_max_connections = 4
pin = false
"""
# A tenth of the seed: no test is about its size, and each run loads it anew.
_TENTHS = {"12000": "1200", "119999": "11999", "13999": "1399"}
FAULTS = {
    "steady": "",
    "same": "",
    "asks-more": "extra-query",
    "wrong": "wrong-body",
    "unready": "never-ready",
    "stillborn": "dies-at-start",
    # After the checks of each round and the warm-up, in the fixed-rate phase.
    "mortal": "dies:80",
    "stubborn": "ignores-term",
}


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    output: str


def run_command(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str], deadline_s: float
) -> Finished:
    """Runs a command to its end; an empty environment stands for this process's own."""
    done = subprocess.run(
        argv,
        cwd=folder,
        env=environment or None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    return Finished(done.returncode, done.stdout)


@dataclass
class Checkout:
    """A copy of the project with fake services, and a way to run its command line."""

    path: Path
    results: Path
    runs: set[str] = field(default_factory=set)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a run: this interpreter's, and nothing of the test run's own."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("BAKEOFF_")}
        return {**kept, "PYTHONPATH": str(self.path), **more}

    def argv(self, *words: str) -> list[str]:
        """The command line of `bakeoff WORDS`."""
        return [sys.executable, "-m", "bakeoff.cli", *words]

    def tiny(self, *words: str) -> list[str]:
        """The command line of the smallest comparison."""
        experiment = str(self.path / "experiments" / "tiny.toml")
        return self.argv(
            "compare", "--experiment", experiment, "--results", str(self.results), *words
        )

    def run(self, argv: Sequence[str], deadline_s: float = 240, **environment: str) -> Finished:
        """Runs a command to its end."""
        return run_command(argv, self.path, self.environment(**environment), deadline_s)

    def start(self, argv: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Starts a command in a process group of its own, with its output in `log`."""
        with log.open("wb") as file:
            return subprocess.Popen(
                argv,
                cwd=self.path,
                env=self.environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def processes(self) -> list[psutil.Process]:
        """Every process that carries the mark of a run of this checkout.

        The far end of a host has this checkout in its environment beside the mark, what it
        starts has the mark alone: a run that was seen once is known from then on.
        """
        marked: dict[psutil.Process, str] = {}
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except (psutil.Error, OSError):
                continue
            run = environment.get("BAKEOFF_RUN_ID")
            if run is None:
                continue
            marked[process] = run
            if environment.get("PYTHONPATH") == str(self.path):
                self.runs.add(run)
        return [process for process, run in marked.items() if run in self.runs]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A fresh copy, and proof that nothing of it is left running."""
    # Readable for the user that Postgres runs as when the tests run as root.
    tmp_path.chmod(0o755)
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in _COPIED:
        # With what is compiled already, but for what another process is writing now.
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    shutil.copytree(ROOT / "services" / "db", copy / "services" / "db")
    seed = copy / "services" / "db" / "seed.sql"
    text = seed.read_text()
    for number, tenth in _TENTHS.items():
        assert number in text, f"{seed} has other sizes now"
        text = text.replace(number, tenth)
    seed.write_text(text)
    for name, fault in FAULTS.items():
        folder = copy / "services" / name
        folder.mkdir()
        script = folder / "billing.py"
        script.write_text(
            f"#!{sys.executable}\n" + (ROOT / "tests" / "fakes" / "billing.py").read_text()
        )
        script.chmod(0o755)
        (folder / "service.toml").write_text(_MANIFEST.format(name=name, fault=fault, root=copy))
    (copy / "experiments" / "tiny.toml").write_text(TINY)
    made = Checkout(copy, tmp_path / "results")
    yield made
    left = made.processes()
    names = [process.name() for process in left]
    for process in left:
        process.kill()
    assert not left, f"left running: {names}"


def wait_until(done: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Polls until `done`; fails with `what` when the deadline passes."""
    end = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)


@contextmanager
def kept_up(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path, deadline_s: float
) -> Iterator[tuple["subprocess.Popen[bytes]", dict[str, Any]]]:
    """A `bakeoff up --json` that is ready, and its line; `log` gets what it says beside. It is
    interrupted at the end, as by Ctrl-C, if it still runs."""
    output = log.with_suffix(".json")
    with output.open("wb") as out, log.open("wb") as errors:
        process = subprocess.Popen(
            argv, cwd=folder, env=environment or None, stdout=out, stderr=errors, process_group=0
        )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return output.read_bytes().endswith(b"\n")

        wait_until(is_ready, deadline_s, "the rig is up")
        yield process, json.loads(output.read_bytes())
        assert output.read_bytes().count(b"\n") == 1, "more than one line"
    finally:
        if process.poll() is None:
            interrupt(process)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def interrupt(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT) -> None:
    """Sends a signal to a process, not to its group."""
    os.kill(process.pid, number)
