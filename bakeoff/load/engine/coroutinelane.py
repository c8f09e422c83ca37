"""A lane whose tasks are coroutines.

As long as a task waits only for answers on its own connection it is driven by hand, which saves an
`asyncio.Task` and two turns of the loop for each request. When it waits for anything else, it goes
over to a real Task, and goes on there to its end.

That Task exists beforehand and is asyncio's current task also while the coroutine is driven by
hand, in the same context, so whatever asks for it (`asyncio.timeout`, task groups) finds the one
that will carry the coroutine: cancelling it, too, moves the coroutine into it.
"""

import asyncio
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any

from bakeoff.load.engine.books import Books
from bakeoff.load.engine.client import Client, RequestFailed, Response
from bakeoff.load.engine.exchange import Exchange
from bakeoff.load.engine.lane import Arrival, Pacer
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.requests import Requests
from bakeoff.load.engine.target import Target

TaskCoroutine = Coroutine[Any, Any, Any]


class CoroutineLane(Exchange):
    """Runs one arrival after the other on one connection, as its pacer gives them."""

    def __init__(
        self, target: Target, books: Books, poller: Poller, pacer: Pacer, requests: Requests
    ) -> None:
        super().__init__(target, books, poller, pacer)
        self.client = Client(self, requests)
        self._turn = self.client.turn
        self._occupied = False
        self._coroutine: TaskCoroutine | None = None
        self._context = copy_context()
        self._run_in_context = self._context.run
        self._handover: asyncio.Future[Any]
        self._task: asyncio.Task[None]
        self._arm()

    @property
    def occupied(self) -> bool:
        return self._occupied

    @property
    def silent(self) -> bool:
        return self._occupied and self.fresh

    def close(self) -> None:
        """Ends everything, also a task under way."""
        super().close()
        if self._coroutine is not None and not self._handover.done():
            self._coroutine.close()
            self._coroutine = None
        self._task.cancel()

    # Arrivals. All of this is called outside of any asyncio task.

    def start(self, arrival: Arrival, mark: int) -> None:
        self._drive(self._task_of(arrival, mark).send, None)

    def resume(self, response: Response | None, failure: RequestFailed | None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return
        if failure is None:
            self._drive(coroutine.send, response)
        else:
            self._drive(coroutine.throw, failure)
        if self.waiting:
            self.next_turn()

    def _task_of(self, arrival: Arrival, mark: int) -> TaskCoroutine:
        number, draw, self.intended_ns = arrival
        self.mark = mark
        user, function = self.tasks[0 if self.choose is None else self.choose(number)]
        user.arrival = number
        user.draw = draw
        self._occupied = self.fresh = True
        coroutine: TaskCoroutine = function(user)
        self._coroutine = coroutine
        return coroutine

    def _drive(self, resume: Callable[[Any], Any], value: Any) -> None:
        """Drives a task by hand to its next wait; where it is over, the next one, and so on."""
        asyncio_task, loop = self._task, self.loop
        _enter_task(loop, asyncio_task)
        try:
            while True:
                self.by_hand = self.connection.ready and not self.waiting
                try:
                    yielded = self._run_in_context(resume, value)
                except (StopIteration, RequestFailed):
                    pass
                except Exception as error:  # noqa: BLE001 - whatever a task raises
                    self.books.task_failed(error)
                else:
                    if yielded is not self._turn and not self._handover.done():
                        self._handover.set_result(yielded)
                    return
                waited = not self.fresh
                self._end_task()
                if self._handover.done():
                    # The task has cancelled its asyncio.Task on its way out.
                    self._arm()
                    waited = False
                if not waited:
                    # Over without waiting for anything: others must have their turn, too.
                    loop.call_soon(self.begin)
                    return
                arrival = self.pacer.take(self) if self.connection.ready else None
                if arrival is None:
                    return
                resume, value = self._task_of(arrival, self.pacer.mark_taken).send, None
        finally:
            self.by_hand = False
            _leave_task(loop, asyncio_task)

    def _end_task(self) -> None:
        self._coroutine = None
        self._occupied = False
        if self.fresh:
            self.books.empty += 1
        if self.sent_ns:
            # A request that the task has started and does not wait for.
            self.abandon("abandoned by its task")

    # The task as a real Task.

    def _arm(self) -> None:
        self._handover = self.loop.create_future()
        self._task = self.loop.create_task(self._take_over(self._handover), context=self._context)

    async def _take_over(self, handover: "asyncio.Future[Any]") -> None:
        error: BaseException | None = None
        yielded = None
        try:
            yielded = await handover
        except asyncio.CancelledError as cancelled:
            error = cancelled
            if handover.done() and not handover.cancelled():
                # Cancelled just after it went over: so is what it waits for.
                waited_for = handover.result()
                if asyncio.isfuture(waited_for):
                    waited_for.cancel()
        if self.closed:
            raise asyncio.CancelledError
        if handover is not self._handover:
            return
        coroutine = self._coroutine
        if coroutine is not None:
            await self._carry(coroutine, yielded, error)
            self._end_task()
        self._arm()
        # Not before the new one has begun to wait.
        self.loop.call_soon(self.begin)

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
