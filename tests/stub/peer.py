"""A peer of HTTP/2 on a plain socket: it sends what a test gives it, byte for byte, and reads
what comes back."""

import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Self

from protos.payment.v1.payment_pb2 import GetPaymentRequest
from tests.fakes.http2 import (
    ACK,
    DATA,
    END_STREAM,
    PING,
    PREFACE,
    SETTINGS,
    frame,
    headers,
    message,
    settings,
)
from tests.stub.received import Answer, Ending, Frame, Received

DEADLINE_S = 60.0
# Within which a connection is ended for what its peer did: sooner than for what it did not do.
PROMPT_S = 5.0
GET_PAYMENT = "/payment.v1.Payments/GetPayment"
# Of a unary call, before what a test adds.
CALL = {
    ":method": "POST",
    ":scheme": "http",
    ":path": GET_PAYMENT,
    ":authority": "stub",
    "te": "trailers",
    "content-type": "application/grpc",
}


class Peer(Received, AbstractContextManager["Peer"]):
    """A connection, from entry to exit. It says its preface and SETTINGS unless `greets` is False,
    and acknowledges those of the other side unless `acknowledges` is."""

    def __init__(
        self,
        port: int,
        *entries: tuple[int, int],
        greets: bool = True,
        acknowledges: bool = True,
        received_bytes: int | None = None,
    ) -> None:
        super().__init__()
        self._socket = socket.socket()
        if received_bytes is not None:  # set before the connection, so that its window is as small
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received_bytes)
        self._socket.settimeout(DEADLINE_S)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._opened_s = time.monotonic()
        self._acknowledges = acknowledges
        if greets:
            self.send(PREFACE, settings(*entries))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._socket.close()

    def send(self, *parts: bytes) -> Self:
        """Sends bytes at once. What the other side has closed takes no more."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(b"".join(parts))
        return self

    def send_each(self, parts: Iterable[bytes]) -> Self:
        """Sends bytes in segments of their own."""
        for part in parts:
            self.send(part)
        return self

    def hang_up(self) -> Self:
        """Says that nothing more comes."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        return self

    def frame(self, deadline_s: float = DEADLINE_S) -> Frame | None:
        """The next frame, which is booked; None when the connection has ended. AssertionError
        after the deadline."""
        give_up_at_s = time.monotonic() + deadline_s
        while (found := self.next_frame()) is None:
            self._socket.settimeout(max(0.001, give_up_at_s - time.monotonic()))
            try:
                data = self._socket.recv(1 << 18)
            except TimeoutError:
                raise AssertionError(f"nothing came within {deadline_s:g} s") from None
            except ConnectionResetError:
                data = b""
            if not data:
                self.ending.after_s = time.monotonic() - self._opened_s
                return None
            self.unread += data
        if found.kind == SETTINGS and not found.flags & ACK and self._acknowledges:
            self.send(frame(SETTINGS, ACK, 0))
        return found

    def until(
        self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S, why: str = ""
    ) -> Self:
        """Reads until something is so. AssertionError where the connection ends before."""
        give_up_at_s = time.monotonic() + deadline_s
        while not condition():
            assert self.frame(give_up_at_s - time.monotonic()) is not None, (why, self.ending)
        return self

    def answer(self, stream: int, deadline_s: float = DEADLINE_S) -> Answer:
        """What came on a stream, which has ended or been reset."""
        answer = self.answers.setdefault(stream, Answer())
        self.until(lambda: answer.ended or answer.reset_with is not None, deadline_s)
        return answer

    def end(self, deadline_s: float = DEADLINE_S) -> Ending:
        """Reads until the other side closes."""
        give_up_at_s = time.monotonic() + deadline_s
        while self.frame(give_up_at_s - time.monotonic()) is not None:
            pass
        return self.ending

    def pong(self) -> Self:
        """Waits until all that was sent has been read: a PING's answer tells."""
        mark = struct.pack(">d", time.monotonic())
        self.send(frame(PING, 0, 0, mark))
        while True:
            found = self.frame()
            assert found is not None, self.ending
            if found.kind == PING and found.payload == mark:
                return self


def call(
    stream: int,
    content: bytes | None = None,
    changes: Mapping[str, str | None] | None = None,
    *,
    end: bool = True,
) -> bytes:
    """The frames of a unary call: `content` is its DATA, by default a good request's; `changes`
    are to its header fields, None for one that is left out."""
    return head(stream, changes) + frame(
        DATA, END_STREAM if end else 0, stream, asked() if content is None else content
    )


def head(
    stream: int, changes: Mapping[str, str | None] | None = None, *, end: bool = False
) -> bytes:
    """The HEADERS of a unary call."""
    fields = {**CALL, **(changes or {})}
    return headers(
        stream, {name: value for name, value in fields.items() if value is not None}, end=end
    )


def asked(invoice_id: str = "inv-1") -> bytes:
    """The message of a good request."""
    return message(GetPaymentRequest(invoice_id=invoice_id).SerializeToString())
