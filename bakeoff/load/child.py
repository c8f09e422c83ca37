"""The engine as its Locust worker sees it: a child process at the other end of a pipe."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import gevent
from gevent.event import AsyncResult

from bakeoff.errors import StartError
from bakeoff.load import wire

_START_DEADLINE_S = 60.0
_END_DEADLINE_S = 2.0
# More than a batch, less than what the allocator would map anew for each read.
_READ = 96 << 10


class EngineProcess:
    """Starts an engine; `on_message` hears it, `on_death` hears that it is gone unasked."""

    def __init__(
        self,
        locustfiles: Sequence[str],
        on_message: Callable[[wire.FromEngine], None],
        on_death: Callable[[str], None],
    ) -> None:
        self._on_message = on_message
        self._on_death = on_death
        self._closing = False
        self._loaded: AsyncResult = AsyncResult()
        self._pipe, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "bakeoff.load.engine"),
                    *(str(theirs.fileno()), str(os.getpid()), *locustfiles),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Numpy's threads would only spin.
                env={**os.environ, "LOCUST_SKIP_MONKEY_PATCH": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        self._reader = gevent.spawn(self._read)

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def wait_until_loaded(self) -> None:
        """StartError where the Locust files cannot be loaded, or not in time."""
        try:
            failure = self._loaded.get(timeout=_START_DEADLINE_S)
        except gevent.Timeout:
            failure = f"it is not ready after {_START_DEADLINE_S:g} s"
        if failure:
            self.close()
            raise StartError(f"the load engine cannot start: {failure}")

    def send(self, order: wire.ToEngine) -> None:
        """Sends an order; an engine that is gone is heard of through `on_death`."""
        try:
            self._pipe.sendall(wire.encode(order))
        except OSError:
            self._pipe.close()

    def close(self) -> None:
        """Ends the engine and waits for its end."""
        self._closing = True
        self._pipe.close()
        try:
            self._process.wait(_END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        frames = wire.Frames()
        while True:
            try:
                data = self._pipe.recv(_READ)
            except OSError:
                data = b""
            if not data:
                break
            for body in frames.feed(data):
                self._hear(wire.from_engine(body))
        self._died()

    def _hear(self, message: wire.FromEngine) -> None:
        if isinstance(message, wire.Loaded):
            self._loaded.set(None)
        elif isinstance(message, wire.Failed) and message.run is None:
            self._loaded.set(message.reason)
        else:
            self._on_message(message)

    def _died(self) -> None:
        if self._closing:
            return
        code = self._process.wait()
        reason = f"the load engine (process {self.pid}) ended by itself, exit code {code}"
        if self._loaded.ready():
            self._on_death(reason)
        else:
            self._loaded.set(reason)
