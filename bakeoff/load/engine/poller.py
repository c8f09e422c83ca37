"""The sockets of one run, in an epoll of their own that the event loop watches as one file.

A loop's own stream costs a microsecond or more for each answer. Here whatever is ready is read in
one turn, and by its edge: the kernel does not look at a socket again that has been read empty.
"""

import asyncio
from collections.abc import Callable
from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, epoll

# The other end has nothing more to send, or never will.
ENDED = EPOLLRDHUP | EPOLLHUP | EPOLLERR
_EVENTS = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
# At once, so that timers and others have their turn.
_EVENTS_A_TURN = 256

OnReady = Callable[[int], None]


class Poller:
    """Calls `on_ready(events)` for each socket in it that has news, and `after_turn` when all of a
    turn have been heard, until it is closed."""

    def __init__(self, after_turn: Callable[[], None]) -> None:
        self._after_turn = after_turn
        self._loop = asyncio.get_running_loop()
        self._epoll = epoll()
        self._poll = self._epoll.poll
        self._on_ready: dict[int, OnReady] = {}
        self._loop.add_reader(self._epoll.fileno(), self._turn)

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

    def _turn(self) -> None:
        on_ready = self._on_ready
        for descriptor, events in self._poll(0, _EVENTS_A_TURN):
            # Still there: a socket is closed by its own news, or in a turn of the loop's.
            on_ready[descriptor](events)
        self._after_turn()
