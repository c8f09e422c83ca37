"""A machine to run things on: a command that starts Python there, and a pipe to it.

    with Host("local", run_id=run_id) as host, host.start(spec) as process:
        process.wait_for_line("ready", deadline_s=10)

One path for all: this machine is the command LOCAL_COMMAND, another one begins with `ssh` or
`kubectl exec`. The far end (`bakeoff.hosts.remote`) ends all it started when the pipe closes,
so also when this side is killed.
"""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from types import TracebackType
from typing import Self

from bakeoff.errors import HostError
from bakeoff.hosts import protocol
from bakeoff.hosts.connection import Connection
from bakeoff.hosts.process import HostProcess
from bakeoff.hosts.records import CoreRow, HostFacts, OtherRow, ProcessSpec, SampleRow
from bakeoff.hosts.watch import Watch

__all__ = [
    "LOCAL_COMMAND",
    "CoreRow",
    "Host",
    "HostFacts",
    "HostProcess",
    "OtherRow",
    "ProcessSpec",
    "SampleRow",
    "Watch",
]

LOCAL_COMMAND = (sys.executable, "-m", "bakeoff.hosts.remote")

# Without a word for so long the far end takes us for gone. With a second to end by themselves, all
# that it started is then gone within ten.
_LEASE_S = 8.0
_CONNECT_DEADLINE_S = 30.0
_CLOCK_READINGS = 15
_TAIL_LINES = 12
_TAIL_BYTES = 16 * 1024
_COUNT_DEADLINE_S = 120.0


class Host(AbstractContextManager["Host"]):
    """A far end, from entry to exit. Its methods block, and may be called from any thread.

    All raise HostError where the far end refuses or is gone.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str] = LOCAL_COMMAND,
        *,
        run_id: str,
        lease_s: float = _LEASE_S,
    ) -> None:
        self.name = name
        self._command = command
        self._run_id = run_id
        self._lease_s = lease_s
        self._connection: Connection
        self._lock = threading.Lock()
        # Of processes and watches, given here, so that a start is never done twice.
        self._numbers = count(1)
        self._processes: dict[int, HostProcess] = {}
        self._watches: dict[int, Watch] = {}
        self._facts: HostFacts | None = None

    def __enter__(self) -> Self:
        self._connection = Connection(
            self.name, self._command, self._run_id, self._on_event, self._on_lost
        )
        try:
            self._connection.ask(
                protocol.Hello,
                deadline_s=_CONNECT_DEADLINE_S,
                version=protocol.VERSION,
                run_id=self._run_id,
                lease_s=self._lease_s,
            )
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def start(self, spec: ProcessSpec) -> HostProcess:
        """Starts a process: a context manager that stops it."""
        process = HostProcess(self._connection, next(self._numbers), spec, self.read_tail)
        with self._lock:
            # Its end may be reported before its start is.
            self._processes[process.number] = process
        try:
            process.pid = self._connection.ask_for(
                int, protocol.Start, process=process.number, spec=spec
            )
        except BaseException:
            with self._lock:
                del self._processes[process.number]
            raise
        return process

    def check(self) -> None:
        """Raises HostError if the far end is gone, PartDiedError for a process of it that ended
        without having been told to."""
        if self._connection.lost is not None:
            raise HostError(self._connection.lost)
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            process.check()

    def facts(self) -> HostFacts:
        """What kind of machine it is."""
        if self._facts is None:
            self._facts = self._connection.ask_for(HostFacts, protocol.Facts)
        return self._facts

    def watch(self, parts: Mapping[str, Sequence[int]], interval_s: float) -> Watch:
        """Samples parts, each given by its root processes: a context manager that stops it."""
        watch = Watch(self._connection, next(self._numbers))
        self._watches[watch.number] = watch
        self._connection.ask(
            protocol.StartWatch,
            watch=watch.number,
            parts={name: list(pids) for name, pids in parts.items()},
            interval_s=interval_s,
        )
        return watch

    def clock_offset_s(self) -> float:
        """The far end's monotonic clock minus ours, from the quickest of some answers; wrong by
        half of that answer's time at most."""
        best_s = float("inf")
        offset_s = 0.0
        for _ in range(_CLOCK_READINGS):
            before_s = time.monotonic()
            there_s = self._connection.ask_for(float, protocol.Beat)
            after_s = time.monotonic()
            if after_s - before_s < best_s:
                best_s = after_s - before_s
                offset_s = there_s - (before_s + after_s) / 2
        return offset_s

    def file_size(self, path: str) -> int:
        """The size of a file in bytes."""
        return self._connection.ask_for(int, protocol.FileSize, path=path)

    def count_lines(self, path: str, needle: str, start: int, end: int) -> int:
        """How many whole lines that end between two offsets of a file have `needle` in them. A
        line that an offset cuts is counted in the span where it ends."""
        return self._connection.ask_for(
            int,
            protocol.CountLines,
            deadline_s=_COUNT_DEADLINE_S,
            path=path,
            needle=needle,
            start=start,
            end=end,
        )

    def read(self, path: str, start: int, end: int) -> bytes:
        """The bytes of a file between two offsets."""
        found = bytearray()
        while start < end:
            size = min(protocol.CHUNK_BYTES, end - start)
            chunk = self._connection.ask_for(
                bytes, protocol.ReadFile, path=path, offset=start, size=size
            )
            if not chunk:
                break
            found += chunk
            start += len(chunk)
        return bytes(found)

    def read_log(self, path: str, limit_bytes: int) -> bytes:
        """A whole log, or its head and tail with a line between that says what is left out."""
        size = self.file_size(path)
        if size <= limit_bytes:
            return self.read(path, 0, size)
        half = limit_bytes // 2
        note = f"\n... {size - 2 * half} bytes are left out here ...\n".encode()
        return self.read(path, 0, half) + note + self.read(path, size - half, size)

    def read_tail(self, path: str) -> str:
        """The last lines of a log, to put into a message."""
        size = self.file_size(path)
        text = self.read(path, max(0, size - _TAIL_BYTES), size).decode(errors="replace")
        return "\n".join(text.splitlines()[-_TAIL_LINES:])

    def make_folder(self, name: str, user: str | None = None) -> str:
        """Makes a folder for one user in the far end's own, which goes with it; its path."""
        return self._connection.ask_for(str, protocol.MakeFolder, name=name, user=user)

    def write_file(self, name: str, content: bytes, user: str | None = None) -> str:
        """Writes a new file in the far end's own folder that one user may read; its path."""
        size = protocol.CHUNK_BYTES
        for start in range(0, max(1, len(content)), size):
            path = self._connection.ask_for(
                str,
                protocol.WriteFile,
                name=name,
                content=content[start : start + size],
                user=user,
                append=start > 0,
            )
        return path

    def remove_tree(self, path: str) -> None:
        """Removes a file or folder in the far end's own folder."""
        self._connection.ask(protocol.RemoveTree, path=path)

    def _on_event(self, event: protocol.Ended | protocol.Samples) -> None:
        if isinstance(event, protocol.Samples):
            watch = self._watches.get(event.watch)
            if watch is not None:
                watch.note(event)
            return
        with self._lock:
            process = self._processes.get(event.process)
        if process is not None:
            process.note_end(event)

    def _on_lost(self) -> None:
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            process.note_end(None)
