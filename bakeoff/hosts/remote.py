"""The far end of a host: `python -m bakeoff.hosts.remote`.

It takes requests on its standard input and answers on its standard output, and it ends all that
it started when the input ends, when it is told to stop, or when it has heard nothing for the
lease. One thread takes requests, starts, signals and reaps; what may take long (waiting for a
line, counting lines) and sampling have threads of their own; one thread writes.
"""

import argparse
import contextlib
import os
import resource
import selectors
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bakeoff.hosts import files, protocol
from bakeoff.hosts.facts import host_facts
from bakeoff.hosts.processes import Process, Processes
from bakeoff.hosts.programs import Programs, Refusal
from bakeoff.hosts.protocol import ProtocolError
from bakeoff.hosts.records import CoreRow, OtherRow, SampleRow
from bakeoff.hosts.sampler import Sampler
from bakeoff.hosts.writer import Writer

_CHECKOUT = Path(__file__).resolve().parents[2]
_READ_BYTES = 1 << 16
_LOOK_S = 0.1
# All that is left has this long to end by itself when nobody is there any more to wait for it.
_GRACE_S = 1.0
_OPEN_FILES = 1 << 16


class FarEnd:
    """Answers requests until the input ends; `run` is its whole life."""

    def __init__(self, requests: int, answers: int, checkout: Path) -> None:
        self._requests = requests
        self._writer = Writer(answers)
        self._checkout = checkout
        self._folder = files.OwnFolder()
        self._processes: Processes | None = None
        self._samplers: dict[int, Sampler] = {}
        self._lease_s = float("inf")
        self._heard_s = time.monotonic()
        self._handlers: dict[type, Callable[[Any], Any]] = {
            protocol.Beat: lambda request: time.monotonic(),
            protocol.Facts: lambda request: host_facts(self._folder.path),
            protocol.Start: self._start,
            protocol.Signal: lambda request: self._started.signal(request.process, request.signal),
            protocol.Stop: self._stop,
            protocol.StartWatch: self._watch,
            protocol.AddToWatch: lambda request: self._sampler(request).add(
                request.part, request.pids
            ),
            protocol.ReadNow: lambda request: self._sampler(request).read_now(request.part),
            protocol.ResetPeak: lambda request: self._sampler(request).reset_peak(request.part),
            protocol.EndWatch: self._end_watch,
            protocol.MakeFolder: lambda request: self._folder.make(request.name, request.user),
            protocol.WriteFile: lambda request: self._folder.write(
                request.name, request.content, request.user, request.append
            ),
        }
        self._slow_handlers: dict[type, Callable[[Any], Any]] = {
            protocol.WaitForLine: self._wait_for_line,
            protocol.FileSize: lambda request: files.file_size(request.path),
            protocol.CountLines: lambda request: files.count_lines(
                request.path, request.needle, request.start, request.end
            ),
            protocol.ReadFile: lambda request: files.read_chunk(
                request.path, request.offset, request.size
            ),
            protocol.RemoveTree: lambda request: self._folder.remove(request.path),
        }

    def run(self) -> int:
        """Serves until the input ends; then nothing that was started here is left."""
        try:
            self._serve()
        except ProtocolError as error:
            self._writer.send(protocol.Answer(id=None, error=str(error)))
            print(f"bakeoff: {error}; ending all", file=sys.stderr)
            return 2
        finally:
            if self._processes is not None:
                self._processes.end_everything(_GRACE_S)
            self._folder.remove_all()
            self._writer.close()
        return 0

    def _serve(self) -> None:
        lines = protocol.Lines()
        with _signals() as wake, selectors.DefaultSelector() as selector:
            os.set_blocking(self._requests, False)
            selector.register(self._requests, selectors.EVENT_READ, "requests")
            selector.register(wake, selectors.EVENT_READ, "signals")
            while True:
                for key, _ in selector.select(_LOOK_S):
                    if key.data == "signals":
                        if set(wake.recv(_READ_BYTES)) & {signal.SIGTERM, signal.SIGHUP}:
                            return
                    elif not self._read(lines):
                        return
                if self._processes is not None:
                    self._processes.reap()
                    self._processes.look_after()
                if time.monotonic() - self._heard_s > self._lease_s:
                    print("bakeoff: heard nothing for the lease; ending all", file=sys.stderr)
                    return

    def _read(self, lines: protocol.Lines) -> bool:
        """Takes what has come in; False at the end of the input."""
        data = os.read(self._requests, _READ_BYTES)
        if not data:
            if lines.half:
                raise ProtocolError("the input ended within a message")
            return False
        self._heard_s = time.monotonic()
        for line in lines.feed(data):
            self._take(line)
        return True

    def _take(self, line: bytes) -> None:
        try:
            request = protocol.decode_request(line)
        except msgspec.ValidationError as error:
            number = _id_of(line)
            if number is None:
                raise ProtocolError(f"a message without an id: {error}") from error
            self._writer.send(protocol.Answer(id=number, error=f"refused: {error}"))
            return
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ProtocolError(f"this is no message: {error}") from error
        if isinstance(request, protocol.Hello):
            self._answer(self._hello, request)
        elif self._processes is None:
            self._refuse(request, "the first request must be hello")
        elif type(request) in self._slow_handlers:
            handler = self._slow_handlers[type(request)]
            threading.Thread(target=self._answer, args=(handler, request), daemon=True).start()
        else:
            self._answer(self._handlers[type(request)], request)

    def _answer(self, handler: Callable[[Any], Any], request: protocol.Request) -> None:
        try:
            content = protocol.encoder.encode(handler(request))
            self._writer.send(protocol.Answer(id=request.id, ok=msgspec.Raw(content)))
        except Refusal as error:
            self._refuse(request, str(error))
        except Exception as error:  # noqa: BLE001 - a fault here must not orphan what runs
            self._refuse(request, f"{type(error).__name__}: {error}")

    def _refuse(self, request: protocol.Request, why: str) -> None:
        self._writer.send(protocol.Answer(id=request.id, error=why))

    def _hello(self, request: protocol.Hello) -> None:
        if request.version != protocol.VERSION:
            raise Refusal(
                f"this host has bakeoff {protocol.VERSION}, the harness has {request.version}; "
                "install the same on both"
            )
        if self._processes is not None:
            raise Refusal("hello was said before")
        self._lease_s = request.lease_s
        self._processes = Processes(
            run_id=request.run_id,
            far_end=uuid.uuid4().hex,
            programs=Programs(self._checkout, self._folder.path),
            on_end=self._tell_end,
            on_reap=self._tell_reaped,
        )

    @property
    def _started(self) -> Processes:
        assert self._processes is not None
        return self._processes

    def _start(self, request: protocol.Start) -> int:
        return self._started.start(request.process, request.spec).pid

    def _stop(self, request: protocol.Stop) -> None:
        process = self._started.get(request.process)
        self._started.stop(process, process.spec.grace_s)

    def _wait_for_line(self, request: protocol.WaitForLine) -> protocol.Found:
        process = self._started.get(request.process)
        return files.wait_for_line(
            process.spec.log, request.needle, request.within_s, lambda: process.code is not None
        )

    def _watch(self, request: protocol.StartWatch) -> None:
        if request.watch in self._samplers:
            raise Refusal(f"there is a watch {request.watch} already")

        def tell(rows: list[SampleRow], cores: list[CoreRow], others: list[OtherRow]) -> None:
            self._writer.send(protocol.Samples(request.watch, rows, cores, others))

        self._samplers[request.watch] = Sampler(request.parts, request.interval_s, tell)

    def _end_watch(self, request: protocol.EndWatch) -> None:
        self._sampler(request).close()
        del self._samplers[request.watch]

    def _sampler(
        self,
        request: protocol.AddToWatch | protocol.ReadNow | protocol.ResetPeak | protocol.EndWatch,
    ) -> Sampler:
        if request.watch not in self._samplers:
            raise Refusal(f"there is no watch {request.watch}")
        return self._samplers[request.watch]

    def _tell_end(self, process: Process) -> None:
        assert process.code is not None
        self._writer.send(
            protocol.Ended(process.number, process.code, process.spent, process.because)
        )

    def _tell_reaped(self, pid: int, cpu_us: int) -> None:
        for sampler in self._samplers.values():
            sampler.reaped(pid, cpu_us)


