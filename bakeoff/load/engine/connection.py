"""A keep-alive HTTP/1.1 connection: one request, then its answer, then the next request.

This is, with `lane` and `client`, the path that every request takes, so it trades some calls for
straight lines.
"""

import asyncio
from os import write as os_write
from time import monotonic_ns
from typing import Protocol, cast

import httptools


class Owner(Protocol):
    """Who is told what becomes of a request, and that the connection is gone."""

    def answered(self, done_ns: int, status: int, body: bytes, received: list[bytes]) -> None:
        """The answer is whole."""

    def broken(self, done_ns: int, reason: str) -> None:
        """There will be no whole answer to the request under way."""

    def lost(self) -> None:
        """The connection is closed."""


class Connection(asyncio.Protocol):
    """The protocol of one TCP connection.

    While `ready`, its owner may send a request: sets `ready` to False and calls `write`.
    """

    __slots__ = (
        "_body",
        "_closing",
        "_descriptor",
        "_feed",
        "_keep_alive",
        "_owner",
        "_parser",
        "_received",
        "_status",
        "_transport",
        "_whole",
        "ready",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._received: list[bytes] = []
        self._body: list[bytes] = []
        self._status = 0
        # Answers that have ended since the request was sent.
        self._whole = 0
        self._keep_alive = True
        self._closing = False
        self.ready = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        self._descriptor = -1 if transport.get_extra_info("ssl_object") else sock.fileno()
        self.ready = True

    def write(self, request: bytes) -> None:
        """Sends now what uvloop would send at the end of this turn of the loop."""
        written = 0
        if self._descriptor >= 0:
            try:
                written = os_write(self._descriptor, request)
            except OSError:
                # The transport finds out what is wrong, and says so to `connection_lost`.
                written = 0
        if written < len(request):
            assert self._transport is not None
            self._transport.write(request[written:])

    def data_received(self, data: bytes) -> None:
        now = monotonic_ns()
        if self.ready or self._closing:
            # Nobody asked for anything: the connection is out of step.
            self.abort()
            return
        self._received.append(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._break(now, f"bad HTTP answer: {error}")
            return
        whole = self._whole
        if whole == 1:
            if self._keep_alive:
                self.ready = True
            else:
                self.close()
            received, pieces = self._received, self._body
            self._received = []
            self._whole = 0
            if len(pieces) == 1:
                # The usual case; the list is used again.
                body = pieces.pop()
            else:
                body = b"".join(pieces)
                self._body = []
            self._owner.answered(now, self._status, body, received)
        elif whole:
            self._break(now, "bad HTTP answer: more than one")

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """httptools: a message has ended; 1xx announce another."""
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
            self._whole += 1
            # Only here: the parser forgets it with the message.
            self._keep_alive = self._parser.should_keep_alive()

    def eof_received(self) -> None:
        """The server closes; so do we."""

    def connection_lost(self, error: Exception | None) -> None:
        now = monotonic_ns()
        under_way = not self.ready and not self._closing
        self.ready = False
        self._closing = True
        if under_way:
            if error is None and self._ended_by_close():
                status = self._parser.get_status_code()
                self._owner.answered(now, status, b"".join(self._body), self._received)
            else:
                self._owner.broken(now, f"connection lost: {error or 'closed by the server'}")
        self._owner.lost()

    def abort(self) -> None:
        """Closes at once; the owner hears `lost`, and `broken` for a request under way does not
        come any more."""
        self.ready = False
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Closes an idle connection."""
        self.ready = False
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def _break(self, now: int, reason: str) -> None:
        self.abort()
        self._owner.broken(now, reason)

    def _ended_by_close(self) -> bool:
        """An answer without length, which ends where the connection does (RFC 9112, 6.3)."""
        head, end, _ = b"".join(self._received).partition(b"\r\n\r\n")
        head = head.lower()
        return bool(end) and b"\ncontent-length:" not in head and b"\ntransfer-" not in head
