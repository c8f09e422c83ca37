"""A lane: one connection, opened again when it is lost, and one arrival after the other on it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.target import Target
from bakeoff.load.user import OpenModelUser

# Number, draw, when it is due (ns; 0: when it sends a request).
Arrival = tuple[int, float, int]
# A user, and what makes a request, or a coroutine, of it.
Task = tuple[OpenModelUser, Callable[[OpenModelUser], Any]]

# For a connection to be open.
OPEN_DEADLINE_S = 10.0
_RETRY_S = 0.05
_RETRY_MAXIMUM_S = 1.0


class Pacer(Protocol):
    """Who hands out the arrivals."""

    # The mark of those that are taken: TAG_WAITED or 0.
    mark_taken: int
    # Arrivals that have begun.
    begun: int

    @property
    def at_once(self) -> Iterator[Arrival] | None:
        """Where each lane that is free begins the next one at once: those, to take without a call
        of `take`; whoever takes one adds it to `begun`. None: `take` decides."""

    def take(self, lane: "Lane") -> Arrival | None:
        """The next arrival for a lane that is free; None: it is parked until there is one, which
        `start` then gives it."""

    def withdraw(self, lane: "Lane") -> None:
        """A parked lane is not free any more."""


class Lane(ABC):
    """What all lanes have: a connection, the request under way on it, and who hands out arrivals.

    All of it is called outside of any asyncio task.
    """

    def __init__(self, target: Target, books: Books, poller: Poller, pacer: Pacer) -> None:
        self.loop = asyncio.get_running_loop()
        self.books = books
        self.pacer = pacer
        self._target = target
        self._poller = poller
        self.connection = target.connection(self, poller)
        self._reopening: asyncio.Task[None] | None = None
        self.closed = False
        # Each task with its user, and how to choose one by the number of the arrival (None: there
        # is one).
        self.tasks: list[Task] = []
        self.choose: Callable[[int], int] | None = None
        # While the pacer looks for an arrival.
        self.parked = False
        # The request under way; `sent_ns` is 0 without one, `_due_ns` where it was due when it was
        # sent.
        self.sent_ns = 0
        self._due_ns = 0
        self._tag = 0
        self._expect: int | None = None

    @property
    @abstractmethod
    def occupied(self) -> bool:
        """An arrival is under way."""

    @property
    @abstractmethod
    def silent(self) -> bool:
        """An arrival is under way that has sent nothing yet."""

    @abstractmethod
    def start(self, arrival: Arrival, mark: int) -> None:
        """Starts an arrival on a lane that is free; `mark` is TAG_WAITED or 0."""

    @abstractmethod
    def answered(self, done_ns: int, status: int, body: bytes, received: bytes) -> bytes | None:
        """As an owner of the connection."""

    @abstractmethod
    def gave_up(self, reason: str) -> None:
        """There will be no answer to the request under way, which is written down already."""

    def begin(self) -> None:
        """Takes an arrival, if the lane is free and there is one."""
        if not (self.occupied or self.parked or self.closed) and self.connection.ready:
            arrival = self.pacer.take(self)
            if arrival is not None:
                self.start(arrival, self.pacer.mark_taken)

    def time_out(self, timeout_ns: int) -> None:
        """The answer is overdue by the clock of the request: gives it up."""
        done_ns = self.sent_ns + timeout_ns
        self.connection.abort()
        self._sample(done_ns, wire.TIMED_OUT)
        self.gave_up(f"no answer within {timeout_ns / 1e9:g} s")

    def broken(self, done_ns: int, reason: str) -> None:
        """The connection says that there will be no answer."""
        self._fail(done_ns, reason)
        self.gave_up(reason)

    def lost(self) -> None:
        """The connection is gone: opens another."""
        if self.closed:
            return
        if self.parked:
            self.pacer.withdraw(self)
        if self._reopening is None:
            self._reopening = self.loop.create_task(self._reopen())

    async def open(self) -> None:
        """Opens the connection for the first time; OSError where that fails."""
        await self.connection.open()

    def close(self) -> None:
        """Closes the connection for good."""
        self.closed = True
        if self._reopening is not None:
            self._reopening.cancel()
        self.connection.abort()

    def reopened(self) -> None:
        """There is a connection again, and it is free."""
        self.loop.call_soon(self.begin)

    async def _reopen(self) -> None:
        pause_s = _RETRY_S
        while True:
            connection = self._target.connection(self, self._poller)
            try:
                async with asyncio.timeout(OPEN_DEADLINE_S):
                    await connection.open()
            except OSError as error:
                reason = str(error) or f"not open within {OPEN_DEADLINE_S:g} s"
                self.books.request_failed(-1, f"connect: {reason}")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_MAXIMUM_S)
            else:
                break
        self._reopening = None
        self.connection = connection
        self.books.reconnects += 1
        self.reopened()

    def _fail(self, done_ns: int, reason: str) -> None:
        self.books.request_failed(self._tag // wire.TAG_NAMES, reason)
        self._sample(done_ns, wire.BROKEN)

    def _sample(self, done_ns: int, outcome: int) -> None:
        sent_ns, self.sent_ns = self.sent_ns, 0
        self.books.rows += (self._due_ns or sent_ns, sent_ns, done_ns, outcome, 0, 0, self._tag)
