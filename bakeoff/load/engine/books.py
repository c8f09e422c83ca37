"""What the engine writes down: samples, counts and errors, drained in batches."""

import struct
import traceback
from collections import Counter

from bakeoff.load import wire
from bakeoff.load.wire import RequestError, TaskError

# Numbers in `Books.rows`: of few at a time, each call of `pack` costs as much as a sample.
PACKED_AT_ONCE = 64 * wire.COLUMNS
# Of different errors in one batch; the rest is counted under one name.
_KINDS = 50
_OTHER = "other errors"


class Books:
    """Samples are appended to `rows`, number by number, and packed when there are enough: kept as
    Python's numbers they would fill the cache."""

    def __init__(self) -> None:
        # Rows of wire.COLUMNS.
        self.rows: list[int] = []
        # Samples in all; requests that followed another in the same task; and arrivals whose task
        # sent none.
        self.recorded = 0
        self.followed = 0
        self.empty = 0
        self.reconnects = 0
        self.names: list[tuple[str, str]] = []
        self._tags: dict[tuple[str, str], int] = {}
        self._packed = bytearray()
        self._request_errors: Counter[tuple[int, str]] = Counter()
        self._task_errors: Counter[tuple[str, str]] = Counter()

    def tag(self, method: str, name: str) -> int:
        """The index of a request's name."""
        key = (method, name)
        tag = self._tags.get(key)
        if tag is None:
            tag = self._tags[key] = len(self.names)
            self.names.append(key)
        return tag

    def request_failed(self, name: int, reason: str) -> None:
        """A request got no whole answer (`name` -1: a connection could not be opened again)."""
        key = (name, reason)
        known = key in self._request_errors or len(self._request_errors) < _KINDS
        self._request_errors[key if known else (name, _OTHER)] += 1

    def task_failed(self, error: BaseException) -> None:
        """An exception left a task."""
        message = f"{type(error).__name__}: {error}"
        key = (message, "".join(traceback.format_exception(error)))
        known = key in self._task_errors or len(self._task_errors) < _KINDS
        self._task_errors[key if known else (_OTHER, "")] += 1

    @property
    def packed_bytes(self) -> int:
        """The size of the samples that `drain_samples` would give without those in `rows`."""
        return len(self._packed)

    def pack(self) -> None:
        """Packs the rows: to be called when there are PACKED_AT_ONCE or more."""
        rows = self.rows
        self._packed += struct.pack(f"={len(rows)}q", *rows)
        self.recorded += len(rows) // wire.COLUMNS
        rows.clear()

    def drain_samples(self) -> bytes:
        """The samples since the last call, as they lie in memory."""
        self.pack()
        drained = bytes(self._packed)
        self._packed.clear()
        return drained

    def drain_request_errors(self) -> list[RequestError]:
        """The failed requests since the last call."""
        errors, self._request_errors = self._request_errors, Counter()
        return [
            RequestError(name=name, message=message, count=count)
            for (name, message), count in errors.items()
        ]

    def drain_task_errors(self) -> list[TaskError]:
        """The exceptions since the last call."""
        errors, self._task_errors = self._task_errors, Counter()
        return [
            TaskError(message=message, traceback=text, count=count)
            for (message, text), count in errors.items()
        ]
