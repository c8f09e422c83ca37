"""What an `async def` task sends requests with: `self.client` of an `OpenModelUser`."""

import json
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any

import msgspec

from bakeoff.load.engine.requests import Request, Requests
from bakeoff.load.engine.verbs import Verbs

if TYPE_CHECKING:
    from bakeoff.load.engine.exchange import Exchange


class RequestFailed(Exception):
    """A request got no answer, a broken one, or an unexpected status.

    It is counted where it happens; a task that does not catch it ends here.
    """

    def __init__(self, message: str, response: "Response | None" = None) -> None:
        super().__init__(message)
        self.response = response


class Response(msgspec.Struct, gc=False, eq=False):
    """A whole answer. Headers are parsed when somebody looks."""

    status: int
    body: bytes
    # All of it, as it came.
    received: bytes

    def json(self) -> Any:
        """The body as JSON; ValueError where it is none."""
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name; of a repeated one the last."""
        head = self.received.partition(b"\r\n\r\n")[0].decode("latin-1")
        pairs = (line.partition(":") for line in head.split("\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in pairs}


class Turn:
    """What a task that is driven by hand waits for: the answer on its own connection."""

    __slots__ = ("_lane",)

    def __init__(self, lane: "Exchange") -> None:
        self._lane = lane

    def __await__(self) -> Generator["Turn", Response, Response]:
        try:
            return (yield self)
        except RequestFailed:
            raise
        except BaseException:
            # Cancelled or closed while the answer is still to come.
            self._lane.abandon("cancelled by its task")
            raise


class Client(Verbs[Coroutine[Any, Any, Response]]):
    """Requests on one connection, one after the other; concurrent ones wait for their turn.

    Each method takes what the same one of `Requests` takes, and raises RequestFailed for a status
    that is no answer, a timeout, or a broken connection.
    """

    def __init__(self, lane: "Exchange", requests: Requests) -> None:
        self._lane = lane
        self._requests = requests
        self.turn = Turn(lane)

    async def get(self, path: str, **options: Any) -> Response:
        """GET; options as of `Requests.get`."""
        data, tag, expect = self._requests.get(path, **options)
        lane = self._lane
        if lane.by_hand:
            # As in `send`, spelled out: one coroutine less.
            lane.send(data, tag, expect)
            return await self.turn
        return await lane.exchange(data, tag, expect)

    async def request(self, method: str, path: str, **options: Any) -> Response:
        """Any method; options as of `Requests.request`."""
        return await self.send(self._requests.request(method, path, **options))

    async def send(self, request: Request) -> Response:
        """A request that `Requests` has made."""
        lane = self._lane
        if lane.by_hand:
            lane.send(*request)
            return await self.turn
        return await lane.exchange(*request)
