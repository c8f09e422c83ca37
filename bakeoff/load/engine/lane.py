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
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, Protocol

from bakeoff.load.engine.books import Books
from bakeoff.load.engine.client import Client, RequestFailed, Response
from bakeoff.load.engine.exchange import Exchange
from bakeoff.load.engine.target import Target
from bakeoff.load.user import OpenModelUser

TaskCoroutine = Coroutine[Any, Any, Any]
TaskFunction = Callable[[OpenModelUser], TaskCoroutine]


class Pacer(Protocol):
    """Who hands out the arrivals."""

    def free(self, lane: "Lane") -> None:
        """The lane can take an arrival; called outside of any asyncio task."""

    def withdraw(self, lane: "Lane") -> None:
        """The lane cannot, until it is free again."""


class Lane(Exchange):
    """Runs one arrival after the other on one connection, as its pacer gives them."""

    def __init__(self, target: Target, books: Books, pacer: Pacer) -> None:
        super().__init__(target, books)
        self.pacer = pacer
        self.client = Client(self, target.authority, target.prefix)
        self._turn = self.client.turn
        # The user of each task, and how to choose one by the number of the arrival.
        self.tasks: list[tuple[OpenModelUser, TaskFunction]] = []
        self.choose: Callable[[int], int] | None = None
        # From the start of an arrival until the pacer may hand out the next.
        self.occupied = False
        self._coroutine: TaskCoroutine | None = None
        self._context = copy_context()
        self._run_in_context = self._context.run
        self._handover: asyncio.Future[Any]
        self._task: asyncio.Task[None]
        self._arm()

    @property
    def silent(self) -> bool:
        """An arrival is under way that has sent nothing yet."""
        return self.occupied and self.fresh

    def close(self) -> None:
        """Ends everything, also a task under way."""
        super().close()
        if self._coroutine is not None and not self._handover.done():
            self._coroutine.close()
            self._coroutine = None
        self._task.cancel()

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
        self.intended_ns = intended_ns
        self.mark = mark
        self.fresh = True
        if not self._step(coroutine.send, None):
            # Over without waiting for anything: not from here, or a backlog would recurse.
            self.loop.call_soon(self._free)

    def resume(self, response: Response | None, failure: RequestFailed | None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return
        if failure is None:
            goes_on = self._step(coroutine.send, response)
        else:
            goes_on = self._step(coroutine.throw, failure)
        if not goes_on:
            self._free()
        elif self.waiting:
            self.next_turn()

    def _step(self, resume: Callable[[Any], Any], value: Any) -> bool:
        """Drives the coroutine to its next wait by hand; False where it is over."""
        task, loop = self._task, self.loop
        _enter_task(loop, task)
        self.by_hand = self.connection.ready and not self.waiting
        try:
            yielded = self._run_in_context(resume, value)
        except (StopIteration, RequestFailed):
            self._coroutine = None
            return False
        except Exception as error:  # noqa: BLE001 - whatever a task raises
            self.books.task_failed(error)
            self._coroutine = None
            return False
        finally:
            self.by_hand = False
            _leave_task(loop, task)
        if yielded is not self._turn and not self._handover.done():
            self._handover.set_result(yielded)
        return True

    def _free(self) -> None:
        if self.closed:
            return
        self.occupied = False
        if self.fresh:
            self.books.empty += 1
        if self.connection.ready:
            self.pacer.free(self)
        else:
            # A request that the task started and did not wait for. Without one: it comes back.
            self.abandon("abandoned by its task")

    def disconnected(self) -> None:
        if not self.occupied:
            self.pacer.withdraw(self)

    def reconnected(self) -> None:
        if not self.occupied and self.connection.ready and not self.closed:
            self.pacer.free(self)

    # The task as a real Task.

    def _arm(self) -> None:
        self._handover = self.loop.create_future()
        self._task = self.loop.create_task(self._take_over(), context=self._context)

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
        if self.closed:
            raise asyncio.CancelledError
        coroutine = self._coroutine
        if coroutine is not None:
            await self._carry(coroutine, yielded, error)
        self._coroutine = None
        self._arm()
        if coroutine is not None:
            self.loop.call_soon(self._free)

    async def _carry(
        self, coroutine: TaskCoroutine, yielded: Any, error: BaseException | None
    ) -> None:
        try:
            await _carry_on(coroutine, yielded, error)
        except RequestFailed:
            pass
        except asyncio.CancelledError as cancelled:
            if self.closed:
                raise
            self.books.task_failed(cancelled)
        except Exception as failure:  # noqa: BLE001 - whatever a task raises
            self.books.task_failed(failure)


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
