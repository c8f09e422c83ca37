"""The pipe to a far end, from this side: requests out, answers and events in."""

import contextlib
import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from itertools import count
from typing import Any, TypeVar

import msgspec

from bakeoff.errors import HostError
from bakeoff.hosts import protocol

_T = TypeVar("_T")

_READ_BYTES = 1 << 16
_BEAT_S = 1.0
_DIAGNOSTIC_LINES = 20
# Longer than the far end needs to end everything.
_END_DEADLINE_S = 15.0
_ANSWER_DEADLINE_S = 30.0


class Connection:
    """Speaks with one far end; may be used from several threads.

    `on_event` gets what the far end says unasked, `on_lost` is called once when it is gone.
    """

    def __init__(
        self,
        host: str,
        command: Sequence[str],
        run_id: str,
        on_event: Callable[[protocol.Ended | protocol.Samples], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._host = host
        self._command = list(command)
        self._on_event = on_event
        self._on_lost = on_lost
        self._numbers = count(1)
        self._waiting: dict[int, Future[msgspec.Raw]] = {}
        self._lock = threading.Lock()
        self._lost: str | None = None
        self._closing = threading.Event()
        self._diagnostics: deque[str] = deque(maxlen=_DIAGNOSTIC_LINES)
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        try:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, protocol.RUN_ID_VARIABLE: run_id},
                # Ctrl-C in a terminal is for us to decide about, not for the command.
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise HostError(
                f"cannot reach the host {host!r}: {self._command[0]}: {error.strerror} "
                f"(key `hosts.{host}.command` of the experiment)"
            ) from error
        # The reader waits for the last diagnostics, so their thread starts before it.
        self._diagnosing = threading.Thread(target=self._read_diagnostics, daemon=True)
        work = (self._write, self._read, self._beat)
        self._threads = [
            self._diagnosing,
            *(threading.Thread(target=one, daemon=True) for one in work),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def lost(self) -> str | None:
        """Why nothing can be asked any more, or None."""
        return self._lost

    def ask(
        self, request: type[protocol.Request], deadline_s: float = _ANSWER_DEADLINE_S, **fields: Any
    ) -> msgspec.Raw:
        """Sends a request and waits for its answer; HostError where it is refused, does not come
        in time, or the far end is gone."""
        future: Future[msgspec.Raw] = Future()
        number = next(self._numbers)
        try:
            line = protocol.line_of(request(number, **fields))
        except (protocol.ProtocolError, TypeError, UnicodeEncodeError) as error:
            raise HostError(f"cannot ask the host {self._host!r}: {error}") from error
        with self._lock:
            if self._lost is not None:
                raise HostError(self._lost)
            self._waiting[number] = future
        self._outgoing.put(line)
        try:
            return future.result(deadline_s)
        except FutureTimeoutError as error:
            raise HostError(
                f"the host {self._host!r} has not answered in {deadline_s:g} s{self.diagnostics()}"
            ) from error
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def ask_for(self, answer: type[_T], request: type[protocol.Request], **fields: Any) -> _T:
        """`ask`, with the answer as a type."""
        return msgspec.json.decode(self.ask(request, **fields), type=answer)

    def diagnostics(self) -> str:
        """What the command has written to its standard error, to put behind a message."""
        lines = "\n  ".join(self._diagnostics)
        return f"; its last words:\n  {lines}" if lines else ""

    def close(self) -> None:
        """Ends the conversation, on which the far end ends all it started, and waits for that."""
        self._closing.set()
        self._outgoing.put(None)
        try:
            self._popen.wait(_END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        for thread in self._threads:
            thread.join(_END_DEADLINE_S)
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()

    def _write(self) -> None:
        stream = self._popen.stdin
        assert stream is not None
        with contextlib.suppress(OSError), stream:
            while (line := self._outgoing.get()) is not None:
                view = memoryview(line)
                while view:
                    view = view[stream.write(view) or 0 :]

    def _read(self) -> None:
        stream = self._popen.stdout
        assert stream is not None
        lines = protocol.Lines()
        why = "has gone"
        try:
            while data := stream.read(_READ_BYTES):
                for line in lines.feed(data):
                    self._take(protocol.decode_far_message(line))
        except (protocol.ProtocolError, msgspec.DecodeError) as error:
            why = f"does not speak our language ({error}); does its command print something else?"
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        self._lose(why)

    def _take(self, message: protocol.AnyFarMessage) -> None:
        if not isinstance(message, protocol.Answer):
            self._on_event(message)
            return
        if message.id is None:
            self._diagnostics.append(message.error or "")
            return
        with self._lock:
            future = self._waiting.pop(message.id, None)
        if future is None:
            return
        if message.error is None:
            future.set_result(message.ok)
        else:
            future.set_exception(HostError(f"the host {self._host!r} refuses: {message.error}"))

    def _lose(self, why: str) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Its last words are on the way.
            self._popen.wait(1.0)
            self._diagnosing.join(1.0)
        message = (
            f"the host {self._host!r} {why} (command: {' '.join(self._command)}, exit code "
            f"{self._popen.poll()}){self.diagnostics()}"
        )
        with self._lock:
            self._lost = message
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(HostError(message))
        self._on_lost()
        self._outgoing.put(None)

    def _read_diagnostics(self) -> None:
        stream = self._popen.stderr
        assert stream is not None
        rest = b""
        with contextlib.suppress(OSError):
            while data := stream.read(_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                self._diagnostics.extend(line.decode(errors="replace") for line in lines)
                rest = rest[-_READ_BYTES:]
        if rest:
            self._diagnostics.append(rest.decode(errors="replace"))

    def _beat(self) -> None:
        while not self._closing.wait(_BEAT_S) and self._lost is None:
            self._outgoing.put(protocol.line_of(protocol.Beat(next(self._numbers))))
