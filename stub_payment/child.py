"""A serving process, seen from its parent."""

import asyncio
import contextlib
import socket
import sys

import msgspec

from bakeoff.errors import PartDiedError, StartError
from stub_payment.link import Kind, Link, open_link
from stub_payment.process import ProcessOptions

START_TIMEOUT_S = 60.0
REPLY_TIMEOUT_S = 30.0


class Child:
    """A serving process that runs. It is ended by `drain` or `end`."""

    def __init__(self, process: asyncio.subprocess.Process, link: Link) -> None:
        self._process = process
        self._link = link
        self._asking = asyncio.Lock()
        self.port = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code, once it ended."""
        return await self._process.wait()

    async def start(self, options: ProcessOptions) -> None:
        """Waits until it serves on `port`. Raises StartError where it cannot."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._link.send(Kind.START, msgspec.json.encode(options))
                answer = await self._link.receive()
        except (OSError, TimeoutError):
            answer = None
        if answer is None:
            raise StartError(
                f"process {self.pid} of the payment stub did not start to serve within"
                f" {START_TIMEOUT_S:.0f} s; its message is above."
            )
        if answer.kind is Kind.FAILED:
            raise StartError(answer.payload.decode())
        self.port = int(answer.payload)

    async def ask(self, kind: Kind, payload: bytes = b"") -> bytes:
        """Its reply. Raises PartDiedError, after which the process ends too."""
        try:
            async with self._asking, asyncio.timeout(REPLY_TIMEOUT_S):
                await self._link.send(kind, payload)
                reply = await self._link.receive()
        except (OSError, TimeoutError):
            reply = None
        if reply is None:
            self._link.close()  # a late reply would answer the next question
            raise PartDiedError(
                "payment stub", f"process {self.pid} of the payment stub does not answer"
            )
        return reply.payload

    async def drain(self, grace_s: float) -> None:
        """Tells it to finish and end."""
        with contextlib.suppress(OSError):
            await self._link.send(Kind.DRAIN, repr(grace_s).encode())

    async def end(self) -> None:
        """Ends it at once, if it still runs, and reaps it."""
        self._link.close()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()


async def spawn() -> Child:
    """Runs a serving process that waits for its `start`."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "stub_payment.process",
            stdin=theirs.fileno(),
            stdout=sys.stderr,  # standard output carries one line, which is the parent's
            process_group=0,  # a Ctrl-C is for the parent, which drains
        )
    return Child(process, await open_link(ours))
