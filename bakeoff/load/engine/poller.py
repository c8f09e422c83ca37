"""The sockets of one run, in an epoll of their own that the event loop watches as one file.

A loop's own stream costs a microsecond or more for each answer. Here whatever is ready is read in
one turn, and by its edge: the kernel does not look at a socket again that has been read empty. What
the answers of a turn give to send goes out together when all are read: a server that answers faster
than we ask would else fall asleep after each request, and each would pay for waking it.
"""

import asyncio
from collections.abc import Callable
from os import write as os_write
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll
from time import monotonic_ns
from typing import Protocol

# The other end has nothing more to send, or never will.
ENDED = EPOLLRDHUP | EPOLLHUP | EPOLLERR
_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
# At once, so that timers and others have their turn, and what is to be sent does not wait long.
_EVENTS_A_TURN = 64

OnReady = Callable[[int], None]


class Stamped(Protocol):
    """Whose request it is."""

    # When it was sent.
    sent_ns: int


class Sender(Protocol):
    """Who has something to send at the end of a turn, unless it is closing by then."""

    closing: bool
    # A socket that does not block, and what it is to send.
    descriptor: int
    unsent: bytes

    @property
    def owner(self) -> Stamped:
        """Who is told when it was sent."""

    def refused(self, error: OSError) -> int:
        """Hears that a write failed, or would block; gives what was written, 0 bytes."""


class Poller:
    """Calls `on_ready(events)` for each socket in it that has news, sends for those who put
    themselves into `senders` while `in_turn`, and calls `after_turn`; until it is closed. The loop
    takes a turn when there is news; so may anyone."""

    def __init__(self, after_turn: Callable[[], None]) -> None:
        self._after_turn = after_turn
        self._loop = asyncio.get_running_loop()
        self._epoll = epoll()
        self._poll = self._epoll.poll
        self._on_ready: dict[int, OnReady] = {}
        self.in_turn = False
        self.senders: list[Sender] = []
        self._loop.add_reader(self._epoll.fileno(), self.turn)

    def add(self, descriptor: int, on_ready: OnReady) -> None:
        """Watches a socket; both ends of its news: readable, and writable again."""
        self._on_ready[descriptor] = on_ready
        self._epoll.register(descriptor, _EVENTS)

    def remove(self, descriptor: int) -> None:
        """Forgets a socket, which must still be open."""
        del self._on_ready[descriptor]
        self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Hears nothing any more; may be called twice."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._on_ready.clear()

    def turn(self) -> None:
        """Reads what there is."""
        on_ready = self._on_ready
        self.in_turn = True
        try:
            for descriptor, events in self._poll(0, _EVENTS_A_TURN):
                # Still there: a socket is closed by its own news, or in a turn of the loop's.
                on_ready[descriptor](events)
        finally:
            self.in_turn = False
            self._send()
        self._after_turn()

    def _send(self) -> None:
        senders, self.senders = self.senders, []
        for sender in senders:
            if sender.closing:
                continue
            unsent = sender.unsent
            sender.owner.sent_ns = monotonic_ns()
            try:
                written = os_write(sender.descriptor, unsent)
            except OSError as error:
                written = sender.refused(error)
            sender.unsent = b"" if written == len(unsent) else unsent[written:]
