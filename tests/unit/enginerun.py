"""Runs of user classes in an engine of their own, against a server that answers by the path."""

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

from bakeoff.load import OpenModelUser, wire
from bakeoff.load.engine import sockets
from bakeoff.load.engine.lane import Lane
from bakeoff.load.engine.run import Run
from bakeoff.load.workerrun import samples_of

_WAIT_S = 20.0

BIG = b"x" * 100_000
# With its head of 41 bytes this fills a first read.
_FILLING = sockets._READ_BYTES - 41
# Answers that are not one 200 in one piece.
_SPECIAL = {
    b"/close": b"HTTP/1.1 200 X\r\nConnection: close\r\nContent-Length: 1\r\n\r\na",
    b"/hints": b"HTTP/1.1 103 X\r\nLink: x\r\n\r\nHTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\na",
    b"/big": b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(BIG), BIG),
    b"/chunks": b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"/nothing": b"HTTP/1.1 204 X\r\n\r\n",
    b"/two": b"HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\na" * 2,
    b"/cut": b"HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\nab",
    b"/endless": b"HTTP/1.1 200 X\r\n\r\nabc",
    b"/filled": b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (_FILLING, b"f" * _FILLING)
    + b"HTTP/1.1 200 X\r\nContent-Length: 1\r\n\r\na",
    b"/bad": b"HTP/1.1 200 X\r\n\r\n",
}

_LEAVES = (b"/leave", b"/cut", b"/endless")


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request with its path; /late after a while, /500 with that, /never not, /split
    in pieces, /gone by closing, /leave, /cut and /endless and close without a word of it, and the
    special ones as they are. Bodies are read slowly, and answered with their CRC-32."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        path = head.split(b" ")[1]
        if found := re.search(rb"Content-Length: (\d+)", head):
            # By now the sender's buffers are full, if the body is large.
            await asyncio.sleep(0.05)
            body = await reader.readexactly(int(found[1]))
            path = b"%d" % crc32(body)
        if path == b"/late":
            await asyncio.sleep(0.15)
        if path == b"/never":
            continue
        if path == b"/gone":
            writer.close()
            return
        status = b"500" if path == b"/500" else b"200"
        whole = b"HTTP/1.1 %b X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(path), path)
        whole = _SPECIAL.get(path, whole)
        if path == b"/split":
            for place in range(len(whole) - 1):
                writer.write(whole[place : place + 1])
                await writer.drain()
                await asyncio.sleep(0)
            whole = whole[-1:]
        writer.write(whole)
        if path in _LEAVES:
            # In the same breath.
            writer.write_eof()
        if path in _LEAVES or path == b"/close":
            writer.close()
            return


def run_user(
    tested: type[OpenModelUser],
    is_done: Callable[[list[Any], list[Lane]], bool],
    lanes: int,
    tls: ssl.SSLContext | None = None,
    rate_rps: float | None = None,
    duration_s: float = 0,
    tasks: Sequence[str] = ("tested",),
) -> list[wire.Batch]:
    """Runs the tasks of a class, in the closed model or at a rate, until its users and lanes are
    done; all batches. Without a duration, what is due when the run is told to end and is
    not begun yet is never sent."""

    async def main() -> list[wire.Batch]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        batches: list[wire.Batch] = []

        def emit(message: wire.FromEngine) -> None:
            assert isinstance(message, wire.Batch)
            batches.append(message)

        order = wire.Prepare(
            run="run",
            host=f"{'https' if tls else 'http'}://127.0.0.1:{port}",
            connections=lanes,
            timeout_s=0.5,
            entries=[wire.TaskEntry("Tested", name, 1) for name in tasks],
            options={},
        )
        run = Run(order, {"Tested": tested}, emit)
        await run.open()
        loop = asyncio.get_running_loop()
        go = wire.Go(
            run="run",
            start_ns=int(loop.time() * 1e9),
            index=0,
            count=1,
            rate_rps=rate_rps,
            arrivals="poisson",
            seed=1,
            duration_s=duration_s,
        )
        run.go(go)
        users = [lane.tasks[0][0] for lane in run._lanes]
        async with asyncio.timeout(_WAIT_S):
            while not is_done(users, run._lanes):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            run.finish(5.0)
            while not batches or not batches[-1].final:
                await asyncio.sleep(0.01)
        server.close()
        return batches

    return asyncio.run(main())


def outcomes(batches: list[wire.Batch]) -> list[int]:
    """The outcomes of all samples, in order."""
    rows = samples_of(batches)
    return [int(outcome) for outcome in rows[:, wire.OUTCOME]]


def task_errors(batches: list[wire.Batch]) -> list[str]:
    """The exceptions that left tasks."""
    return [error.message for batch in batches for error in batch.task_errors]
