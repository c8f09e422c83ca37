"""A payment provider that may do anything: HTTP/2 frames by hand, behind a loop of its own.

It reads no header: which method is called shows in the message. RFC 9113 has the frames.
"""

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

from bakeoff.owner import Owner
from protos.payment.v1.payment_pb2 import (
    PAYMENT_STATUS_SUCCEEDED,
    CreatePaymentRequest,
    GetPaymentRequest,
    Payment,
)
from stub_payment.payments import payment_id_of_key, payment_of_invoice
from tests.fakes.http2 import (
    ACK,
    DATA,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS,
    frame,
    headers,
    message,
    reset,
    window_update,
)
from tests.running.background import Background

CHARGED_AT_MS = 1_767_323_045_678


class Call:
    """A call that was received whole."""

    def __init__(self, connection: "_Connection", stream: int, content: bytes) -> None:
        self.connection = connection
        self.stream = stream
        self._content = content

    def payment(self) -> Payment:
        """What a good provider answers. A charge is executed, once for its key."""
        wish = CreatePaymentRequest.FromString(self._content)
        if not wish.invoice_id:
            return payment_of_invoice(GetPaymentRequest.FromString(self._content).invoice_id)
        self.connection.provider.charges[wish.invoice_id].add(wish.idempotency_key)
        return Payment(
            payment_id=payment_id_of_key(wish.idempotency_key),
            invoice_id=wish.invoice_id,
            status=PAYMENT_STATUS_SUCCEEDED,
            amount_cents=wish.amount_cents,
            currency=wish.currency,
            updated_at_unix_ms=CHARGED_AT_MS,
            idempotency_key=wish.idempotency_key,
        )

    def head(self, status: str = "200", end: bool = False, /, **changes: str) -> bytes:
        """The frame that an answer begins with; `status` is HTTP's."""
        fields = {":status": status, "content-type": "application/grpc"}
        return headers(self.stream, fields | changes, end=end)

    def body(self, content: bytes, *, end: bool = False) -> bytes:
        """A DATA frame."""
        return frame(DATA, END_STREAM if end else 0, self.stream, content)

    def tail(self, status: str = "0", **more: str) -> bytes:
        """The frame that an answer ends with."""
        return headers(self.stream, {"grpc-status": status, **more}, end=True)

    def reset(self, code: int) -> bytes:
        """A frame that ends the call with an error code of HTTP/2."""
        return reset(self.stream, code)

    def write(self, *frames: bytes) -> None:
        """Sends frames; the call goes on."""
        self.connection.write(b"".join(frames))

    def end(self, *frames: bytes) -> None:
        """Sends the frames that end the call."""
        self.connection.open.discard(self.stream)
        self.write(*frames)

    def answer_frames(self) -> bytes:
        """A good answer."""
        content = message(self.payment().SerializeToString())
        return self.head() + self.body(content) + self.tail()


Behaviour = Callable[[Call], None]


def good(call: Call) -> None:
    """Answers as it should."""
    call.end(call.answer_frames())


class _Connection(asyncio.Protocol):
    def __init__(self, provider: "Provider") -> None:
        self.provider = provider
        self.open: set[int] = set()
        self._received = bytearray()
        self._bodies: dict[int, bytearray] = {}
        self._transport: asyncio.Transport
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.provider.connections.add(self)
        self.provider.accepted += 1
        if self.provider.greeting is None:
            self.write(frame(SETTINGS, 0, 0))
        elif self.provider.greeting:
            self.write(self.provider.greeting)

    def connection_lost(self, error: Exception | None) -> None:
        self.provider.connections.discard(self)
        self.open.clear()

    def data_received(self, data: bytes) -> None:
        if self.provider.greeting is not None:
            return
        self._received += data
        if not self._greeted:
            if len(self._received) < len(PREFACE):
                return
            assert self._received.startswith(PREFACE)
            del self._received[: len(PREFACE)]
            self._greeted = True
        while len(self._received) >= 9:
            size = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + size:
                return
            kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
            payload = bytes(self._received[9 : 9 + size])
            del self._received[: 9 + size]
            self._frame(kind, flags, stream, payload)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        match kind:
            case 1:  # HEADERS
                self.open.add(stream)
                self._bodies[stream] = bytearray()
            case 0:  # DATA
                if payload:
                    # What was read may be sent again.
                    self.write(window_update(0, len(payload)))
                if stream in self._bodies:
                    self._bodies[stream] += payload
            case 3:  # RST_STREAM
                self.open.discard(stream)
                self._bodies.pop(stream, None)
            case 4 if not flags & ACK:  # SETTINGS
                self.write(frame(SETTINGS, ACK, 0))
            case 6 if not flags & ACK:  # PING
                self.write(frame(PING, ACK, 0, payload))
        if kind in (HEADERS, DATA) and flags & END_STREAM and stream in self._bodies:
            content = bytes(self._bodies.pop(stream))
            self.provider.calls += 1
            self.provider.behaviour(Call(self, stream, content[5:]))

    def write(self, data: bytes) -> None:
        """Sends bytes, unless the connection is closed."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Ends the connection after what was sent."""
        self._transport.close()

    def abort(self) -> None:
        """Resets the connection."""
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


class Provider(Owner):
    """The provider, from entry to exit. `behaviour` is what it does with a call; a `greeting`
    that is not None is sent instead of all that HTTP/2 would have it say."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = good
        self.greeting: bytes | None = None
        self.connections: set[_Connection] = set()
        self.accepted = 0
        self.calls = 0
        # The keys under which an invoice was charged.
        self.charges: dict[str, set[str]] = defaultdict(set)
        self.port = 0
        self._server: asyncio.Server
        self._background: Background

    def _begin(self, stack: ExitStack) -> None:
        self._background = stack.enter_context(Background())
        self.listen()
        stack.callback(self.leave)

    @property
    def target(self) -> str:
        """Its entry in PAYMENT_TARGETS."""
        return f"127.0.0.1:{self.port}"

    @property
    def open_calls(self) -> int:
        """The calls that neither side has ended."""
        return sum(len(connection.open) for connection in list(self.connections))

    def listen(self) -> None:
        """Accepts connections, on the port that it had."""

        async def serve() -> asyncio.Server:
            loop = asyncio.get_running_loop()
            return await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)

        self._server = self._background.run(serve())
        self.port = self._server.sockets[0].getsockname()[1]

    def leave(self) -> None:
        """Accepts nothing more and resets all connections."""

        async def close() -> None:
            self._server.close()
            for connection in list(self.connections):
                connection.abort()
            await self._server.wait_closed()

        self._background.run(close())

    def behave(self, behaviour: Behaviour = good, greeting: bytes | None = None) -> None:
        """Sets what it does from now on; with another greeting, on connections that are new."""

        async def change() -> None:
            if greeting != self.greeting:
                for connection in list(self.connections):
                    connection.abort()
            self.behaviour, self.greeting = behaviour, greeting

        self._background.run(change())
