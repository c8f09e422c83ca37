"""The far end's output: messages in order, from any thread, without waiting for the reader."""

import os
import queue
import threading

from bakeoff.hosts import protocol

_FLUSH_DEADLINE_S = 1.0
# When the other side does not read, samples are dropped: the gap shows in their times.
_QUEUE_LIMIT = 10_000


class Writer:
    """Writes messages in a thread of its own, so that nothing waits for the other side."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, message: protocol.FarMessage) -> None:
        """Queues a message; samples only while the queue is short."""
        if isinstance(message, protocol.Samples) and self._queue.qsize() > _QUEUE_LIMIT:
            return
        self._queue.put(protocol.line_of(message))

    def close(self) -> None:
        """Gives the other side a moment to read what is queued."""
        self._queue.put(None)
        self._thread.join(_FLUSH_DEADLINE_S)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            view = memoryview(line)
            while view:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except OSError:
                    # The reading side is gone; so is the input, which ends us.
                    return
