"""The engine for load: its own HTTP/2, for unary calls."""

import asyncio
import contextlib

from bakeoff.errors import StartError
from stub_payment.servicer import Servicer
from stub_payment.wire import limits
from stub_payment.wire.connection import Connection, Shared
from stub_payment.wire.methods import Health, methods

FLUSH_S = 0.5  # what peers get to read their last answers
POLL_S = 0.01  # how often their connections are counted
BACKLOG = 4096


class WireEngine:
    """Serves a servicer and the gRPC health service on one port."""

    def __init__(self, servicer: Servicer) -> None:
        self._servicer = servicer
        self._health = Health()
        self._shared = Shared(methods(servicer, self._health), servicer)
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Serves; returns the port, which is a free one for 0. Raises StartError."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self._shared), host, port, backlog=BACKLOG
            )
        except OSError as error:
            raise StartError(
                f"the payment stub cannot listen on {host}:{port}: {error}. Choose another --port"
                " (0: a free one) or --host."
            ) from error
        self._sweeper = loop.create_task(self._sweep())
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self, grace_s: float) -> None:
        """Not healthy, no new calls; those in flight get `grace_s`, then all is closed."""
        self._health.serving = False
        await self._servicer.drain(max(0.0, grace_s - FLUSH_S))
        if self._server is not None:
            self._server.close()
        for connection in self._shared.connections:
            connection.retire()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._all_closed(), min(FLUSH_S, grace_s))
        for connection in list(self._shared.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _all_closed(self) -> None:
        while self._shared.connections:
            await asyncio.sleep(POLL_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(limits.SWEEP_S)
            self._shared.sweep()
