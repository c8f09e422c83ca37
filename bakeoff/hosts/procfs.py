"""Processes as /proc shows them.

Every process of the machine is read once a second while samples are taken, so this goes by
descriptors: pathlib takes twice as long.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 4096
_ENVIRONMENT_LIMIT_BYTES = 1 << 20


class Stat(NamedTuple):
    """What /proc/PID/stat says. CPU times are counted in ticks, mostly of 10 ms."""

    pid: int
    name: str
    state: str
    parent: int
    session: int
    cpu_us: int
    # Of children that it has waited for, and theirs.
    children_cpu_us: int
    threads: int
    started_ticks: int

    @property
    def alive(self) -> bool:
        """Whether it is more than an exit code that waits to be read."""
        return self.state not in "ZX"


def parse_stat(line: bytes) -> Stat:
    """A line of /proc/PID/stat; the name in it may contain anything, even brackets."""
    head, _, tail = line.rpartition(b")")
    pid, _, name = head.partition(b" (")
    fields = tail.split()
    return Stat(
        pid=int(pid),
        name=name.decode(errors="replace"),
        state=fields[0].decode(),
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu_us=(int(fields[11]) + int(fields[12])) * _TICK_US,
        children_cpu_us=(int(fields[13]) + int(fields[14])) * _TICK_US,
        threads=int(fields[17]),
        started_ticks=int(fields[19]),
    )


def stat(pid: int) -> Stat | None:
    """A process, or None where there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        return parse_stat(os.read(descriptor, _STAT_BYTES))
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)


def all_stats() -> dict[int, Stat]:
    """Every process of the machine."""
    names = os.listdir("/proc")  # noqa: PTH208
    found = (stat(int(name)) for name in names if name.isdecimal())
    return {one.pid: one for one in found if one is not None}


def descendants(
    roots: Iterable[int], stats: Mapping[int, Stat], leaves: frozenset[int] = frozenset()
) -> set[int]:
    """The roots that live and all below them; what is below a leaf is left out."""
    children: dict[int, list[int]] = {}
    for one in stats.values():
        children.setdefault(one.parent, []).append(one.pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in stats]
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        if pid not in leaves:
            waiting += children.get(pid, ())
    return found


def has_in_environment(pid: int, name: str, prefix: str) -> bool:
    """Whether a process was started with a variable whose value begins with `prefix`; False also
    where we may not look."""
    try:
        with Path(f"/proc/{pid}/environ").open("rb") as file:
            environment = file.read(_ENVIRONMENT_LIMIT_BYTES)
    except OSError:
        return False
    return b"\0" + f"{name}={prefix}".encode() in b"\0" + environment