def _id_of(line: bytes) -> int | None:
    class Numbered(msgspec.Struct):
        id: int

    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.json.decode(line, type=Numbered).id
    return None


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket that gets the number of each signal. SIGINT is the harness's to decide about: it
    reaches a whole terminal. Handlers, unlike ignoring, do not pass on to what we start."""
    receiver, sender = socket.socketpair()
    receiver.setblocking(False)
    sender.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    try:
        yield receiver
    finally:
        signal.set_wakeup_fd(-1)
        receiver.close()
        sender.close()


def _raise_open_files_limit() -> None:
    """For us and all that we start: runtimes differ in whether they raise it themselves."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard > _OPEN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES if enough else hard, hard))


def main() -> int:
    """Reads its command line and serves."""
    parser = argparse.ArgumentParser(prog="bakeoff.hosts.remote", description=__doc__)
    parser.add_argument(
        "--checkout", type=Path, default=_CHECKOUT, help="the checkout whose services it may start"
    )
    checkout = parser.parse_args().checkout.resolve()
    # Messages alone go out on the pipe; whatever else prints goes to standard error.
    answers = os.dup(1)
    os.dup2(2, 1)
    _raise_open_files_limit()
    return FarEnd(0, answers, checkout).run()


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads that still wait for a line have nobody to tell.
    os._exit(code)
