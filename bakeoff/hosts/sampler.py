"""Samples parts of the rig on a fixed clock, at the far end."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from bakeoff.hosts import procfs
from bakeoff.hosts.parts import Part, open_for_reading
from bakeoff.hosts.programs import Refusal
from bakeoff.hosts.records import CoreRow, OtherRow, SampleRow

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_READ_BYTES = 1 << 20
# New processes are looked for this often: what they used before they are found is not lost.
_LOOK_S = 1.0
# Parts of many processes are not read at each tick.
_LARGE_S = 0.5
_OTHERS_FROM_CORES = 0.05
_SHORTEST_INTERVAL_S = 0.02


class Sampler:
    """Samples parts in a thread of its own until it is closed.

    `tell` gets the rows of each tick. A tick that comes late stays late and those it swallowed
    stay out: a gap is a gap. The far end's own processes belong to no part but by name, and what
    hangs below the root of one part is not counted in another.
    """

    def __init__(
        self,
        parts: Mapping[str, Sequence[int]],
        interval_s: float,
        tell: Callable[[list[SampleRow], list[CoreRow], list[OtherRow]], None],
    ) -> None:
        if interval_s < _SHORTEST_INTERVAL_S:
            raise Refusal(f"a sample each {interval_s} s; {_SHORTEST_INTERVAL_S} is the shortest")
        self._interval_s = interval_s
        self._tell = tell
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._end = threading.Event()
        self._core_file = open_for_reading("/proc/stat")
        self._before: tuple[float, Mapping[int, procfs.Stat]] | None = None
        for part, pids in parts.items():
            self.add(part, pids)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, part: str, pids: Sequence[int]) -> None:
        """Takes more root processes into a part, which may be new."""
        with self._lock:
            self._parts.setdefault(part, Part(part)).roots.update(pids)
            self._look(procfs.all_stats())

    def read_now(self, part: str) -> SampleRow:
        """A reading of this moment, with processes that have only just begun."""
        with self._lock:
            one = self._part(part)
            self._look(procfs.all_stats())
            row = one.row(look=True)
        if row is None:
            raise Refusal(f"no process of {part!r} is alive")
        return row

    def reset_peak(self, part: str) -> None:
        """Sets the high-water marks of a part's processes to their present memory."""
        with self._lock:
            try:
                self._part(part).reset_peak()
            except OSError as error:
                raise Refusal(f"cannot reset the peak of {part!r}: {error.strerror}") from error

    def reaped(self, pid: int, cpu_us: int) -> None:
        """To be told what the far end reaps."""
        with self._lock:
            for part in self._parts.values():
                part.reaped(pid, cpu_us)

    def close(self) -> None:
        """Ends the thread."""
        self._end.set()
        self._thread.join()
        for part in self._parts.values():
            part.close()
        os.close(self._core_file)

    def _run(self) -> None:
        start = time.monotonic()
        ticks = 0
        next_look = next_large = start
        while True:
            now = time.monotonic()
            look, large = now >= next_look, now >= next_large
            if look:
                next_look = now + _LOOK_S
            if large:
                next_large = now + _LARGE_S
            self._tell(*self._tick(look, large))
            ticks = max(ticks + 1, int((time.monotonic() - start) / self._interval_s) + 1)
            if self._end.wait(max(0.0, start + ticks * self._interval_s - time.monotonic())):
                return

    def _tick(
        self, look: bool, large: bool
    ) -> tuple[list[SampleRow], list[CoreRow], list[OtherRow]]:
        with self._lock:
            others: list[OtherRow] = []
            if look:
                stats = procfs.all_stats()
                self._look(stats)
                others = self._others(stats)
            due = [part for part in self._parts.values() if large or not part.large]
            rows = [part.row(look) for part in due]
        return [row for row in rows if row is not None], self._cores(), others

    def _look(self, stats: Mapping[int, procfs.Stat]) -> None:
        roots = {pid for part in self._parts.values() for pid in part.roots}
        for part in self._parts.values():
            part.look(stats, roots - part.roots)

    def _part(self, name: str) -> Part:
        if name not in self._parts:
            raise Refusal(f"no part {name!r} is watched; there are {', '.join(self._parts)}")
        return self._parts[name]

    def _cores(self) -> list[CoreRow]:
        now_s = time.monotonic()
        rows: list[CoreRow] = []
        for line in os.pread(self._core_file, _READ_BYTES, 0).splitlines()[1:]:
            if not line.startswith(b"cpu"):
                break
            name, *fields = line.split()
            user, nice, system, idle, wait, irq, softirq, steal = (
                int(field) * _TICK_US for field in fields[:8]
            )
            rows.append(
                {
                    "t_s": now_s,
                    "core": int(name[3:]),
                    "busy_us": user + nice + system,
                    "idle_us": idle + wait,
                    "steal_us": steal,
                    "irq_us": irq + softirq,
                }
            )
        return rows

    def _others(self, stats: Mapping[int, procfs.Stat]) -> list[OtherRow]:
        now_s = time.monotonic()
        before, self._before = self._before, (now_s, stats)
        if before is None:
            return []
        then_s, earlier = before
        ours = {os.getpid()}.union(*(part.pids for part in self._parts.values()))
        rows: list[OtherRow] = []
        for pid in stats.keys() & earlier.keys() - ours:
            now, then = stats[pid], earlier[pid]
            if now.started_ticks != then.started_ticks:
                continue
            cores = (now.cpu_us - then.cpu_us) / 1e6 / (now_s - then_s)
            if cores > _OTHERS_FROM_CORES:
                rows.append({"t_s": now_s, "pid": pid, "name": now.name, "cores": cores})
        return rows
