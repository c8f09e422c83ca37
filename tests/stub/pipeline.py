"""A connection of HTTP/2 that makes many calls at once, and checks each answer."""

import asyncio
import struct
from collections.abc import Iterable
from typing import Self, cast

from hpack import Decoder

from stub_payment.payments import payment_of_invoice
from tests.fakes.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    literal,
    message,
    settings,
    window_update,
)
from tests.stub.peer import CALL, asked

DEADLINE_S = 120.0
_MAXIMUM_WINDOW = 2**31 - 1
_BEGINNING = b"".join(literal(name.encode(), value.encode()) for name, value in CALL.items())
_ASKED = asked()
_ANSWER = message(payment_of_invoice("inv-1").SerializeToString())
_NO_TABLE = b"\x20"


class Pipeline(asyncio.Protocol):
    """The connection. Each of its calls asks for the payment of the same invoice."""

    def __init__(self) -> None:
        self.good = 0
        # What went wrong: answers that are not as they should be, resets, a GOAWAY, an end.
        self.bad: list[str] = []
        self._transport: asyncio.Transport
        self._decoder = Decoder()
        self._rest = b""
        self._bodies: dict[int, bytes] = {}
        self._next = 1
        self._first = _NO_TABLE  # of the first header block
        self._wanted = 0
        self._all = asyncio.Event()

    @classmethod
    async def connect(cls, port: int) -> Self:
        """An open connection."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(cls, "127.0.0.1", port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(
            PREFACE
            + settings((INITIAL_WINDOW_SIZE, _MAXIMUM_WINDOW))
            + window_update(0, _MAXIMUM_WINDOW - 65_535)
        )

    def connection_lost(self, error: Exception | None) -> None:
        if self.good < self._wanted:
            self._fail(f"the connection ended: {error}")

    def send(self, request_ids: Iterable[str] = ("",)) -> None:
        """Calls in one write, each with its request ID unless that is empty."""
        parts = []
        for request_id in request_ids:
            field = literal(b"x-request-id", request_id.encode()) if request_id else b""
            block = self._first + _BEGINNING + field
            parts.append(frame(HEADERS, END_HEADERS, self._next, block))
            parts.append(frame(DATA, END_STREAM, self._next, _ASKED))
            self._first = b""
            self._next += 2
            self._wanted += 1
        self._all.clear()
        self._transport.write(b"".join(parts))

    async def done(self, deadline_s: float = DEADLINE_S) -> None:
        """Waits till all calls are answered, or something went wrong."""
        if self.good < self._wanted and not self.bad:
            async with asyncio.timeout(deadline_s):
                await self._all.wait()
        assert not self.bad, self.bad

    async def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        position, size = 0, len(data)
        while size - position >= 9:
            end = position + 9 + int.from_bytes(data[position : position + 3], "big")
            if end > size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", data, position + 3)
            self._frame(kind, flags, stream, data[position + 9 : end])
            position = end
        self._rest = data[position:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._bodies[stream] = self._bodies.get(stream, b"") + payload
        elif kind == HEADERS:
            fields = dict(self._decoder.decode(payload))
            if flags & END_STREAM:
                self._ended(stream, fields.get("grpc-status"))  # type: ignore[call-overload]
            elif fields.get(":status") != "200":  # type: ignore[call-overload]
                self._fail(f"stream {stream}: {fields}")
        elif kind == SETTINGS and not flags & ACK:
            self._transport.write(frame(SETTINGS, ACK, 0))
        elif kind in (RST_STREAM, GOAWAY):
            self._fail(f"a frame of type {kind} for stream {stream}: {payload!r}")

    def _ended(self, stream: int, status: object) -> None:
        body = self._bodies.pop(stream, b"")
        if (status, body) != ("0", _ANSWER):
            self._fail(f"stream {stream}: status {status}, {len(body)} bytes")
            return
        self.good += 1
        if self.good == self._wanted:
            self._all.set()

    def _fail(self, what: str) -> None:
        self.bad.append(what)
        self._all.set()
