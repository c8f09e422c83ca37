"""A plain TCP connection, read and written without a stream of the event loop's in between."""

import asyncio
import socket
from collections.abc import Callable
from os import write as os_write
from time import monotonic_ns

from bakeoff.load.engine.answers import Connection, Owner
from bakeoff.load.engine.poller import ENDED, Poller

_READ_BYTES = 1 << 14
# One for all connections: what is read is done with before the next read, and memory that each
# read asked for, and gave most of back, cost as much as the parser.
_BUFFER = memoryview(bytearray(_READ_BYTES))


class SocketConnection(Connection):
    """A connection to `host` and `port` whose news come from a poller."""

    def __init__(self, owner: Owner, poller: Poller, host: str, port: int) -> None:
        super().__init__(owner)
        self._loop = asyncio.get_running_loop()
        self._poller = poller
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._receive_into: Callable[[memoryview], int]
        self._descriptor = -1
        # What the kernel has not taken yet of a request.
        self._unsent = b""

    async def open(self) -> None:
        self._socket = await self._connected()
        self._descriptor = self._socket.fileno()
        self._receive_into = self._socket.recv_into
        self._poller.add(self._descriptor, self._on_ready)
        self.ready = True

    def write(self, request: bytes) -> None:
        if self._poller.in_turn:
            self._unsent = request
            self._poller.senders.append(self)
        else:
            self._send(request)

    def flush(self) -> None:
        """Sends what a turn of the poller's had to send."""
        if not self._closing:
            request, self._unsent = self._unsent, b""
            self._owner.sent_ns = monotonic_ns()
            self._send(request)

    def _send(self, request: bytes) -> None:
        try:
            written = os_write(self._descriptor, request)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._loop.call_soon(self._close, error)
            return
        if written < len(request):
            self._unsent = request[written:]

    def abort(self) -> None:
        self.ready = False
        self._closing = True
        if self._socket is not None:
            self._loop.call_soon(self._close, None)

    def _on_ready(self, events: int) -> None:
        if events & ENDED:
            self._last = True
        if self._unsent:
            unsent, self._unsent = self._unsent, b""
            self._send(unsent)
        receive_into = self._receive_into
        while not self._closing:
            try:
                read_bytes = receive_into(_BUFFER)
            except BlockingIOError:
                return
            except OSError as error:
                self._close(error)
                return
            if not read_bytes:
                self._close(None)
                return
            if self._unsent:
                # Answered before all of the request was taken, whose rest the server would read as
                # the next one.
                self._last = True
            self.data_received(_BUFFER[:read_bytes])
            # By its edge: what comes after a short read is news again.
            if read_bytes < _READ_BYTES and not self._last:
                return

    def _close(self, error: OSError | None) -> None:
        """Closes the socket, once, and says so."""
        if self._socket is not None:
            self._poller.remove(self._descriptor)
            self._socket.close()
            self._socket = None
            self._ended(error)

    async def _connected(self) -> socket.socket:
        """The first address that takes the connection; OSError of the last where none does."""
        host, port = self._address
        refusal = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            try:
                return await self._connect(family, kind, protocol, address)
            except OSError as error:
                refusal = error
        raise refusal

    async def _connect(
        self, family: int, kind: int, protocol: int, address: tuple[object, ...]
    ) -> socket.socket:
        connected = socket.socket(family, kind, protocol)
        try:
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(connected, address)
        except BaseException:
            connected.close()
            raise
        return connected
