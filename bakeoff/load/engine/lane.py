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
# Number, draw, when it is due (ns; 0: when it sends a request), TAG_WAITED or 0.
Arrival = tuple[int, float, int, int]


class Pacer(Protocol):
    """Who hands out the arrivals."""

    def take(self, lane: "Lane") -> Arrival | None:
        """The next arrival for a lane that is free; None: it is parked until there is one, which
        `start` then gives it."""

    def withdraw(self, lane: "Lane") -> None:
        """A parked lane is not free any more."""


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
        # Between the start of an arrival and its end; and while the pacer looks for one.
        self.occupied = False
        self.parked = False
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

    # Arrivals. All of this is called outside of any asyncio task.

    def begin(self) -> None:
        """Takes an arrival, if the lane is free and there is one."""
        if not (self.occupied or self.parked or self.closed) and self.connection.ready:
            arrival = self.pacer.take(self)
            if arrival is not None:
                self.start(arrival)

    def start(self, arrival: Arrival) -> None:
        """Starts an arrival on a lane that was parked."""
        self._drive(self._task_of(arrival).send, None)

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

    def _task_of(self, arrival: Arrival) -> TaskCoroutine:
        number, draw, self.intended_ns, self.mark = arrival
        which = 0 if self.choose is None else self.choose(number)
        user, function = self.tasks[which]
        user.arrival = number
        user.draw = draw
        self.occupied = True
        self.fresh = True
        self._coroutine = coroutine = function(user)
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
                resume, value = self._task_of(arrival).send, None
        finally:
            self.by_hand = False
            _leave_task(loop, asyncio_task)

    def _end_task(self) -> None:
        self._coroutine = None
        self.occupied = False
        if self.fresh:
            self.books.empty += 1
        if self.sent_ns:
            # A request that the task has started and does not wait for.
            self.abandon("abandoned by its task")

    def disconnected(self) -> None:
        if self.parked:
            self.pacer.withdraw(self)

    def reconnected(self) -> None:
        self.begin()

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
