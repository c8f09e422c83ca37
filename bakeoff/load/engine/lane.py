"""A lane: one connection and the task that uses it.

A task is a coroutine. As long as it waits only for answers on its own connection it is driven by
hand, which saves an `asyncio.Task` and two turns of the loop for each request. When it waits for
anything else, it goes over to a real Task, and goes on there to its end.

That Task exists beforehand and is asyncio's current task also while the coroutine is driven by
hand, in the same context, so whatever asks for it (`asyncio.timeout`, task groups) finds the one
that will carry the coroutine: cancelling it, too, moves the coroutine into it.
"""

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from time import monotonic_ns
from typing import Any, Protocol
from zlib import adler32, crc32

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.client import Client, RequestFailed, Response
from bakeoff.load.engine.connection import Connection
from bakeoff.load.engine.target import Target
from bakeoff.load.user import OpenModelUser

_RETRY_S = 0.05
_RETRY_MAXIMUM_S = 1.0

TaskCoroutine = Coroutine[Any, Any, Any]
TaskFunction = Callable[[OpenModelUser], TaskCoroutine]


class Pacer(Protocol):
    """Who hands out the arrivals."""

    def free(self, lane: "Lane") -> None:
        """The lane can take an arrival; called outside of any asyncio task."""

    def withdraw(self, lane: "Lane") -> None:
        """The lane cannot, until it is free again."""


