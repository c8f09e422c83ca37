"""The user class that Locust files derive from."""

from locust import User
from locust.user.task import LOCUST_STATE_WAITING

from typing import TYPE_CHECKING, Any, ClassVar

import gevent
from gevent import GreenletExit

from bakeoff.load import fasthttp
from bakeoff.load.settings import parse_settings, uses_fast_http

if TYPE_CHECKING:
    from bakeoff.load.engine.client import Client
    from bakeoff.load.engine.requests import Requests

_A_LONG_TIME_S = 3600


class OpenModelUser(User):
    """A user whose tasks run in an engine beside the Locust worker.

    In Locust's terms users are connections. With a rate, arrivals follow a schedule and each runs
    a task on a free connection (open model); without, each connection runs task after task
    (closed model). A task is `async def`: any asyncio library works in it, and its requests go
    through `await self.client.get(…)`. A task that is one request and does not look at the answer
    may be a plain `def` that returns it, `return self.request.get(…)`, at about half the cost.
    """

    abstract = True

    client: "Client"
    request: "Requests"
    # The number of the arrival in the whole swarm's schedule, and a number in [0, 1) that depends
    # only on it and the seed: what a task draws its data from.
    arrival: int = 0
    draw: float = 0.0

    _wait_time_of_locust: ClassVar[Any] = User.wait_time

    @classmethod
    def setup(cls) -> None:
        """Loads what the tasks need, once, in the engine; an exception ends the worker."""

    def has_wait_time(self) -> bool:
        """The class pauses between tasks (closed model only)."""
        return type(self).wait_time is not OpenModelUser._wait_time_of_locust

    def run(self) -> None:  # type: ignore[misc]
        """What Locust runs in the worker: nothing, where the engine does the work."""
        if uses_fast_http(self.environment):
            fasthttp.run(self, parse_settings(vars(self.environment.parsed_options)).timeout_s)
            return
        self._state = LOCUST_STATE_WAITING
        try:
            while True:
                gevent.sleep(_A_LONG_TIME_S)
        except GreenletExit:
            pass
