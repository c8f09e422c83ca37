"""A lane whose tasks are plain functions that return one request each: nobody waits for an answer.

This is, with `answers`, `sockets`, `poller` and `requests`, the path that most requests take, so it
trades some calls for straight lines, and looks up a function that an object holds before it calls
it: CPython 3.11 remembers where such an attribute is, but not where one is that is called at once.
Between two answers the kernel has had the processor's caches, so each function that is entered
costs several times what it costs in a loop of its own.
"""

from time import monotonic_ns
from zlib import crc32

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.lane import Arrival, Lane, Pacer
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.target import Target

_NO_REQUEST = "a task that is not `async def` must return its request: return self.request.get(…)"


class RequestLane(Lane):
    """Asks a task for its request, sends it, and asks the next when the answer is there."""

    def __init__(self, target: Target, books: Books, poller: Poller, pacer: Pacer) -> None:
        super().__init__(target, books, poller, pacer)
        self._record = books.rows.extend

    @property
    def occupied(self) -> bool:
        return self.sent_ns > 0

    @property
    def silent(self) -> bool:
        """Never: an arrival that could not send anything is over."""
        return False

    def start(self, arrival: Arrival, mark: int) -> None:
        number, draw, due_ns = arrival
        choose = self.choose
        user, function = self.tasks[0 if choose is None else choose(number)]
        user.arrival = number
        user.draw = draw
        try:
            request = function(user)
            if request.__class__ is not tuple:
                raise TypeError(_NO_REQUEST)
            data, tag, self._expect = request
            self._tag = tag + mark
        except Exception as error:  # noqa: BLE001 - whatever a task raises
            self._sent_nothing(error)
            return
        connection = self.connection
        connection.ready = False
        self.sent_ns = monotonic_ns()
        self._due_ns = due_ns
        connection.write(data)

    def answered(self, done_ns: int, status: int, body: bytes, received: bytes) -> bytes | None:
        expect = self._expect
        if status >= wire.ERROR if expect is None else status != expect:
            status += wire.UNEXPECTED
        sent_ns, self.sent_ns = self.sent_ns, 0
        record = self._record
        record(
            (self._due_ns or sent_ns, sent_ns, done_ns, status, len(body), crc32(body), self._tag)
        )
        # As in `begin`: whoever is answered is neither parked nor occupied.
        connection = self.connection
        if not connection.ready:
            return None
        pacer = self.pacer
        arrivals = pacer.at_once
        if arrivals is None:
            arrival = pacer.take(self)
            if arrival is None:
                return None
        else:
            pacer.begun += 1
            arrival = next(arrivals)
        # As in `start`, spelled out, but for the sending.
        number, draw, due_ns = arrival
        choose = self.choose
        user, function = self.tasks[0 if choose is None else choose(number)]
        user.arrival = number
        user.draw = draw
        try:
            request = function(user)
            if request.__class__ is not tuple:
                raise TypeError(_NO_REQUEST)
            data, tag, self._expect = request
            self._tag = tag + pacer.mark_taken
        except Exception as error:  # noqa: BLE001 - whatever a task raises
            self._sent_nothing(error)
            return None
        self._due_ns = due_ns
        # Neither 0 nor before it was due, until whoever sends it says when.
        self.sent_ns = due_ns or done_ns
        connection.ready = False
        return data  # type: ignore[no-any-return]

    def gave_up(self, reason: str) -> None:
        """The next arrival comes with the next connection."""

    def _sent_nothing(self, error: Exception) -> None:
        """A task has given no request."""
        raised = error.__traceback__
        if raised is not None:
            if raised.tb_next is None and isinstance(error, ValueError):
                # Unpacked here: the task has returned a tuple, which is no request.
                error = TypeError(_NO_REQUEST)
            # Without who called the task, which would make two errors of one.
            error = error.with_traceback(raised.tb_next)
        self.books.task_failed(error)
        self.books.empty += 1
        # Not at once: others must have their turn, too.
        self.loop.call_soon(self.begin)
