"""A plain TCP connection, read and written without a stream of the event loop's in between."""

import asyncio
import socket
from os import read as os_read
from os import write as os_write
from time import monotonic_ns

from bakeoff.load.engine.answers import Connection, Owner
from bakeoff.load.engine.poller import ENDED, Poller

# What CPython keeps memory at hand for, without its head of 33 bytes; of more it asks the system's
# allocator, and gives most of it back: a tenth of a read. A connection that has had a longer answer
# reads more at once from then on.
_READ_BYTES = 512 - 33
_READ_MAXIMUM_BYTES = 1 << 14


class SocketConnection(Connection):
    """A connection to `host` and `port` whose news come from a poller."""

    def __init__(self, owner: Owner, poller: Poller, host: str, port: int) -> None:
        super().__init__(owner)
        self._loop = asyncio.get_running_loop()
        self._poller = poller
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self.descriptor = -1
        self._read_bytes = _READ_BYTES
        # What the kernel has not taken yet of a request, or is to be sent at the end of a turn.
        self.unsent = b""

    async def open(self) -> None:
        self._socket = await self._connected()
        self.descriptor = self._socket.fileno()
        self._poller.add(self.descriptor, self._on_ready)
        self.ready = True

    def write(self, request: bytes) -> None:
        self.unsent = request
        poller = self._poller
        if poller.in_turn:
            poller.senders.append(self)
        else:
            self._send()

    def _send(self) -> None:
        unsent = self.unsent
        try:
            written = os_write(self.descriptor, unsent)
        except OSError as error:
            written = self.refused(error)
        self.unsent = unsent[written:]

    def refused(self, error: OSError) -> int:
        """Ends the connection if a write failed; gives what was written, 0 bytes."""
        if not isinstance(error, BlockingIOError):
            self._loop.call_soon(self._close, error)
        return 0

    def abort(self) -> None:
        self.ready = False
        self.closing = True
        if self._socket is not None:
            self._loop.call_soon(self._close, None)

    def _on_ready(self, events: int) -> None:
        if events & ENDED:
            self._expect_last()
        if self.unsent:
            self._send()
        while not self.closing:
            wanted_bytes = self._read_bytes
            try:
                data = os_read(self.descriptor, wanted_bytes)
            except BlockingIOError:
                return
            except OSError as error:
                self._close(error)
                return
            if not data:
                self._close(None)
                return
            if self.unsent:
                if self in self._poller.senders:
                    self._break(monotonic_ns(), "bad HTTP answer: more than one")
                    return
                # Answered before all of the request was taken, whose rest the server would read as
                # the next one.
                self._expect_last()
            request = self.data_received(data)
            if request is not None:
                self.unsent = request
                self._poller.senders.append(self)
            if len(data) == wanted_bytes:
                self._read_bytes = _READ_MAXIMUM_BYTES
            elif not self._last:
                # By its edge: what comes after a short read is news again.
                return

    def _close(self, error: OSError | None) -> None:
        """Closes the socket, once, and says so."""
        if self._socket is not None:
            self._poller.remove(self.descriptor)
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
