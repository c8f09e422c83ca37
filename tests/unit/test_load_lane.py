"""Tasks driven by hand, and tasks that need a real asyncio.Task: all come to the same end."""

from locust import task

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from bakeoff.load import OpenModelUser, RequestFailed, wire
from bakeoff.load.engine.lane import Lane
from tests.unit.enginerun import outcomes, run_user, task_errors

_A_LONG_TIME_S = 20.0

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

Body = Callable[[OpenModelUser], Awaitable[Any]]


def run_task(body: Body, *, times: int = 3, lanes: int = 1) -> list[wire.Batch]:
    """Runs a task `times` times in each lane."""

    class Tested(OpenModelUser):
        done = 0

        @task  # type: ignore[type-var]
        async def tested(self) -> None:
            if self.done < times:
                self.done += 1
                await body(self)
            else:
                await asyncio.sleep(_A_LONG_TIME_S)

    def is_done(users: list[Tested], lanes: list[Lane]) -> bool:
        # The last of them has to end, too.
        began = all(user.done == times for user in users)
        return began and not any(lane.sent_ns for lane in lanes)

    return run_user(Tested, is_done, lanes)


async def plain(user: OpenModelUser) -> None:
    response = await user.client.get("/plain")
    assert (response.status, response.body) == (200, b"/plain")
    assert response.headers == {"content-length": "6"}


async def several(user: OpenModelUser) -> None:
    for _ in range(3):
        await user.client.get("/a")
    await user.client.post("/b", json={"x": 1})


async def sleeping(user: OpenModelUser) -> None:
    await user.client.get("/a")
    await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    await user.client.get("/b")


async def in_time(user: OpenModelUser) -> None:
    async with asyncio.timeout(5):
        await user.client.get("/a")
        await asyncio.sleep(0.001)
        await user.client.get("/b")


async def concurrent(user: OpenModelUser) -> None:
    async with asyncio.TaskGroup() as group:
        found = [group.create_task(user.client.get(path)) for path in ("/1", "/2", "/3")]
    assert [one.result().body for one in found] == [b"/1", b"/2", b"/3"]


async def gathered(user: OpenModelUser) -> None:
    first, second = await asyncio.gather(user.client.get("/1"), user.client.get("/2"))
    assert (first.body, second.body) == (b"/1", b"/2")


async def in_a_context(user: OpenModelUser) -> None:
    token = variable.set(7)
    await user.client.get("/a")
    assert variable.get() == 7
    await asyncio.sleep(0.001)
    assert variable.get() == 7
    variable.reset(token)


async def locked(user: OpenModelUser) -> None:
    lock = asyncio.Lock()
    async with lock:
        await user.client.get("/a")
    waited = asyncio.wait_for(user.client.get("/b"), 5)
    assert (await waited).body == b"/b"


async def in_a_thread(user: OpenModelUser) -> None:
    assert await asyncio.to_thread(lambda: 5) == 5
    await user.client.get("/a")


async def same_task(user: OpenModelUser) -> None:
    before = asyncio.current_task()
    await user.client.get("/a")
    assert asyncio.current_task() is before
    await asyncio.sleep(0.001)
    assert asyncio.current_task() is before


@pytest.mark.parametrize(
    ("body", "requests"),
    [
        (plain, 1),
        (several, 4),
        (sleeping, 2),
        (in_time, 2),
        (concurrent, 3),
        (gathered, 2),
        (in_a_context, 1),
        (locked, 2),
        (in_a_thread, 1),
        (same_task, 1),
    ],
)
@pytest.mark.parametrize("lanes", [1, 3])
def test_any_asyncio_code_works_in_a_task(body: Body, requests: int, lanes: int) -> None:
    batches = run_task(body, times=4, lanes=lanes)
    assert task_errors(batches) == []
    assert outcomes(batches) == [200] * (4 * requests * lanes)
    last = batches[-1]
    assert last.sent == 4 * requests * lanes
    assert last.scheduled == last.sent + last.never_sent


def test_a_timeout_around_a_request_that_is_driven_by_hand() -> None:
    seen = []

    async def impatient(user: OpenModelUser) -> None:
        try:
            async with asyncio.timeout(0.02):
                await user.client.get("/late")
        except TimeoutError:
            seen.append("timeout")
        await user.client.get("/then")

    batches = run_task(impatient, times=2)
    assert seen == ["timeout"] * 2
    assert task_errors(batches) == []
    assert outcomes(batches) == [wire.BROKEN, 200] * 2
    (error,) = {error.message for batch in batches for error in batch.request_errors}
    assert error == "cancelled by its task"


def test_a_failed_request_ends_its_task_quietly_or_is_caught() -> None:
    reached: list[int] = []

    async def fails(user: OpenModelUser) -> None:
        await user.client.get("/500")
        reached.append(0)

    async def catches(user: OpenModelUser) -> None:
        try:
            await user.client.get("/500")
        except RequestFailed as failure:
            assert failure.response is not None
            reached.append(failure.response.status)
        await user.client.get("/expected", expect=200)

    assert outcomes(run_task(fails)) == [1500] * 3
    assert reached == []
    assert outcomes(run_task(catches)) == [1500, 200] * 3
    assert reached == [500] * 3


def test_a_request_that_is_never_answered_times_out_and_the_lane_goes_on() -> None:
    async def waits(user: OpenModelUser) -> None:
        try:
            await user.client.get("/never")
        except RequestFailed:
            await user.client.get("/a")

    batches = run_task(waits, times=2)
    assert outcomes(batches) == [wire.TIMED_OUT, 200] * 2
    assert batches[-1].reconnects == 2


def test_exceptions_of_tasks_are_counted_with_their_traceback() -> None:
    async def breaks(user: OpenModelUser) -> None:
        await user.client.get("/a")
        raise ValueError("oh")

    async def breaks_later(user: OpenModelUser) -> None:
        await asyncio.sleep(0.001)
        await breaks(user)

    for body in (breaks, breaks_later):
        batches = run_task(body)
        errors = [error for batch in batches for error in batch.task_errors]
        assert sum(error.count for error in errors) == 3
        assert {error.message for error in errors} == {"ValueError: oh"}
        assert "in breaks" in errors[0].traceback
        assert outcomes(batches) == [200] * 3


def test_a_task_that_sends_nothing_is_never_sent() -> None:
    async def nothing(user: OpenModelUser) -> None:
        pass

    last = run_task(nothing)[-1]
    # The fourth arrival is the one that was asleep at the end.
    assert (last.scheduled, last.sent, last.never_sent) == (4, 0, 4)


@pytest.mark.parametrize("path", ["/a b", "/a\r\nX: y", "/\x00"])
def test_a_path_cannot_smuggle(path: str) -> None:
    async def smuggles(user: OpenModelUser) -> None:
        await user.client.get(path)

    errors = task_errors(run_task(smuggles, times=1))
    assert errors and errors[0].startswith("ValueError: the path")


def test_a_coroutine_left_alone_does_not_block_the_lane() -> None:
    left: list[Coroutine[Any, Any, Any] | asyncio.Task[Any]] = []

    async def leaves(user: OpenModelUser) -> None:
        left.append(asyncio.create_task(user.client.get("/late")))
        await asyncio.sleep(0.01)

    batches = run_task(leaves, times=2)
    assert outcomes(batches)[:2] == [wire.BROKEN] * 2
