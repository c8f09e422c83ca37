"""The engine process: takes orders from its Locust worker over a pipe until the pipe closes."""

from locust.util.load_locustfile import load_locustfile

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import cast

import uvloop

from bakeoff.load import wire
from bakeoff.load.engine.run import Run
from bakeoff.load.user import OpenModelUser
from bakeoff.prctl import end_with


def serve(descriptor: int, parent: int, locustfiles: Sequence[str]) -> None:
    """Runs the engine on a connected socket until the worker `parent` goes away."""
    # Even while a task blocks the loop.
    end_with(parent)
    # Ctrl-C goes to the whole group: the worker decides when the engine ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.disable()
    with socket.socket(fileno=descriptor) as pipe:
        pipe.setblocking(False)
        uvloop.run(_serve(pipe, locustfiles))


async def _serve(pipe: socket.socket, locustfiles: Sequence[str]) -> None:
    loop = asyncio.get_running_loop()
    closed: asyncio.Future[None] = loop.create_future()
    engine = Engine(closed)
    await loop.create_connection(lambda: engine, sock=pipe)
    try:
        engine.load(locustfiles)
    except Exception as error:  # noqa: BLE001 - whatever a Locust file raises
        engine.emit(wire.Failed(reason=f"{type(error).__name__}: {error}"))
    else:
        engine.emit(wire.Loaded(pid=os.getpid()))
    await closed


class Engine(asyncio.Protocol):
    """The engine's end of the pipe: one run at a time."""

    def __init__(self, closed: asyncio.Future[None]) -> None:
        self._closed = closed
        self._transport: asyncio.Transport
        self._frames = wire.Frames()
        self._classes: Mapping[str, type[OpenModelUser]] = {}
        self._run: Run | None = None
        self._opening: asyncio.Task[None] | None = None

    def load(self, locustfiles: Sequence[str]) -> None:
        """Imports the Locust files and sets up their users."""
        classes: dict[str, type[OpenModelUser]] = {}
        for path in locustfiles:
            users, _ = load_locustfile(path)
            classes.update(
                (name, user) for name, user in users.items() if issubclass(user, OpenModelUser)
            )
        for user in classes.values():
            user.setup()
        self._classes = classes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._end_run()
        if not self._closed.done():
            self._closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        for body in self._frames.feed(data):
            self._obey(wire.to_engine(body))

    def emit(self, message: wire.FromEngine) -> None:
        """Sends a message to the worker."""
        self._transport.write(wire.encode(message))

    def _obey(self, order: wire.ToEngine) -> None:
        if isinstance(order, wire.Prepare):
            self._end_run()
            self._opening = asyncio.get_running_loop().create_task(self._prepare(order))
        elif self._run is None or order.run != self._run.name:
            return
        elif isinstance(order, wire.Go):
            try:
                self._run.go(order)
            except ValueError as error:
                self.emit(wire.Failed(reason=str(error), run=order.run))
        else:
            self._run.finish(order.limit_s)

    async def _prepare(self, order: wire.Prepare) -> None:
        try:
            self._run = Run(order, self._classes, self.emit)
            await self._run.open()
        except (ValueError, KeyError, StopIteration) as error:
            self.emit(wire.Failed(reason=str(error), run=order.run))
        except TimeoutError:
            reason = f"{order.host} does not accept {order.connections} connections in time"
            self.emit(wire.Failed(reason=reason, run=order.run))
        except OSError as error:
            self.emit(wire.Failed(reason=f"cannot connect to {order.host}: {error}", run=order.run))
        else:
            self.emit(wire.Prepared(run=order.run))

    def _end_run(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self._run is not None:
            self._run.close()
            self._run = None
