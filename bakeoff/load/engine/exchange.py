"""The requests of one lane: one connection, opened again when it is lost, one request at a time.

This is, with `connection`, `lane` and `client`, the path that every request takes.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from time import monotonic_ns
from zlib import adler32, crc32

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.client import RequestFailed, Response
from bakeoff.load.engine.connection import Connection
from bakeoff.load.engine.target import Target
from bakeoff.load.wire import pack_sample

_RETRY_S = 0.05
_RETRY_MAXIMUM_S = 1.0


class Exchange(ABC):
    """Sends requests and writes down what becomes of them.

    Whoever waits for an answer is a task that is driven by hand (then `resume` hears it) or a
    future (then that is set).
    """

    def __init__(self, target: Target, books: Books) -> None:
        self.loop = asyncio.get_running_loop()
        self.books = books
        self._samples = books.samples
        self._target = target
        self.connection = Connection(self)
        self.closed = False
        self._reopening: asyncio.Task[None] | None = None
        # A task is driven by hand at this moment, and may send at once.
        self.by_hand = False
        # The future that waits for the answer, and those that wait for their turn.
        self._answer: asyncio.Future[Response] | None = None
        self.waiting: deque[asyncio.Future[None]] = deque()
        # The arrival's, for its first request: when it was due (0: when it is sent), whether it
        # is still to come, and its mark.
        self.intended_ns = 0
        self.fresh = False
        self.mark = 0
        # The request under way; `sent_ns` is 0 without one.
        self.sent_ns = 0
        self._due_ns = 0
        self._tag = 0
        self._expect: int | None = None

    @abstractmethod
    def resume(self, response: Response | None, failure: RequestFailed | None) -> None:
        """A task that is driven by hand goes on."""

    @abstractmethod
    def disconnected(self) -> None:
        """The connection is lost, and is being opened again."""

    @abstractmethod
    def reconnected(self) -> None:
        """It is open again; called outside of any asyncio task."""

    # Requests.

    def send(self, data: bytes, tag: int, expect: int | None) -> None:
        """Sends a request on the connection, which is ready."""
        self.by_hand = False
        self.sent_ns = now = monotonic_ns()
        books = self.books
        books.sent += 1
        if self.fresh:
            self.fresh = False
            self._due_ns = self.intended_ns or now
            self._tag = tag * wire.TAG_NAMES + self.mark
        else:
            books.followed += 1
            self._due_ns = now
            self._tag = tag * wire.TAG_NAMES + wire.TAG_FOLLOWED
        self._expect = expect
        connection = self.connection
        connection.ready = False
        connection.write(data)

    async def exchange(self, data: bytes, tag: int, expect: int | None) -> Response:
        """Sends a request from a real Task, when its turn comes, and waits for the answer."""
        while not self.connection.ready:
            turn = self.loop.create_future()
            self.waiting.append(turn)
            await turn
        answer: asyncio.Future[Response] = self.loop.create_future()
        self._answer = answer
        self.send(data, tag, expect)
        try:
            return await answer
        except asyncio.CancelledError:
            if self._answer is answer:
                self.abandon("cancelled by its task")
            raise

    def time_out(self, timeout_ns: int) -> None:
        """The answer is overdue by the clock of the request: gives it up."""
        done_ns = self.sent_ns + timeout_ns
        self.connection.abort()
        self._sample(done_ns, wire.TIMED_OUT)
        self._deliver(None, RequestFailed(f"no answer within {timeout_ns / 1e9:g} s"))

    def abandon(self, reason: str) -> None:
        """Nobody waits for the answer any more."""
        self._answer = None
        if self.sent_ns:
            self._fail(monotonic_ns(), reason)
            self.connection.abort()

    def next_turn(self) -> None:
        """Lets the next request go that waits for the connection."""
        while self.waiting and self.connection.ready:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    # What the connection says.

    def answered(self, done_ns: int, status: int, body: bytes, received: list[bytes]) -> None:
        """An answer is whole."""
        expect = self._expect
        right = status < 400 if expect is None else status == expect
        self._samples += pack_sample(
            self._due_ns,
            self.sent_ns,
            done_ns,
            status if right else wire.UNEXPECTED + status,
            len(body),
            # `client.body_hash`, spelled out.
            crc32(body) | (adler32(body) & 0x7FFF_FFFF) << 32,
            self._tag,
        )
        self.sent_ns = 0
        response = Response(status, body, received)
        if not right:
            self._deliver(None, RequestFailed(f"unexpected status {status}", response))
        elif self._answer is None:
            self.resume(response, None)
        else:
            self._deliver(response, None)

    def broken(self, done_ns: int, reason: str) -> None:
        """There will be no answer."""
        self._fail(done_ns, reason)
        self._deliver(None, RequestFailed(reason))

    def lost(self) -> None:
        """The connection is gone: opens another."""
        if self.closed:
            return
        self.disconnected()
        if self._reopening is None:
            self._reopening = self.loop.create_task(self._reopen())

    def _deliver(self, response: Response | None, failure: RequestFailed | None) -> None:
        answer, self._answer = self._answer, None
        if answer is None:
            self.resume(response, failure)
            return
        if answer.done():
            # Cancelled in the same turn of the loop.
            pass
        elif failure is not None:
            answer.set_exception(failure)
        elif response is not None:
            answer.set_result(response)
        self.next_turn()

    def _fail(self, done_ns: int, reason: str) -> None:
        self.books.request_failed(self._tag // wire.TAG_NAMES, reason)
        self._sample(done_ns, wire.BROKEN)

    def _sample(self, done_ns: int, outcome: int) -> None:
        self._samples += pack_sample(self._due_ns, self.sent_ns, done_ns, outcome, 0, 0, self._tag)
        self.sent_ns = 0

    # Opening and closing.

    async def open(self) -> None:
        """Opens the connection for the first time; OSError where that fails."""
        await self._target.connect(self.connection)

    def close(self) -> None:
        """Closes the connection for good."""
        self.closed = True
        if self._reopening is not None:
            self._reopening.cancel()
        for turn in self.waiting:
            turn.cancel()
        self.connection.abort()

    async def _reopen(self) -> None:
        pause_s = _RETRY_S
        while True:
            connection = Connection(self)
            try:
                await self._target.connect(connection)
            except OSError as error:
                self.books.request_failed(-1, f"connect: {error}")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_MAXIMUM_S)
            else:
                break
        self._reopening = None
        self.connection = connection
        self.books.reconnects += 1
        self.next_turn()
        self.loop.call_soon(self.reconnected)
