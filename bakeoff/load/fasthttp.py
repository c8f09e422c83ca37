"""The tasks of a Locust file over Locust's own FastHttpUser client: `--client fasthttpuser`.

There is no engine then, no open model and no route of ours: plain Locust on gevent, with its own
statistics, at ten times the cost. It is there to compare with, and for who wants stock Locust.
"""

from locust.contrib.fasthttp import FastHttpSession
from locust.user.task import LOCUST_STATE_RUNNING, DefaultTaskSet

import asyncio
import itertools
import random
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from gevent import GreenletExit

from bakeoff.load import wire
from bakeoff.load.engine.client import Client, RequestFailed, Response
from bakeoff.load.engine.requests import (
    NO_HEADERS,
    EncodedHeaders,
    Requests,
    check_path,
    compact,
)
from bakeoff.load.engine.verbs import Verbs

if TYPE_CHECKING:
    from bakeoff.load.user import OpenModelUser

_NO_LOOP = "a task that waits for anything but its requests needs the engine: leave --client out"
_arrivals = itertools.count()
_draws = random.Random()


class Described(NamedTuple):
    """A request, as FastHttpUser takes it."""

    method: str
    path: str
    name: str | None
    headers: Mapping[str, str] | EncodedHeaders
    body: bytes | None
    expect: int | None


class FastHttpRequests(Verbs[Described]):
    """What `Requests` is to the engine's lanes."""

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | EncodedHeaders = NO_HEADERS,
        json: Any = None,
        body: bytes = b"",
        expect: int | None = None,
    ) -> Described:
        """Any method; options as of `Requests.request`."""
        check_path(path)
        if json is None:
            return Described(method, path, name, headers, body or None, expect)
        typed = {**_decoded(headers), "Content-Type": "application/json"}
        return Described(method, path, name, typed, compact(json), expect)


class FastHttpClient(Verbs[Coroutine[Any, Any, Response]]):
    """What `Client` is to the engine's lanes: never waits in the sense of asyncio."""

    def __init__(self, session: Any, requests: FastHttpRequests) -> None:
        self._session = session
        self._requests = requests

    async def request(self, method: str, path: str, **options: Any) -> Response:
        """Any method; options as of `Requests.request`."""
        return self.send_now(self._requests.request(method, path, **options))

    def send_now(self, request: Described) -> Response:
        """Sends and waits, as gevent does; RequestFailed as of `Client`."""
        method, path, name, headers, body, expect = request
        with self._session.request(
            *(method, path, name or path),
            data=body,
            headers=_decoded(headers),
            catch_response=True,
            allow_redirects=False,
        ) as answer:
            status = answer.status_code
            if not status:
                raise RequestFailed(str(answer.error))
            response = Response(status, answer.content or b"", _received(answer.headers))
            if status == expect or (expect is None and status < wire.ERROR):
                answer.success()
                return response
            reason = f"unexpected status {status}"
            answer.failure(reason)
        raise RequestFailed(reason, response)


class _Tasks(DefaultTaskSet):
    """Locust's own loop over the tasks of a user."""

    def execute_task(self, task: Any) -> None:
        user: Any = self.user
        user.arrival, user.draw = next(_arrivals), _draws.random()
        found = task(user)
        try:
            if isinstance(found, Described):
                user.client.send_now(found)
            elif asyncio.iscoroutine(found):
                _finish(found)
        except RequestFailed:
            # Counted where it happened.
            return


def run(user: "OpenModelUser", timeout_s: float) -> None:
    """Runs the tasks of a user as Locust runs a FastHttpUser's, until it is killed."""
    requests = FastHttpRequests()
    session = FastHttpSession(
        base_url=user.host,
        request_event=user.environment.events.request,
        user=user,
        network_timeout=timeout_s,
        connection_timeout=timeout_s,
        insecure=False,
    )
    user.request = cast(Requests, requests)
    user.client = cast(Client, FastHttpClient(session, requests))
    user._state = LOCUST_STATE_RUNNING
    user._taskset_instance = tasks = _Tasks(user)
    try:
        user.on_start()
        tasks.run()  # type: ignore[no-untyped-call]
    except GreenletExit:
        user.on_stop()  # type: ignore[no-untyped-call]


def _finish(task: Coroutine[Any, Any, Any]) -> None:
    try:
        task.send(None)
    except StopIteration:
        return
    except RuntimeError as error:
        if "event loop" not in str(error):
            raise
        raise TypeError(_NO_LOOP) from error
    task.close()
    raise TypeError(_NO_LOOP)


def _decoded(headers: Mapping[str, str] | EncodedHeaders) -> dict[str, str]:
    if not isinstance(headers, EncodedHeaders):
        return dict(headers)
    lines = headers.decode("latin-1").split("\r\n")[:-1]
    return {name: value for name, _, value in (line.partition(": ") for line in lines)}


def _received(headers: Any) -> bytes:
    """A head as it may have come, which is what a Response reads its headers from."""
    lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(["HTTP/1.1", *lines, "", ""]).encode("latin-1")
