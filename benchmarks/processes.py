"""Programs that are measured: started, found, and what CPU they use."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
# A process's CPU clock: see clock_getcpuclockid(3).
_CPU_CLOCK = 2
_LINE_DEADLINE_S = 60.0
_END_DEADLINE_S = 10


@contextmanager
def announced(
    command: Sequence[str], stderr: int | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """A program that prints one line of JSON when it serves: its process id, and the line."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT) as started:
        try:
            yield started.pid, json.loads(line_of(started, started.stdout, b"{"))
        finally:
            started.terminate()
            try:
                started.wait(_END_DEADLINE_S)
            except subprocess.TimeoutExpired:
                started.kill()


def line_of(
    process: subprocess.Popen[bytes],
    output: IO[bytes] | None,
    wanted: bytes,
    deadline_s: float = _LINE_DEADLINE_S,
) -> bytes:
    """The next line of a program's output with these bytes in it.

    AssertionError where it ends without one, or is ended for saying nothing by the deadline.
    """
    assert output is not None
    timer = threading.Timer(deadline_s, process.kill)
    timer.start()
    try:
        for line in output:
            if wanted in line:
                return line
    finally:
        timer.cancel()
    raise AssertionError(
        f"{process.args!r} has ended, or was ended after {deadline_s:g} s, without {wanted!r} in "
        "its output: run it by hand to see why"
    )


@contextmanager
def null_server(*arguments: str) -> Iterator[str]:
    """The address of a null server, which answers at once unless told."""
    with announced([sys.executable, "-m", "bakeoff.nullserver", *arguments]) as (_, line):
        yield f"http://127.0.0.1:{line['port']}"


def tree(*roots: int) -> list[int]:
    """The processes of these roots, theirs below them included."""
    return [
        pid
        for root in roots
        for pid in (root, *(child.pid for child in psutil.Process(root).children(recursive=True)))
    ]


def cpu_s(pids: Iterable[int]) -> float:
    """CPU that processes have used, all threads, in seconds."""
    return sum(time.clock_gettime((~pid << 3) | _CPU_CLOCK) for pid in pids)


def sleep_until(instant_s: float) -> None:
    """Until an instant of time.monotonic()."""
    time.sleep(max(0.0, instant_s - time.monotonic()))
