"""The processes that a far end started: started here, reaped here, ended here.

Only the far end's main thread uses this, so that no process id can be taken over between a look
and a signal.
"""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bakeoff.hosts import procfs
from bakeoff.hosts.child import start_child
from bakeoff.hosts.programs import Programs, Refusal
from bakeoff.hosts.protocol import PROCESS_VARIABLE, RUN_ID_VARIABLE
from bakeoff.hosts.records import ProcessSpec, Spent
from bakeoff.prctl import adopt_orphans

_POLL_S = 0.01
# After SIGKILL the kernel only needs to clean up.
_KILL_DEADLINE_S = 5.0


_NOTHING = Spent(cpu_us=0, largest_rss_bytes=None)


@dataclass
class Process:
    """A started process. `code` is its exit code or minus the signal, None while it runs."""

    number: int
    spec: ProcessSpec
    popen: subprocess.Popen[bytes]
    code: int | None = None
    spent: Spent = _NOTHING
    # When it gets SIGKILL, on the monotonic clock.
    kill_at_s: float | None = None
    # Its descendants when it was told to stop, with their start times.
    tree: Mapping[int, int] | None = None
    because: str | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is its session's too."""
        return self.popen.pid


class Processes:
    """All that this far end started, and what they started in turn.

    `on_end` is called when one has ended and nothing of it is left; `on_reap` with process id and
    CPU time in microseconds, its waited-for children included, of all that is reaped.
    """

    def __init__(
        self,
        run_id: str,
        far_end: str,
        programs: Programs,
        on_end: Callable[[Process], None],
        on_reap: Callable[[int, int], None],
    ) -> None:
        self._run_id = run_id
        self._far_end = far_end
        self._programs = programs
        self._on_end = on_end
        self._on_reap = on_reap
        self._all: dict[int, Process] = {}
        self._by_pid: dict[int, Process] = {}
        adopt_orphans()

    def start(self, number: int, spec: ProcessSpec) -> Process:
        """Starts a process in a session of its own; Refusal where that will not do."""
        if number in self._all:
            raise Refusal(f"the process {number} was started before")
        command = self._programs.command(spec)
        environment = self._programs.environment(spec) | {
            RUN_ID_VARIABLE: self._run_id,
            PROCESS_VARIABLE: f"{self._far_end}/{number}",
        }
        popen = start_child(spec, command, environment, self._programs.folder(spec))
        process = Process(number, spec, popen)
        self._all[number] = process
        self._by_pid[popen.pid] = process
        return process

    def get(self, number: int) -> Process:
        """A process by its number; Refusal if there is none."""
        if number not in self._all:
            raise Refusal(f"there is no process {number}")
        return self._all[number]

    def signal(self, number: int, number_of_signal: int) -> None:
        """Sends a signal to a process that has not ended."""
        process = self.get(number)
        if number_of_signal not in signal.valid_signals():
            raise Refusal(f"there is no signal {number_of_signal}")
        if process.code is None:
            os.kill(process.pid, number_of_signal)

    def stop(self, process: Process, grace_s: float, because: str | None = None) -> None:
        """Asks a process to end, by SIGKILL once the grace period is over."""
        if process.code is not None or process.kill_at_s is not None:
            return
        stats = procfs.all_stats()
        tree = procfs.descendants([process.pid], stats) - {process.pid}
        process.tree = {pid: stats[pid].started_ticks for pid in tree}
        process.kill_at_s = time.monotonic() + grace_s
        process.because = because
        os.kill(process.pid, process.spec.stop_signal)
        # A stopped process would never see it.
        os.kill(process.pid, signal.SIGCONT)

    def reap(self) -> None:
        """Takes in whatever has ended, and ends what an ended process left behind."""
        while (ended := _wait()) is not None:
            pid, status, spent = ended
            self._on_reap(pid, spent.cpu_us)
            process = self._by_pid.pop(pid, None)
            if process is None:
                continue
            process.code = os.waitstatus_to_exitcode(status)
            process.spent = spent
            # Popen must not wait for a process that is gone.
            process.popen.returncode = process.code
            self._clear(partial(self._left_by, process))
            self._on_end(process)

    def look_after(self) -> None:
        """Ends what is over its grace period or its log's limit. Call it several times a second."""
        for process in list(self._by_pid.values()):
            if process.kill_at_s is not None:
                if time.monotonic() >= process.kill_at_s:
                    os.kill(process.pid, signal.SIGKILL)
                continue
            with contextlib.suppress(OSError):
                size = Path(process.spec.log).stat().st_size
                if size > process.spec.log_limit_bytes:
                    because = f"its log grew over {process.spec.log_limit_bytes} bytes"
                    self.stop(process, process.spec.grace_s, because)

    def end_everything(self, grace_s: float) -> None:
        """Ends all processes and all that they left, whatever those do about it."""
        for process in list(self._by_pid.values()):
            self.stop(process, min(grace_s, process.spec.grace_s))
        for pid in self._orphans():
            _kill(pid, signal.SIGTERM)
            _kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + grace_s
        while self._remains() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            self.look_after()
            self.reap()
        self._clear(self._remains)
        self.reap()

    def _clear(self, find: Callable[[], set[int]]) -> None:
        """Kills until nothing is found any more."""
        deadline = time.monotonic() + _KILL_DEADLINE_S
        while (found := find()) and time.monotonic() < deadline:
            for pid in found:
                _kill(pid, signal.SIGKILL)
            time.sleep(_POLL_S)
            self._reap_orphans(found)

    def _reap_orphans(self, pids: set[int]) -> None:
        for pid in pids - self._by_pid.keys():
            with contextlib.suppress(ChildProcessError):
                found, _, usage = os.wait4(pid, os.WNOHANG)
                if found:
                    self._on_reap(pid, _spent(usage).cpu_us)

    def _left_by(self, process: Process) -> set[int]:
        """What an ended process left: by its mark, its session, and its tree when it stopped."""
        mark = f"{self._far_end}/{process.number}\0"
        tree = process.tree or {}
        return {
            one.pid
            for one in procfs.all_stats().values()
            if one.alive
            and one.pid != process.pid
            and (
                one.session == process.pid
                or tree.get(one.pid) == one.started_ticks
                or procfs.has_in_environment(one.pid, PROCESS_VARIABLE, mark)
            )
        }

    def _remains(self) -> set[int]:
        """All that lives below us or carries our mark."""
        stats = procfs.all_stats()
        own = os.getpid()
        below = procfs.descendants([own], stats) - {own}
        mark = f"{self._far_end}/"
        return {
            one.pid
            for one in stats.values()
            if one.alive
            and one.pid != own
            and (one.pid in below or procfs.has_in_environment(one.pid, PROCESS_VARIABLE, mark))
        }

    def _orphans(self) -> set[int]:
        own = os.getpid()
        return {
            one.pid
            for one in procfs.all_stats().values()
            if one.parent == own and one.pid not in self._by_pid and one.alive
        }


def _wait() -> tuple[int, int, Spent] | None:
    """Process id, status and use of something that has ended."""
    try:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    if pid == 0:
        return None
    return pid, status, _spent(usage)


def _spent(usage: resource.struct_rusage) -> Spent:
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Spent(
        cpu_us=round((usage.ru_utime + usage.ru_stime) * 1e6),
        largest_rss_bytes=usage.ru_maxrss * 1024 if usage.ru_maxrss > inherited else None,
    )


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
