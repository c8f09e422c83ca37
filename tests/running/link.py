"""A TCP connection's way that can be cut, frozen and mended."""

import asyncio
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit, urlunsplit

from bakeoff.owner import Owner
from tests.running.background import Background

CHUNK_BYTES = 65_536


class Link(Owner):
    """Passes connections on to a server, from entry to exit."""

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self.port = 0
        self._background: Background
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        # Set while bytes go through, one for all connections of a time.
        self._open: asyncio.Event

    def _begin(self, stack: ExitStack) -> None:
        self._background = stack.enter_context(Background())
        self._background.run(self._thaw())
        self.mend()
        stack.callback(self.cut)

    def url(self, url: str) -> str:
        """The same URL, through this link."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    def cut(self) -> None:
        """Closes all connections, and refuses new ones."""

        async def cut() -> None:
            if self._server is not None:
                self._server.close()
            self._server = None
            for writer in list(self._writers):
                writer.transport.abort()

        self._background.run(cut())

    def mend(self) -> None:
        """Accepts connections again, on the port that it had."""

        async def mend() -> None:
            self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

        self._background.run(mend())

    def freeze(self) -> None:
        """Lets no byte through, and keeps all connections open."""

        async def freeze() -> None:
            self._open.clear()

        self._background.run(freeze())

    def thaw(self) -> None:
        """Lets all bytes through again."""

        async def thaw() -> None:
            self._open.set()

        self._background.run(thaw())

    def forget(self) -> None:
        """Lets new connections through; those that are frozen stay so for ever, as behind a
        router that has forgotten them."""
        self._background.run(self._thaw())

    async def _thaw(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_open = self._open
        self._writers.add(writer)
        try:
            await is_open.wait()
            there_reader, there_writer = await asyncio.open_connection(*self._server_address)
            self._writers.add(there_writer)
            try:
                await asyncio.gather(
                    _pump(reader, there_writer, is_open), _pump(there_reader, writer, is_open)
                )
            finally:
                self._writers.discard(there_writer)
                there_writer.transport.abort()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_open: asyncio.Event
) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            await is_open.wait()
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
