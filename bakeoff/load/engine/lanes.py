"""The lanes of a run, each with a user of each class and its tasks."""

import asyncio
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.coroutinelane import CoroutineLane
from bakeoff.load.engine.lane import Lane, Pacer
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.requestlane import RequestLane
from bakeoff.load.engine.requests import Request, Requests
from bakeoff.load.engine.target import parse_target
from bakeoff.load.user import OpenModelUser

Function = Callable[[OpenModelUser], Any]


def make_lanes(
    order: wire.Prepare,
    classes: Mapping[str, type[OpenModelUser]],
    books: Books,
    poller: Poller,
    pacer: Pacer,
) -> list[Lane]:
    """As many as the order has connections; ValueError for a target that is none."""
    target = parse_target(order.host)
    requests = Requests(books, target.authority, target.prefix)
    functions = [_function(classes, entry) for entry in order.entries]
    waits = any(map(asyncio.iscoroutinefunction, functions))
    lanes: list[Lane] = []
    for _ in range(order.connections):
        users = _users(order, classes)
        for user in users.values():
            user.request = requests
        mine = [users[entry.user_class] for entry in order.entries]
        lane: Lane
        if waits:
            lane = CoroutineLane(target, books, poller, pacer, requests)
            for user in users.values():
                user.client = lane.client
            lane.tasks = [
                (user, _coroutine_function(function))
                for user, function in zip(mine, functions, strict=True)
            ]
        else:
            lane = RequestLane(target, books, poller, pacer)
            lane.tasks = list(zip(mine, functions, strict=True))
        lanes.append(lane)
    return lanes


def _users(
    order: wire.Prepare, classes: Mapping[str, type[OpenModelUser]]
) -> dict[str, OpenModelUser]:
    environment = Namespace(host=order.host, parsed_options=Namespace(**order.options))
    return {entry.user_class: classes[entry.user_class](environment) for entry in order.entries}


def _function(classes: Mapping[str, type[OpenModelUser]], entry: wire.TaskEntry) -> Function:
    tasks: list[Any] = list(classes[entry.user_class].tasks)
    function: Function = next(task for task in tasks if task.__name__ == entry.task)
    return function


def _coroutine_function(function: Function) -> Function:
    """The function itself, or a coroutine function that sends the request that it returns."""
    if asyncio.iscoroutinefunction(function):
        return function

    async def send(user: OpenModelUser) -> None:
        request: Request = function(user)
        await user.client.send(request)

    return send
