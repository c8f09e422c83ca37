"""One part of the rig as /proc shows it: its processes, and what they use together.

CPU time is each living process's own CPU clock, to the nanosecond and with its ended threads,
plus what its ended children left it, which /proc shows in ticks of 10 ms, plus what the far end
itself has reaped. A process that ends moves from the first sum to one of the others, so nothing
is counted twice and a Postgres backend that ends is not lost. The move is not seen atomically:
parents are read first, so that a sum can only come out short, and it never goes back. What is
orphaned before it was found belongs to no part.

Memory is resident memory in which pages of files and shared memory count once for a part, with
the process that has most of them: a plain sum would count Postgres's shared buffers once for
each backend. For a single process it is its RSS.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bakeoff.hosts import procfs
from bakeoff.hosts.records import SampleRow

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_READ_BYTES = 4096
# Processes; each costs about 50 us to read.
_LARGE = 8


class _Usage(NamedTuple):
    """A process at one moment; memory in pages."""

    resident: int
    shared: int
    run_queue_ns: int
    switches: int
    threads: int
    open_files: int


class _Process:
    """One process and the open files through which it is read. They are bound to the process,
    not to its number, so that a successor of the same number is never taken for it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # The CPU clock of a process: see clock_getcpuclockid(3) and MAKE_PROCESS_CPUCLOCK.
        self._clock = (~pid << 3) | 2
        self._stat = open_for_reading(f"/proc/{pid}/stat")
        try:
            self._statm = open_for_reading(f"/proc/{pid}/statm")
        except OSError:
            os.close(self._stat)
            raise
        self._status: int | None = None
        self._threads: dict[int, int] = {}
        self._seen: dict[int, tuple[int, int]] = {}
        # Run-queue time and switches of threads that have ended.
        self._ended = (0, 0)

    def stat(self) -> procfs.Stat:
        """/proc/PID/stat; ProcessLookupError when the process is gone."""
        return procfs.parse_stat(os.pread(self._stat, _READ_BYTES, 0))

    def cpu_us(self) -> int:
        """Its own CPU time; OSError when it is gone."""
        return time.clock_gettime_ns(self._clock) // 1000

    def usage(self, stat: procfs.Stat, look: bool) -> _Usage:
        """Everything else; `look` looks for new threads even where their count is the same."""
        _, resident, shared, *_ = os.pread(self._statm, _READ_BYTES, 0).split()
        if look or len(self._threads) != stat.threads:
            self._find_threads()
        for thread, descriptor in list(self._threads.items()):
            try:
                _, waited, switches = os.pread(descriptor, _READ_BYTES, 0).split()
                self._seen[thread] = (int(waited), int(switches))
            except (ProcessLookupError, ValueError):
                self._forget(thread)
        waits, switched = zip(self._ended, *self._seen.values(), strict=True)
        return _Usage(
            resident=int(resident),
            shared=int(shared),
            run_queue_ns=sum(waits),
            switches=sum(switched),
            threads=stat.threads,
            open_files=_open_files(self.pid),
        )

    def peak_bytes(self) -> int:
        """The kernel's high-water mark of its resident memory."""
        if self._status is None:
            self._status = open_for_reading(f"/proc/{self.pid}/status")
        _, found, rest = os.pread(self._status, _READ_BYTES, 0).partition(b"VmHWM:")
        return int(rest.split(maxsplit=1)[0]) * 1024 if found else 0

    def reset_peak(self) -> None:
        """Sets the high-water mark to the present memory."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def close(self) -> tuple[int, int]:
        """Closes its files; returns run-queue time in ns and switches of its whole life."""
        for thread in list(self._threads):
            self._forget(thread)
        for descriptor in (self._stat, self._statm, self._status):
            if descriptor is not None:
                os.close(descriptor)
        return self._ended

    def _find_threads(self) -> None:
        found = {int(path.name) for path in Path(f"/proc/{self.pid}/task").iterdir()}
        for thread in found - self._threads.keys():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                path = f"/proc/{self.pid}/task/{thread}/schedstat"
                self._threads[thread] = open_for_reading(path)

    def _forget(self, thread: int) -> None:
        os.close(self._threads.pop(thread))
        waited, switches = self._seen.pop(thread, (0, 0))
        self._ended = (self._ended[0] + waited, self._ended[1] + switches)


class Part:
    """Root processes and all below them. Who was once found belongs to it until its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.roots: set[int] = set()
        self._members: dict[int, _Process] = {}
        # All that ever belonged to it and was not reaped by the far end.
        self._known: set[int] = set()
        self._reaped_us = 0
        self._cpu_us = 0
        self._run_queue_us = 0
        self._switches = 0
        self._ended = (0, 0)

    @property
    def large(self) -> bool:
        """Whether a reading of it is dear."""
        return len(self._members) > _LARGE

    @property
    def pids(self) -> set[int]:
        """Its roots and all that was found below them."""
        return self.roots | self._members.keys()

    def look(self, stats: Mapping[int, procfs.Stat], others: set[int]) -> None:
        """Takes in new descendants; `others` are the roots of other parts."""
        leaves = frozenset(others | {os.getpid()})
        found = procfs.descendants(self.pids, stats, leaves) - others
        for pid in found - self._members.keys():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                self._members[pid] = _Process(pid)
        self._known |= found

    def reaped(self, pid: int, cpu_us: int) -> None:
        """A process that the far end has reaped: its clock is gone, this is what it had used."""
        if pid in self._known:
            self._known.discard(pid)
            self._reaped_us += cpu_us
            self._drop(pid)

    def row(self, look: bool) -> SampleRow | None:
        """What the part uses now; None where no process of it lives."""
        now_s = time.monotonic()
        stats = self._stats()
        cpu_us = self._reaped_us
        cpu_us += sum(one.children_cpu_us for one in stats.values() if one.pid != os.getpid())
        used = []
        peak = 0
        for pid, stat in stats.items():
            member = self._members[pid]
            try:
                cpu_us += member.cpu_us()
                if not stat.alive:
                    continue
                used.append(member.usage(stat, look))
                peak += member.peak_bytes() if pid in self.roots else 0
            except OSError:
                # It has just ended: the next reading finds what it used elsewhere.
                continue
        # Between the end of a process and its burial what it had used is not seen.
        self._cpu_us = max(self._cpu_us, cpu_us)
        run_queue_us = (self._ended[0] + sum(one.run_queue_ns for one in used)) // 1000
        self._run_queue_us = max(self._run_queue_us, run_queue_us)
        switches = self._ended[1] + sum(one.switches for one in used)
        self._switches = max(self._switches, switches)
        if not used:
            return None
        shared = max(one.shared for one in used)
        private = sum(one.resident - one.shared for one in used)
        rss_bytes = (private + shared) * _PAGE_BYTES
        return {
            "t_s": now_s,
            "part": self.name,
            "processes": len(used),
            "rss_bytes": rss_bytes,
            # The kernel keeps one mark a process, and marks of several do not add up.
            "peak_rss_bytes": max(peak, rss_bytes),
            "cpu_us": self._cpu_us,
            "run_queue_us": self._run_queue_us,
            "threads": sum(one.threads for one in used),
            "open_files": sum(one.open_files for one in used),
            "context_switches": self._switches,
        }

    def reset_peak(self) -> None:
        for member in self._members.values():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                member.reset_peak()

    def close(self) -> None:
        for pid in list(self._members):
            self._drop(pid)

    def _stats(self) -> dict[int, procfs.Stat]:
        stats = {}
        for pid, member in list(self._members.items()):
            try:
                stats[pid] = member.stat()
            except ProcessLookupError:
                self._drop(pid)
        return stats

    def _drop(self, pid: int) -> None:
        self.roots.discard(pid)
        member = self._members.pop(pid, None)
        if member is not None:
            waited, switches = member.close()
            self._ended = (self._ended[0] + waited, self._ended[1] + switches)


def open_for_reading(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _open_files(pid: int) -> int:
    folder = f"/proc/{pid}/fd"
    try:
        # Linux 6.2 and newer say it in the folder's size.
        return os.stat(folder).st_size or len(os.listdir(folder))  # noqa: PTH116, PTH208
    except PermissionError:
        return 0
