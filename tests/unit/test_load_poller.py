"""The turns of the engine's poller: all that has come is heard, then what is to go is sent."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from time import monotonic_ns
from zlib import crc32

import pytest

from bakeoff.load.engine import poller as poller_module
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.sockets import SocketConnection

DEADLINE_S = 30.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(DEADLINE_S)
        yield found


class Asker:
    """Asks again as soon as it has an answer, which it notes: by its connection, or by writing."""

    def __init__(self, name: str, notes: list[str], *, writes: bool) -> None:
        self.name = name
        self.writes = writes
        self.notes = notes
        self.sent_ns = 0
        self.handed_over_ns = 0
        self.connection: SocketConnection

    def request(self) -> bytes:
        self.connection.ready = False
        self.sent_ns = self.handed_over_ns = monotonic_ns()
        return f"GET /{self.name} HTTP/1.1\r\n\r\n".encode()

    def ask(self, body: bytes = b"") -> None:
        self.connection.write(self.request() + body)

    def answered(self, done_ns: int, status: int, body: bytes, received: object) -> bytes | None:
        assert (status, crc32(body)) == (200, crc32(b"a"))
        self.notes.append(f"{self.name} heard")
        if not self.writes:
            return self.request()
        self.ask()
        return None

    def broken(self, done_ns: int, reason: str) -> None:
        self.notes.append(f"{self.name} broken")

    def lost(self) -> None:
        self.notes.append(f"{self.name} lost")


async def connected(
    poller: Poller, name: str, notes: list[str], listener: socket.socket, *, writes: bool = False
) -> tuple[Asker, socket.socket]:
    """An asker, and the server's end of its connection."""
    asker = Asker(name, notes, writes=writes)
    asker.connection = SocketConnection(asker, poller, *listener.getsockname())
    await asker.connection.open()
    end = listener.accept()[0]
    end.settimeout(DEADLINE_S)
    return asker, end


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], Asker], None]:
    """Notes what the poller sends for an asker."""
    names: dict[int, tuple[list[str], str]] = {}

    def noted(descriptor: int, data: bytes) -> int:
        notes, name = names[descriptor]
        notes.append(f"{name} sent")
        return os.write(descriptor, data)

    def watch(notes: list[str], asker: Asker) -> None:
        names[asker.connection.descriptor] = notes, asker.name

    monkeypatch.setattr(poller_module, "os_write", noted)
    return watch


async def noted(notes: list[str], wanted: str) -> None:
    """Waits for a note."""
    async with asyncio.timeout(DEADLINE_S):
        while wanted not in notes:
            await asyncio.sleep(0.001)


def with_filler(filler: bytes) -> bytes:
    """ANSWER with one header more."""
    head, _, body = ANSWER.partition(b"\r\n\r\n")
    return head + b"\r\nX-A: " + filler + b"\r\n\r\n" + body


@pytest.mark.parametrize("writes", [False, True])
def test_a_turn_hears_all_before_it_sends(
    listener: socket.socket, sends: Callable[[list[str], Asker], None], writes: bool
) -> None:
    notes: list[str] = []

    async def run() -> None:
        poller = Poller(lambda: notes.append("over"))
        pairs = [await connected(poller, name, notes, listener, writes=writes) for name in "ab"]
        for asker, end in pairs:
            sends(notes, asker)
            # Outside of a turn it goes at once.
            asker.ask()
            assert end.recv(4096).startswith(f"GET /{asker.name}".encode())
            assert asker.sent_ns == asker.handed_over_ns
        # Opened connections are news too, without any bytes.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        notes.clear()
        for _, end in pairs:
            end.sendall(ANSWER)
        async with asyncio.timeout(DEADLINE_S):
            while "over" not in notes:
                await asyncio.sleep(0)
        for asker, end in pairs:
            assert end.recv(4096).startswith(f"GET /{asker.name}".encode())
            assert asker.sent_ns > asker.handed_over_ns
            end.close()
            asker.connection.abort()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        poller.close()

    asyncio.run(run())
    heard, sent = {"a heard", "b heard"}, {"a sent", "b sent"}
    assert (set(notes[:2]), set(notes[2:4]), notes[4]) == (heard, sent, "over")


