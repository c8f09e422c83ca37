"""A checkout with one service in it, whose program is a script of the test."""

import os
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bakeoff.hosts import procfs
from bakeoff.hosts.host import LOCAL_COMMAND, Host, ProcessSpec
from bakeoff.hosts.protocol import RUN_ID_VARIABLE

# Ten times what it takes.
DEADLINE_S = 30.0

_MANIFEST = """
name = "fake"
title = "A script"
[build]
command = ["true"]
artifact = "bin/fake"
toolchain = ["true"]
[run]
command = ["bin/fake"]
"""


def make_checkout(folder: Path, script: str, python: str = sys.executable) -> Path:
    """A checkout whose one service, `fake`, is a Python script."""
    program = folder / "services" / "fake" / "bin" / "fake"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{python}\n{textwrap.dedent(script)}")
    program.chmod(0o755)
    (folder / "services" / "fake" / "service.toml").write_text(_MANIFEST)
    return folder


@contextmanager
def host_on(checkout: Path, run_id: str) -> Iterator[Host]:
    """A host on this machine that starts the services of a test's checkout."""
    command = [*LOCAL_COMMAND, "--checkout", str(checkout)]
    with Host("local", command, run_id=run_id) as host:
        yield host


def fake(folder: Path, name: str = "fake", **fields: object) -> ProcessSpec:
    """The service `fake`, its log in `folder`."""
    settings: dict[str, object] = {
        "name": name,
        "argv": ["bin/fake"],
        "environment": {},
        "cwd": "services/fake",
        "log": str(folder / f"{name}.log"),
        "grace_s": 0.5,
    }
    return ProcessSpec(**(settings | fields))  # type: ignore[arg-type]


def of_run(run_id: str) -> set[int]:
    """The living processes that carry a run's mark, but for this one."""
    return {
        pid
        for pid, stat in procfs.all_stats().items()
        if stat.alive
        and pid != os.getpid()
        and procfs.has_in_environment(pid, RUN_ID_VARIABLE, f"{run_id}\0")
    }


def until(what: Callable[[], bool], deadline_s: float = DEADLINE_S) -> bool:
    """Waits for something to become true."""
    deadline = time.monotonic() + deadline_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
