"""A TLS connection: the event loop's own stream, which knows TLS."""

import asyncio
import ssl
from time import monotonic_ns
from typing import cast

from bakeoff.load.engine.answers import Connection, Owner


class TlsConnection(Connection, asyncio.Protocol):
    """A connection to `host` and `port`, whose certificate must be good."""

    def __init__(self, owner: Owner, host: str, port: int) -> None:
        super().__init__(owner)
        self._address = (host, port)
        self._transport: asyncio.Transport | None = None

    async def open(self) -> None:
        host, port = self._address
        context = ssl.create_default_context()
        await asyncio.get_running_loop().create_connection(lambda: self, host, port, ssl=context)
        self.ready = True

    def write(self, request: bytes) -> None:
        assert self._transport is not None, "written to before it was open"
        self._transport.write(request)

    def abort(self) -> None:
        self.ready = False
        self.closing = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        # The stream may have more of what it has decrypted already.
        if not self.closing:
            request = super().data_received(data)
            if request is not None:
                self.owner.sent_ns = monotonic_ns()
                self.write(request)

    def connection_lost(self, error: Exception | None) -> None:
        self._ended(error)
