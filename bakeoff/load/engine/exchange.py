"""Requests of tasks that wait for the answers: one at a time on the lane's connection."""

import asyncio
from abc import abstractmethod
from collections import deque
from time import monotonic_ns
from zlib import crc32

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.client import RequestFailed, Response
from bakeoff.load.engine.lane import Lane, Pacer
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.target import Target


class Exchange(Lane):
    """Sends requests and brings the answers to whoever waits for them: a task that is driven by
    hand (then `resume` hears it) or a future (then that is set)."""

    def __init__(self, target: Target, books: Books, poller: Poller, pacer: Pacer) -> None:
        super().__init__(target, books, poller, pacer)
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

    @abstractmethod
    def resume(self, response: Response | None, failure: RequestFailed | None) -> None:
        """A task that is driven by hand goes on."""

    def send(self, data: bytes, tag: int, expect: int | None) -> None:
        """Sends a request on the connection, which is ready."""
        self.by_hand = False
        self.sent_ns = monotonic_ns()
        if self.fresh:
            self.fresh = False
            self._due_ns = self.intended_ns
            self._tag = tag + self.mark
        else:
            self.books.followed += 1
            self._due_ns = 0
            self._tag = tag + wire.TAG_FOLLOWED
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

    def answered(self, done_ns: int, status: int, body: bytes, received: bytes) -> None:
        expect = self._expect
        right = status == expect or (expect is None and status < wire.ERROR)
        sent_ns, self.sent_ns = self.sent_ns, 0
        self.books.rows += (
            self._due_ns or sent_ns,
            sent_ns,
            done_ns,
            status if right else wire.UNEXPECTED + status,
            len(body),
            crc32(body),
            self._tag,
        )
        response = Response(status, body, received)
        if not right:
            self._deliver(None, RequestFailed(f"unexpected status {status}", response))
        elif self._answer is None:
            self.resume(response, None)
        else:
            self._deliver(response, None)

    def gave_up(self, reason: str) -> None:
        self._deliver(None, RequestFailed(reason))

    def close(self) -> None:
        super().close()
        for turn in self.waiting:
            turn.cancel()

    def reopened(self) -> None:
        self.next_turn()
        super().reopened()

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
