"""The parent process: starts the serving processes, steers, watches and ends them."""

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakeoff.errors import InterruptedRunError, PartDiedError
from stub_payment.child import Child, spawn
from stub_payment.control import control_server
from stub_payment.ledger import Ledger, create_ledger
from stub_payment.process import ProcessOptions

EXIT_TIMEOUT_S = 5.0  # beyond the grace, for the interpreter to end


@dataclass(frozen=True)
class StubOptions:
    """The command line. `port` 0: free ports, else `port`, `port` + 1, ... per process.

    `ledger` None: a temporary file, removed at the end.
    """

    engine: str
    host: str
    port: int
    processes: int
    ledger: Path | None
    grace_s: float


class StopSignals:
    """SIGTERM and SIGINT: the first asks for a drain, the second for an end at once."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.at_once = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._received)

    def _received(self) -> None:
        if self.drain.is_set():
            self.at_once.set()
        self.drain.set()


async def run(options: StubOptions, announce: Callable[[str], None]) -> None:
    """Serves until a signal; `announce` gets the JSON line when everything serves.

    Raises UsageError, StartError, PartDiedError where a process died or did not
    end in time, InterruptedRunError after a second signal.
    """
    signals = StopSignals()
    with ledger_path(options.ledger) as (path, temporary_folder), Ledger(path) as ledger:
        async with (
            children(options, path, temporary_folder) as serving,
            control_server(options.host, options.engine, serving, ledger) as port,
        ):
            ports = [child.port for child in serving]
            announce(json.dumps({"ports": ports, "control_port": port}))
            await _until_signal(serving, signals)
            await _drain(serving, signals, options.grace_s)


@contextmanager
def ledger_path(path: Path | None) -> Iterator[tuple[Path, str]]:
    """The ledger's file, made if need be, and the temporary folder around it, if any."""
    if path is not None:
        create_ledger(path)
        yield path, ""
        return
    folder = tempfile.mkdtemp(prefix="payment-ledger-")
    try:
        create_ledger(Path(folder, "ledger.sqlite"))
        yield Path(folder, "ledger.sqlite"), folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def children(
    options: StubOptions, ledger: Path, temporary_folder: str
) -> AsyncIterator[list[Child]]:
    """Serving processes, all of them serving; none is left behind."""
    serving: list[Child] = []
    try:
        for _ in range(options.processes):
            # One by one into the list: what was spawned before an error has to be ended.
            serving.append(await spawn())  # noqa: PERF401
        for index, child in enumerate(serving):
            await child.start(
                ProcessOptions(
                    engine=options.engine,
                    host=options.host,
                    port=options.port + index if options.port else 0,
                    index=index,
                    ledger=str(ledger.absolute()),
                    temporary_folder=temporary_folder,
                )
            )
        yield serving
    finally:
        await asyncio.gather(*(child.end() for child in serving))


async def _until_signal(serving: list[Child], signals: StopSignals) -> None:
    stop = asyncio.create_task(signals.drain.wait())
    deaths = {asyncio.create_task(child.wait()): child for child in serving}
    try:
        done, _ = await asyncio.wait([stop, *deaths], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stop, *deaths):
            task.cancel()
    for task, child in deaths.items():
        if task in done:
            raise PartDiedError(
                "payment stub",
                f"process {child.pid} of the payment stub, on port {child.port}, died with"
                f" exit code {task.result()}; the others were ended.",
            )


async def _drain(serving: list[Child], signals: StopSignals, grace_s: float) -> None:
    await asyncio.gather(*(child.drain(grace_s) for child in serving))
    at_once = asyncio.create_task(signals.at_once.wait())
    ended: asyncio.Task[list[int]] = asyncio.create_task(_all_ended(serving))
    try:
        await asyncio.wait(
            [at_once, ended],
            timeout=grace_s + EXIT_TIMEOUT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if at_once.done():
            raise InterruptedRunError("a second signal ended the payment stub before its grace")
        if not ended.done():
            raise PartDiedError(
                "payment stub", f"the payment stub did not end within its --grace of {grace_s} s"
            )
        if any(ended.result()):
            raise PartDiedError(
                "payment stub",
                f"processes of the payment stub ended with exit codes {ended.result()} while"
                " they finished their calls",
            )
    finally:
        at_once.cancel()
        ended.cancel()


async def _all_ended(serving: list[Child]) -> list[int]:
    return [await child.wait() for child in serving]
