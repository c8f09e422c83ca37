"""What a host's sampler has seen so far."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from bakeoff.errors import HostError
from bakeoff.hosts import protocol
from bakeoff.hosts.connection import Connection
from bakeoff.hosts.records import CoreRow, OtherRow, SampleRow


class Watch(AbstractContextManager["Watch"]):
    """Samples of the parts on one host. A gap in the times is a gap: nothing is filled in."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.number = number
        self._connection = connection
        self._lock = threading.Lock()
        self._samples: list[SampleRow] = []
        self._cores: list[CoreRow] = []
        self._others: list[OtherRow] = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A host that is gone samples no more.
        with suppress(HostError):
            self._connection.ask(protocol.EndWatch, watch=self.number)

    def samples(self) -> list[SampleRow]:
        """Everything so far, in order."""
        with self._lock:
            return list(self._samples)

    def cores(self) -> list[CoreRow]:
        """The counters of each of the host's cores so far, in order."""
        with self._lock:
            return list(self._cores)

    def others(self) -> list[OtherRow]:
        """Processes of no part that used over 5 % of a core in some second so far."""
        with self._lock:
            return list(self._others)

    def read_now(self, part: str) -> SampleRow:
        """A reading of this moment, for the cut between two phases."""
        return self._connection.ask_for(SampleRow, protocol.ReadNow, watch=self.number, part=part)

    def add(self, part: str, pids: Sequence[int]) -> None:
        """Takes root processes that were started later into a part, which may be new."""
        self._connection.ask(protocol.AddToWatch, watch=self.number, part=part, pids=list(pids))

    def reset_peak(self, part: str) -> None:
        """Sets the high-water marks of a part's memory to its present memory."""
        self._connection.ask(protocol.ResetPeak, watch=self.number, part=part)

    def note(self, samples: protocol.Samples) -> None:
        """For its host: a tick."""
        with self._lock:
            self._samples += samples.rows
            self._cores += samples.cores
            self._others += samples.others
