"""The answers of one keep-alive HTTP/1.1 connection: one request, then its answer, and so on.

This is, with `sockets` and the lanes, the path that every request takes, so it trades some calls
for straight lines.
"""

from abc import ABC, abstractmethod
from time import monotonic_ns
from types import SimpleNamespace
from typing import Protocol

import httptools

# Statuses under it announce another answer (RFC 9110, 15.2).
_FINAL = 200
_END_OF_HEAD = b"\r\n\r\n"

# What the parser has made of answers that keep the connection alive, by their heads, which say all
# but the body: how long one is with its body, and its status. Most services repeat their heads for
# a second, until the next date, and looking one up costs a third of parsing it again.
_known: dict[bytes, tuple[int, int]] = {}
_KNOWN_AT_MOST = 256
# Where most heads are new, by a request ID perhaps, a connection that has looked in vain so much
# more often than not looks up one in so many only.
_PATIENCE = 32


class Owner(Protocol):
    """Who is told what becomes of a request, and that the connection is gone."""

    # When the request was sent, as its owner has it (not 0); set again by who sends it later.
    sent_ns: int

    def answered(self, done_ns: int, status: int, body: bytes, received: bytes) -> bytes | None:
        """The answer is whole; `received` is all of it as it came.

        Gives the next request for the connection to send, if it is `ready` and there is one at
        once; then `ready` and `sent_ns` are set as before a `write`."""

    def broken(self, done_ns: int, reason: str) -> None:
        """There will be no whole answer to the request under way."""

    def lost(self) -> None:
        """The connection is closed."""


class Connection(ABC):
    """What all connections do with what they receive.

    While `ready`, its owner may send a request: sets `ready` to False and calls `write`. Or it
    gives it back when it is told of an answer.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        # Of the answer under way: the pieces of its body, what of it has come before its end, and
        # the status and the keep-alive of each message that has ended (1xx announce another).
        self._body: list[bytes] = []
        self._begun: list[bytes] = []
        self._ends: list[tuple[int, bool]] = []
        self._parser = self._new_parser()
        self._feed = self._parser.feed_data
        # Whether what comes next may begin with a known head: it is no rest of an answer, it is not
        # the last, and not too many of those before were new.
        self._looks = True
        # How many more heads were new, or not looked up, than known.
        self._missed = 0
        self.closing = False
        self._last = False
        self.ready = False

    @abstractmethod
    async def open(self) -> None:
        """Connects; OSError where that fails."""

    @abstractmethod
    def write(self, request: bytes) -> None:
        """Sends now, or with the others of a turn of the poller's."""

    @abstractmethod
    def abort(self) -> None:
        """Closes at once; the owner hears `lost`, and `broken` for a request under way does not
        come any more."""

    def data_received(self, data: bytes) -> bytes | None:
        """Some bytes have come; gives the next request, if there is one at once."""
        now = monotonic_ns()
        if self.ready:
            # Nobody asked for anything: the connection is out of step.
            self.abort()
            return None
        if self._looks:
            end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
            known = _known.get(data[:end])
            if known is not None and known[0] == len(data):
                if self._missed:
                    self._missed -= 1
                self.ready = True
                return self.owner.answered(now, known[1], data[end:], data)
        return self._parse(now, data)

    def _parse(self, now: int, data: bytes) -> bytes | None:
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._break(now, f"bad HTTP answer: {error}")
            return None
        except httptools.HttpParserUpgrade:
            self._break(now, "bad HTTP answer: it leaves HTTP")
            return None
        ends, pieces = self._ends, self._body
        if len(ends) == 1 >= len(pieces) and ends[0][0] >= _FINAL and not self._begun:
            # The usual case: all of it in one read.
            status, keep_alive = ends.pop()
            body = pieces.pop() if pieces else b""
            self._missed += 1
            if self._looks or not self._missed % _PATIENCE:
                self._met(data, len(body), status, keep_alive)
        else:
            pieced = self._pieced_together(now, data)
            if pieced is None:
                return None
            status, keep_alive, body, data = pieced
        if keep_alive and not self._last:
            self.ready = True
        else:
            self.abort()
        return self.owner.answered(now, status, body, data)

    def _expect_last(self) -> None:
        """What is being read is the last answer: the other end has sent all that it ever will, or
        the connection is out of step."""
        self._last = True
        self._looks = False

    def _pieced_together(self, now: int, data: bytes) -> tuple[int, bool, bytes, bytes] | None:
        """Status, keep-alive, body and all of an answer that was not whole in one read, if it is
        whole now."""
        self._begun.append(data)
        self._looks = False
        ends, pieces = self._ends, self._body
        while ends and ends[0][0] < _FINAL:
            del ends[0]
        if not ends:
            return None
        if len(ends) > 1:
            self._break(now, "bad HTTP answer: more than one")
            return None
        body, whole = b"".join(pieces), b"".join(self._begun)
        pieces.clear()
        self._begun.clear()
        self._looks = self._missed < _PATIENCE
        return *ends.pop(), body, whole

    def _met(self, data: bytes, body_bytes: int, status: int, keep_alive: bool) -> None:
        """Remembers the head of an answer that was not known, or not looked up."""
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if keep_alive and end + body_bytes == len(data):
            if len(_known) >= _KNOWN_AT_MOST:
                # Of seconds that are over, by their dates.
                _known.clear()
            _known[data[:end]] = (len(data), status)
        self._looks = self._missed < _PATIENCE or not self._missed % _PATIENCE

    def _new_parser(self) -> httptools.HttpResponseParser:
        """With each message's end its status and its keep-alive, which the parser forgets with it,
        go to `_ends`: without a Python frame, by iterators that never end."""
        parser = httptools.HttpResponseParser.__new__(httptools.HttpResponseParser)
        statuses, alive = iter(parser.get_status_code, None), iter(parser.should_keep_alive, None)
        ends = map(self._ends.append, zip(statuses, alive, strict=True))
        heard = SimpleNamespace(on_body=self._body.append, on_message_complete=ends.__next__)
        parser.__init__(heard)  # type: ignore[misc]
        return parser

    def _ended(self, error: Exception | None) -> None:
        """The connection is closed, by the other end or by us."""
        now = monotonic_ns()
        under_way = not self.ready and not self.closing
        self.ready = False
        self.closing = True
        if under_way:
            if error is None and self._ended_by_close():
                status = self._parser.get_status_code()
                received = b"".join(self._begun)
                self.owner.answered(now, status, b"".join(self._body), received)
            else:
                self.owner.broken(now, f"connection lost: {error or 'closed by the server'}")
        self.owner.lost()

    def _break(self, now: int, reason: str) -> None:
        self.abort()
        self.owner.broken(now, reason)

    def _ended_by_close(self) -> bool:
        """An answer without length, which ends where the connection does (RFC 9112, 6.3)."""
        head, end, _ = b"".join(self._begun).partition(_END_OF_HEAD)
        head = head.lower()
        return bool(end) and b"\ncontent-length:" not in head and b"\ntransfer-" not in head
