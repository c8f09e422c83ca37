"""One serving process: an engine on one port, steered by its parent over standard input.

It ends when the parent does: the link's end of file is all the notice it needs.
"""

import asyncio
import contextlib
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import uvloop

from bakeoff.errors import StartError
from protos.payment.v1.payment_pb2 import Behaviour
from stub_payment.engine_grpcio import GrpcioEngine
from stub_payment.ledger import Ledger
from stub_payment.link import Frame, Kind, Link, open_link
from stub_payment.servicer import Servicer
from stub_payment.wire.engine import WireEngine

EXIT_DRAINED = 0
EXIT_ORPHANED = 1


class ProcessOptions(msgspec.Struct, frozen=True):
    """What the parent tells a serving process."""

    engine: str
    host: str
    port: int
    index: int
    ledger: str
    # A folder to remove if the parent dies without doing it, or "".
    temporary_folder: str


class Engine(Protocol):
    """What serves the servicer on a port."""

    async def start(self, host: str, port: int) -> int: ...
    async def drain(self, grace_s: float) -> None: ...


# The engines by name.
ENGINES: Mapping[str, Callable[[Servicer], Engine]] = {"wire": WireEngine, "grpcio": GrpcioEngine}


class ServingProcess:
    """Obeys the parent's frames until it drained or the parent is gone."""

    def __init__(self, link: Link, servicer: Servicer, engine: Engine) -> None:
        self._link = link
        self._servicer = servicer
        self._engine = engine
        self._drain: asyncio.Task[None] | None = None

    async def obey(self, port: int) -> int:
        """Reports the port it serves on and obeys. Returns the exit code."""
        with contextlib.suppress(ConnectionError):  # the parent went before it was answered
            await self._link.send(Kind.READY, str(port).encode())
            while (frame := await self._link.receive()) is not None:
                await self._handle(frame)
        if self._drain is None or not self._drain.done():
            return EXIT_ORPHANED
        self._drain.result()
        return EXIT_DRAINED

    async def _handle(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.CONFIGURE:
                self._servicer.configure(Behaviour.FromString(frame.payload))
                await self._link.send(Kind.REPLY)
            case Kind.SNAPSHOT:
                await self._link.send(Kind.REPLY, self._servicer.snapshot().SerializeToString())
            case Kind.RESET:
                self._servicer.reset()
                await self._link.send(Kind.REPLY)
            case Kind.DRAIN:
                self._drain = asyncio.create_task(self._engine.drain(float(frame.payload)))
                self._drain.add_done_callback(lambda _: self._link.close())


async def serve(link: Link) -> int:
    """Starts as the parent says and obeys it. Returns the exit code."""
    frame = await link.receive()
    if frame is None:
        return EXIT_ORPHANED
    options = msgspec.json.decode(frame.payload, type=ProcessOptions)
    with Ledger(Path(options.ledger)) as ledger:
        servicer = Servicer(ledger, options.index)
        engine = ENGINES[options.engine](servicer)
        try:
            port = await engine.start(options.host, options.port)
        except StartError as error:
            await link.send(Kind.FAILED, str(error).encode())
            return error.exit_code
        exit_code = await ServingProcess(link, servicer, engine).obey(port)
        if exit_code == EXIT_ORPHANED:
            await engine.drain(0)
        servicer.close()
    if exit_code == EXIT_ORPHANED and options.temporary_folder:
        shutil.rmtree(options.temporary_folder, ignore_errors=True)
    return exit_code


async def _main() -> int:
    return await serve(await open_link(socket.socket(fileno=sys.stdin.fileno())))


if __name__ == "__main__":
    sys.exit(uvloop.run(_main()))
