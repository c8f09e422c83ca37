"""A process on a host, from this side."""

import signal as signals
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from bakeoff.errors import HostError, PartDiedError, StartError
from bakeoff.hosts import protocol
from bakeoff.hosts.connection import Connection
from bakeoff.hosts.records import ProcessSpec, Spent

# A far end that waits for us answers a little after the deadline.
_SLACK_S = 10.0


class HostProcess(AbstractContextManager["HostProcess"]):
    """A started process. On exit it is stopped, and nothing that it started is left."""

    def __init__(
        self,
        connection: Connection,
        number: int,
        spec: ProcessSpec,
        tail: Callable[[str], str],
    ) -> None:
        self.spec = spec
        self.number = number
        self.pid = 0
        self._connection = connection
        self._tail = tail
        self._end: protocol.Ended | None = None
        self._over = threading.Event()
        # Set before we end it, so that its end is no surprise.
        self._told = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A host that is gone has ended it.
        with suppress(HostError):
            self.stop()

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return None if self._end is None else self._end.code

    def wait(self, deadline_s: float) -> int:
        """Waits for its end and returns its exit code; HostError when the deadline passes first
        or the host is gone."""
        if not self._over.wait(deadline_s):
            raise HostError(f"{self.spec.name} has not ended within {deadline_s:g} s")
        if self._end is None:
            raise HostError(self._connection.lost or "the host is gone")
        return self._end.code

    def spent(self) -> Spent:
        """What it used, with all below it that were waited for; HostError before its end."""
        if self._end is None:
            raise HostError(f"{self.spec.name} has not ended")
        return self._end.spent

    def signal(self, number: int) -> None:
        """Sends it a signal; nothing happens if it has ended."""
        self._connection.ask(protocol.Signal, process=self.number, signal=int(number))

    def stop(self) -> int:
        """Sends its stop signal, SIGKILL after its grace period, and waits for its end and that
        of all it started. Returns its exit code."""
        self._told = True
        if not self._over.is_set():
            self._connection.ask(protocol.Stop, process=self.number)
        return self.wait(self.spec.grace_s + _SLACK_S)

    def kill(self) -> int:
        """Ends it with SIGKILL."""
        self._told = True
        self.signal(signals.SIGKILL)
        return self.wait(_SLACK_S)

    def wait_for_line(self, needle: str, deadline_s: float, setting: str = "") -> str:
        """The first line of its log with `needle` in it.

        StartError, with the end of the log, if it ends first or the deadline passes; `setting`
        is what can raise the deadline.
        """
        found = self._connection.ask_for(
            protocol.Found,
            protocol.WaitForLine,
            deadline_s=deadline_s + _SLACK_S,
            process=self.number,
            needle=needle,
            within_s=deadline_s,
        )
        if found.line is not None:
            return found.line
        if found.ended:
            self._over.wait(_SLACK_S)
            raise StartError(f"{self.spec.name} did not start: {self.how_it_ended()}")
        more = f" (setting `{setting}`)" if setting else ""
        raise StartError(
            f"{self.spec.name} did not say {needle!r} within {deadline_s:g} s{more}"
            f"{self.last_words()}"
        )

    def check(self) -> None:
        """PartDiedError with the end of its log if it ended and nobody told it to; HostError if
        its host is gone."""
        if self._over.is_set() and not self._told:
            if self._end is None:
                raise HostError(self._connection.lost or "the host is gone")
            raise PartDiedError(self.spec.name, f"{self.spec.name} died: {self.how_it_ended()}")

    def how_it_ended(self) -> str:
        """Its exit code or signal, and its last words."""
        end = self._end
        if end is None:
            return "nobody knows, its host is gone"
        how = f"exit code {end.code}"
        if end.code < 0:
            with suppress(ValueError):
                how = signals.Signals(-end.code).name
        return how + (f", since {end.because}" if end.because else "") + self.last_words()

    def last_words(self) -> str:
        """The end of its log, to put behind a message."""
        for log in filter(None, (self.spec.error_log, self.spec.log)):
            with suppress(HostError):
                text = self._tail(log)
                if text:
                    return f"; the end of {log}:\n{text}"
        return f"; {self.spec.log} is empty"

    def note_end(self, end: protocol.Ended | None) -> None:
        """For its host: it has ended, or (None) the host is gone."""
        if not self._over.is_set():
            self._end = end
            self._over.set()
