"""A way of TCP connections that can be cut, frozen and mended: a process of its own, so that it
does not share an interpreter with the load that goes through it."""

import asyncio
import select
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import uvloop

from bakeoff.owner import Owner

CHUNK_BYTES = 65_536
DEADLINE_S = 60.0


class Link(Owner):
    """Passes connections on to a server, from entry to exit."""

    def __init__(self, host: str, port: int) -> None:
        self._argv = [sys.executable, "-m", "tests.running.link", host, str(port)]
        self._process: subprocess.Popen[str]
        self.port = 0

    def _begin(self, stack: ExitStack) -> None:
        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
        )
        stack.callback(self._end)
        self.port = int(self._answer())

    def _end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()  # it ends with it
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process.stdout.close()

    def url(self, url: str) -> str:
        """The same URL, through this link."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    def cut(self) -> None:
        """Closes all connections, and refuses new ones."""
        self._tell("cut")

    def mend(self) -> None:
        """Accepts connections again, on the port that it had."""
        self._tell("mend")

    def freeze(self) -> None:
        """Lets no byte through, and keeps all connections open."""
        self._tell("freeze")

    def thaw(self) -> None:
        """Lets all bytes through again."""
        self._tell("thaw")

    def forget(self) -> None:
        """Lets new connections through; those that are frozen stay so for ever, as behind a
        router that has forgotten them."""
        self._tell("forget")

    def _tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        assert self._answer() == "done"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        # Each answer is one line, and it says nothing unasked, so none waits in a buffer.
        readable, _, _ = select.select([self._process.stdout], [], [], DEADLINE_S)
        assert readable, f"the link (process {self._process.pid}) said nothing in {DEADLINE_S:g} s"
        answer = self._process.stdout.readline().strip()
        assert answer, f"the link (process {self._process.pid}) has ended: see its traceback above"
        return answer


class _Far:
    """The process of a link."""

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self._port = 0
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()
        # Set while bytes go through, one for all connections of a time.
        self._open = asyncio.Event()
        self._open.set()

    async def serve(self) -> None:
        """Obeys the commands on standard input until it ends."""
        loop = asyncio.get_running_loop()
        commands = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        await self.mend()
        print(self._port, flush=True)
        while command := (await commands.readline()).decode().strip():
            match command:
                case "cut":
                    await self.cut()
                case "mend":
                    await self.mend()
                case "freeze":
                    self._open.clear()
                case "thaw":
                    self._open.set()
                case "forget":
                    self._open = asyncio.Event()
                    self._open.set()
            print("done", flush=True)

    async def cut(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

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
        except (OSError, asyncio.CancelledError):  # at the end of the process
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


async def _main() -> None:
    await _Far(sys.argv[1], int(sys.argv[2])).serve()


if __name__ == "__main__":
    uvloop.run(_main())