class Lane:
    """Runs one arrival after the other on one connection, as its pacer gives them."""

    def __init__(self, target: Target, books: Books, pacer: Pacer) -> None:
        self._loop = asyncio.get_running_loop()
        self._target = target
        self._books = books
        self._samples = books.samples
        self.pacer = pacer
        self.client = Client(self, target.authority, target.prefix)
        self._turn = self.client.turn
        # The user of each task, and how to choose one by the number of the arrival.
        self.tasks: list[tuple[OpenModelUser, TaskFunction]] = []
        self.choose: Callable[[int], int] | None = None
        self._context = copy_context()
        self._run_in_context = self._context.run
        self._handover: asyncio.Future[Any]
        self._task: asyncio.Task[None]
        self._arm()
        # From the start of an arrival until the pacer may hand out the next.
        self.occupied = False
        self._coroutine: TaskCoroutine | None = None
        self._connection = Connection(self)
        self._closed = False
        self._reopening: asyncio.Task[None] | None = None
        # The task is driven by hand at this moment, and may send at once.
        self.by_hand = False
        # The real Task that waits for the answer, and those that wait for their turn.
        self._answer: asyncio.Future[Response] | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        # The arrival, until its first request is sent; 0 in the closed model.
        self._intended_ns = 0
        self._fresh = False
        self._mark = 0
        # The request under way: 0 without one.
        self.sent_ns = 0
        self._due_ns = 0
        self._tag = 0
        self._expect: int | None = None

    # The connection.

    async def open(self) -> None:
        """Opens the connection for the first time; OSError where that fails."""
        await self._target.connect(self._connection)

    def close(self) -> None:
        """Ends everything, also a task under way."""
        self._closed = True
        if self._reopening is not None:
            self._reopening.cancel()
        if self._coroutine is not None and not self._handover.done():
            self._coroutine.close()
            self._coroutine = None
        self._task.cancel()
        for turn in self._waiting:
            turn.cancel()
        self._connection.abort()

    def lost(self) -> None:
        """The connection is gone: open another."""
        if self._closed:
            return
        if not self.occupied:
            self.pacer.withdraw(self)
        if self._reopening is None:
            self._reopening = self._loop.create_task(self._reopen())

    async def _reopen(self) -> None:
        pause_s = _RETRY_S
        while True:
            connection = Connection(self)
            try:
                await self._target.connect(connection)
            except OSError as error:
                self._books.request_failed(-1, f"connect: {error}")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_MAXIMUM_S)
            else:
                break
        self._reopening = None
        self._connection = connection
        self._books.reconnects += 1
        self._next_turn()
        self._loop.call_soon(self._reopened)

    def _reopened(self) -> None:
        if not self.occupied and self._connection.ready and not self._closed:
            self.pacer.free(self)

    # An arrival.

    def begin(self, number: int, draw: float, intended_ns: int, mark: int) -> None:
        """Starts the arrival `number`, due at `intended_ns` (0: when it sends a request).

        `mark` is TAG_WAITED where it had found no free lane, else 0.
        """
        which = 0 if self.choose is None else self.choose(number)
        user, function = self.tasks[which]
        user.arrival = number
        user.draw = draw
        self.occupied = True
        self._coroutine = coroutine = function(user)
        self._intended_ns = intended_ns
        self._mark = mark
        self._fresh = True
        if not self._step(coroutine.send, None):
            # Over without waiting for anything: not from here, or a backlog would recurse.
            self._loop.call_soon(self._free)

    def _step(self, resume: Callable[[Any], Any], value: Any) -> bool:
        """Drives the coroutine to its next wait by hand; False where it is over."""
        task, loop = self._task, self._loop
        _enter_task(loop, task)
        self.by_hand = self._connection.ready and not self._waiting
        try:
            yielded = self._run_in_context(resume, value)
        except (StopIteration, RequestFailed):
            self._coroutine = None
            return False
        except Exception as error:  # noqa: BLE001 - whatever a task raises
            self._books.task_failed(error)
            self._coroutine = None
            return False
        finally:
            self.by_hand = False
            _leave_task(loop, task)
        if yielded is not self._turn and not self._handover.done():
            self._handover.set_result(yielded)
        return True

    def _free(self) -> None:
        if self._closed:
            return
        self.occupied = False
        if self._fresh:
            self._books.empty += 1
        if self.sent_ns:
            # A request that the task started and did not wait for.
            self._fail(monotonic_ns(), "abandoned by its task")
            self._connection.abort()
        elif self._connection.ready:
            self.pacer.free(self)

    # The task as a real Task.

    def _arm(self) -> None:
        self._handover = self._loop.create_future()
        self._task = self._loop.create_task(self._take_over(), context=self._context)

    async def _take_over(self) -> None:
        error: BaseException | None = None
        yielded = None
        try:
            yielded = await self._handover
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if self._handover.done() and not self._handover.cancelled():
                # Cancelled just after it went over: so is what it waits for.
                waited_for = self._handover.result()
                if asyncio.isfuture(waited_for):
                    waited_for.cancel()
        coroutine = self._coroutine
        if self._closed:
            raise asyncio.CancelledError
        if coroutine is not None:
            try:
                await _carry_on(coroutine, yielded, error)
            except RequestFailed:
                pass
            except asyncio.CancelledError as cancelled:
                if self._closed:
                    raise
                self._books.task_failed(cancelled)
            except Exception as failure:  # noqa: BLE001 - whatever a task raises
                self._books.task_failed(failure)
        self._coroutine = None
        self._arm()
        if coroutine is not None:
            self._loop.call_soon(self._free)

    # Requests.

    @property
    def ready(self) -> bool:
        """A request may be sent."""
        return self._connection.ready

    @property
    def silent(self) -> bool:
        """An arrival is under way that has sent nothing yet."""
        return self.occupied and self._fresh

    def tag(self, method: str, name: str) -> int:
        """The number under which requests of this name are counted."""
        return self._books.tag(method, name)

    def send(self, data: bytes, tag: int, expect: int | None) -> None:
        """Sends a request on the free connection."""
        self.by_hand = False
        self.sent_ns = now = monotonic_ns()
        books = self._books
        books.sent += 1
        if self._fresh:
            self._fresh = False
            self._due_ns = self._intended_ns or now
            self._tag = tag * wire.TAG_NAMES + self._mark
        else:
            books.followed += 1
            self._due_ns = now
            self._tag = tag * wire.TAG_NAMES + wire.TAG_FOLLOWED
        self._expect = expect
        connection = self._connection
        connection.ready = False
        connection.write(data)

    async def exchange(self, data: bytes, tag: int, expect: int | None) -> Response:
        """Sends a request from a real Task, when its turn comes, and waits for the answer."""
        while not self._connection.ready:
            turn = self._loop.create_future()
            self._waiting.append(turn)
            await turn
        answer: asyncio.Future[Response] = self._loop.create_future()
        self._answer = answer
        self.send(data, tag, expect)
        try:
            return await answer
        except asyncio.CancelledError:
            if self._answer is answer:
                self.abandon()
            raise

    def answered(self, done_ns: int, status: int, body: bytes, received: list[bytes]) -> None:
        """The connection: an answer is whole."""
        expect = self._expect
        right = status < 400 if expect is None else status == expect
        self._samples += (
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
        coroutine = self._coroutine
        if right and self._answer is None and coroutine is not None:
            if not self._step(coroutine.send, response):
                self._free()
            elif self._waiting:
                self._next_turn()
        elif right:
            self._deliver(response, None)
        else:
            self._deliver(None, RequestFailed(f"unexpected status {status}", response))

    def broken(self, done_ns: int, reason: str) -> None:
        """The connection: there will be no answer."""
        self._fail(done_ns, reason)
        self._deliver(None, RequestFailed(reason))

    def time_out(self, timeout_ns: int) -> None:
        """The answer is overdue by the clock of the request: gives it up."""
        done_ns = self.sent_ns + timeout_ns
        self._connection.abort()
        self._sample(done_ns, wire.TIMED_OUT)
        self._deliver(None, RequestFailed(f"no answer within {timeout_ns / 1e9:g} s"))

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""
        self._answer = None
        if self.sent_ns:
            self._fail(monotonic_ns(), "cancelled by its task")
            self._connection.abort()

    def _deliver(self, response: Response | None, failure: RequestFailed | None) -> None:
        answer, self._answer = self._answer, None
        coroutine = self._coroutine
        if answer is not None:
            if not answer.done():
                if failure is None:
                    answer.set_result(response)  # type: ignore[arg-type]
                else:
                    answer.set_exception(failure)
            self._next_turn()
        elif coroutine is None or failure is None:
            return
        elif not self._step(coroutine.throw, failure):
            self._free()

    def _next_turn(self) -> None:
        while self._waiting and self._connection.ready:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _fail(self, done_ns: int, reason: str) -> None:
        self._books.request_failed(self._tag // wire.TAG_NAMES, reason)
        self._sample(done_ns, wire.BROKEN)

    def _sample(self, done_ns: int, outcome: int) -> None:
        self._samples += (self._due_ns, self.sent_ns, done_ns, outcome, 0, 0, self._tag)
        self.sent_ns = 0


@types.coroutine
def _carry_on(
    coroutine: TaskCoroutine, yielded: Any, error: BaseException | None
) -> Generator[Any, Any, Any]:
    """Goes on with a coroutine that waits for `yielded`, or by raising `error` in it."""
    try:
        if error is not None:
            yielded = coroutine.throw(error)
        while True:
            try:
                value = yield yielded
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it is the coroutine's
                yielded = coroutine.throw(raised)
            else:
                yielded = coroutine.send(value)
    except StopIteration as stop:
        return stop.value