@pytest.mark.parametrize("writes", [False, True])
def test_a_connection_that_is_given_up_in_its_turn_sends_nothing(
    listener: socket.socket, writes: bool
) -> None:
    notes: list[str] = []

    async def run() -> None:
        poller = Poller(lambda: notes.append("over"))
        asker, end = await connected(poller, "a", notes, listener, writes=writes)
        asker.ask()
        end.recv(4096)
        # The answer, and at once the end of the connection.
        end.sendall(ANSWER)
        end.shutdown(socket.SHUT_WR)
        await noted(notes, "a lost")
        assert end.recv(4096) == b""
        end.close()
        poller.close()

    asyncio.run(run())
    assert next(note for note in notes if note.startswith("a ")) == "a heard"


def test_who_cannot_send_is_broken_and_keeps_no_one_else_from_it(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []

    async def run() -> None:
        poller = Poller(lambda: notes.append("over"))
        pairs = [await connected(poller, name, notes, listener) for name in "ab"]
        (gone, gone_end), (_, other_end) = pairs

        def write(descriptor: int, data: bytes) -> int:
            if descriptor == gone.connection.descriptor:
                raise BrokenPipeError
            return os.write(descriptor, data)

        monkeypatch.setattr(poller_module, "os_write", write)
        for asker, end in pairs:
            asker.ask()
            end.recv(4096)
        for end in (gone_end, other_end):
            end.sendall(ANSWER)
        await noted(notes, "a lost")
        await noted(notes, "b heard")
        assert other_end.recv(4096).startswith(b"GET /b")
        assert gone_end.recv(4096) == b""
        for _, end in pairs:
            end.close()
        await noted(notes, "b lost")
        poller.close()

    asyncio.run(run())
    mine = [note for note in notes if note.startswith("a ")]
    assert mine == ["a heard", "a broken", "a lost"]


@pytest.mark.parametrize("writes", [False, True])
def test_an_answer_that_nobody_has_asked_for_yet_is_none(
    listener: socket.socket, writes: bool
) -> None:
    """The first of two fills a read, so that the second comes while the next request waits."""
    notes: list[str] = []

    async def run() -> None:
        poller = Poller(lambda: notes.append("over"))
        asker, end = await connected(poller, "a", notes, listener, writes=writes)
        asker.ask()
        end.recv(4096)
        missing_bytes = asker.connection._read_bytes - len(with_filler(b""))
        end.sendall(with_filler(b"x" * missing_bytes) + ANSWER)
        await noted(notes, "a lost")
        # Nor is the next request sent.
        assert end.recv(4096) == b""
        end.close()
        poller.close()

    asyncio.run(run())
    mine = [note for note in notes if note.startswith("a ")]
    assert mine == ["a heard", "a broken", "a lost"]


def test_a_long_answer_makes_the_next_reads_longer(listener: socket.socket) -> None:
    notes: list[str] = []

    async def run() -> None:
        poller = Poller(lambda: notes.append("over"))
        asker, end = await connected(poller, "a", notes, listener)
        first_bytes = asker.connection._read_bytes
        for filler_bytes, longer in ((0, False), (2 * first_bytes, True)):
            notes.clear()
            asker.ask()
            end.recv(4096)
            end.sendall(with_filler(b"x" * filler_bytes))
            await noted(notes, "a heard")
            assert (asker.connection._read_bytes > 2 * first_bytes) == longer
            end.recv(4096)
            asker.connection.ready = True
        asker.connection.abort()
        end.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        poller.close()

    asyncio.run(run())


def test_an_answer_before_all_of_its_request_is_the_connection_s_last(
    listener: socket.socket,
) -> None:
    notes: list[str] = []

    async def run() -> None:
        poller = Poller(lambda: notes.append("over"))
        asker, end = await connected(poller, "a", notes, listener)
        # More than the kernel takes for a server that reads nothing.
        asker.ask(bytes(64_000_000))
        end.sendall(ANSWER)
        await noted(notes, "a lost")
        end.close()
        poller.close()

    asyncio.run(run())
    assert next(note for note in notes if note.startswith("a ")) == "a heard"
