"""What stands between a service and the provider: a proxy that knows HTTP/2 frames, and can lose
a call or its answer at a chosen moment."""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any

DEADLINE_S = 30.0
PREFACE_BYTES = 24
HEAD_BYTES = 9
HEADERS, RST_STREAM, GOAWAY = 1, 3, 7
END_STREAM = 1
# A connection that is closed so is reset: what was not sent is thrown away.
RESET = struct.pack("ii", 1, 0)


class Fate(Enum):
    """What becomes of calls."""

    PASS = "carried"
    REFUSE = "no connection can be made"
    CUT_CALL = "the connection is reset when a call comes, before the provider has it"
    CUT_ANSWER = "the connection is reset when the answer comes, so after the charge"
    GOAWAY = "the connection is said to end while a call is under way, and ends after its answer"
    DENY = "the same, and the call is said not to have been looked at, though the provider has it"


class Link:
    """A proxy before each of some targets, all with one fate at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, targets: Sequence[str]) -> None:
        self._loop = loop
        self._upstreams = targets
        self._places = [_reserved() for _ in targets]
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.carriers: set[_Carrier] = set()
        self.fate = Fate.PASS
        # How often a fate was dealt.
        self.dealt: Counter[Fate] = Counter()

    @property
    def targets(self) -> tuple[str, ...]:
        """Where it listens, as PAYMENT_TARGETS wants it."""
        return tuple(f"127.0.0.1:{place.getsockname()[1]}" for place in self._places)

    def become(self, fate: Fate) -> None:
        """Changes the fate of calls that come from now on."""
        asyncio.run_coroutine_threadsafe(self._become(fate), self._loop).result(DEADLINE_S)

    async def _become(self, fate: Fate) -> None:
        was, self.fate = self.fate, fate
        if fate is Fate.REFUSE:
            await self.close()
            self.dealt[fate] += 1
        elif was is Fate.REFUSE:
            await self.open()

    async def open(self) -> None:
        """Listens."""
        for place, upstream in zip(self._places, self._upstreams, strict=True):
            listener = _bound(place.getsockname()[1])
            host, _, port = upstream.rpartition(":")
            served = self._serving(host, int(port))
            self._servers.append(await asyncio.start_server(served, sock=listener))

    async def close(self) -> None:
        """Listens no more, and resets what is open; the ports stay reserved."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for carrier in list(self.carriers):
            carrier.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def release(self) -> None:
        """Gives the ports back."""
        for place in self._places:
            place.close()

    def _serving(
        self, host: str, port: int
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task: Any = asyncio.current_task()
            self._tasks.add(task)
            try:
                with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    far_reader, far_writer = await asyncio.open_connection(host, port)
                    await _Carrier(self, (reader, writer), (far_reader, far_writer)).carry()
            finally:
                self._tasks.discard(task)
                writer.close()

        return serve


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Carrier:
    """A connection of the service and the one to the provider that belongs to it."""

    def __init__(self, link: Link, near: Stream, far: Stream) -> None:
        self._link = link
        self._near_reader, self._near = near
        self._far_reader, self._far = far
        self._open_streams: set[int] = set()
        # The last stream that is carried, and whether its answer is, once the end was announced.
        self._last: int | None = None
        self._denied = False

    async def carry(self) -> None:
        """Until either end closes."""
        self._link.carriers.add(self)
        ways = [asyncio.create_task(self._calls()), asyncio.create_task(self._answers())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._link.carriers.discard(self)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._near.close()
            self._far.close()

    def reset(self) -> None:
        """Ends it as a broken machine would."""
        for writer in (self._near, self._far):
            if not writer.is_closing():
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()

    async def _calls(self) -> None:
        self._far.write(await self._near_reader.readexactly(PREFACE_BYTES))
        while True:
            frame, kind, _, stream = await _frame(self._near_reader)
            if self._last is not None and stream > self._last:
                continue  # came too late for this connection
            fate = self._link.fate
            if kind == HEADERS and fate is Fate.CUT_CALL:
                self._dealt(fate)
                return self.reset()
            self._far.write(frame)
            await self._far.drain()
            if kind == HEADERS:
                self._open_streams.add(stream)
                if fate in (Fate.GOAWAY, Fate.DENY) and self._last is None:
                    self._dealt(fate)
                    self._last, self._denied = stream, fate is Fate.DENY
                    self._near.write(_goaway(0 if self._denied else stream))
            elif kind == RST_STREAM:
                self._open_streams.discard(stream)

    async def _answers(self) -> None:
        while True:
            frame, kind, flags, stream = await _frame(self._far_reader)
            fate = self._link.fate
            if kind == HEADERS and fate is Fate.CUT_ANSWER:
                self._dealt(fate)
                return self.reset()
            if not (self._denied and stream):
                self._near.write(frame)
                await self._near.drain()
            if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
                self._open_streams.discard(stream)
            if self._last is not None and not self._open_streams:
                return None

    def _dealt(self, fate: Fate) -> None:
        self._link.dealt[fate] += 1


@contextmanager
def link(targets: Sequence[str]) -> Iterator[Link]:
    """A link to targets (`host:port`), which runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="link")
    thread.start()
    made = Link(loop, targets)
    try:
        asyncio.run_coroutine_threadsafe(made.open(), loop).result(DEADLINE_S)
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(made.close(), loop).result(DEADLINE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()
        made.release()


async def _frame(reader: asyncio.StreamReader) -> tuple[bytes, int, int, int]:
    """The next frame: its bytes, kind, flags and stream."""
    head = await reader.readexactly(HEAD_BYTES)
    body = await reader.readexactly(int.from_bytes(head[:3], "big"))
    return head + body, head[3], head[4], int.from_bytes(head[5:], "big")


def _goaway(last: int) -> bytes:
    body = struct.pack(">II", last, 0)
    return len(body).to_bytes(3, "big") + bytes([GOAWAY, 0]) + bytes(4) + body


def _reserved() -> socket.socket:
    """Holds a port that nobody listens on, so that a connection to it is refused."""
    return _bound(0)


def _bound(port: int) -> socket.socket:
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind(("127.0.0.1", port))
    return place
