"""A peer of HTTP/2 on a plain socket: it sends what a test gives it, byte for byte, and reads
what comes back."""

import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from hpack import Decoder

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from tests.fakes.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    headers,
    message,
    settings,
)

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


class Frame(NamedTuple):
    """A frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Answer:
    """What came on a stream: fields of its head and trailers, its data, and the code of a reset."""

    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset_with: int | None = None

    @property
    def status(self) -> int | None:
        """Of gRPC, if there is one."""
        found = self.fields.get("grpc-status")
        return None if found is None else int(found)

    @property
    def payment(self) -> Payment:
        """Of an answer that is whole and good."""
        assert (self.fields[":status"], self.status, self.ended) == ("200", 0, True), self
        assert self.body[:5] == struct.pack(">BI", 0, len(self.body) - 5)
        return Payment.FromString(self.body[5:])


@dataclass
class Ending:
    """How a connection ended: the codes of the GOAWAYs before it closed, and the last stream that
    the last of them names."""

    codes: list[int] = field(default_factory=list)
    last_stream: int | None = None
    after_s: float = 0.0

    @property
    def code(self) -> int | None:
        """Of the last GOAWAY; None where there was none."""
        return self.codes[-1] if self.codes else None


class Peer(AbstractContextManager["Peer"]):
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
        self._socket = socket.socket()
        if received_bytes is not None:  # set before the connection, so that its window is as small
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received_bytes)
        self._socket.settimeout(DEADLINE_S)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self._opened_s = time.monotonic()
        self._acknowledges = acknowledges
        self._received = bytearray()
        self._block = bytearray()
        self._decoder = Decoder()
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        self.ending = Ending()
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
        while (found := self._cut()) is None:
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
            self._received += data
        self._book(found)
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

    def _cut(self) -> Frame | None:
        received = self._received
        if len(received) < 9:
            return None
        size = int.from_bytes(received[:3], "big")
        if len(received) < 9 + size:
            return None
        kind, flags, stream = struct.unpack_from(">BBI", received, 3)
        found = Frame(kind, flags, stream, bytes(received[9 : 9 + size]))
        del received[: 9 + size]
        return found

    def _book(self, found: Frame) -> None:
        kind, flags, stream, payload = found
        match kind:
            case _ if kind in (HEADERS, CONTINUATION):
                self._block += payload
                if flags & END_HEADERS:
                    fields = self._decoder.decode(bytes(self._block))
                    self.answers.setdefault(stream, Answer()).fields.update(fields)  # type: ignore[arg-type]
                    self._block.clear()
            case _ if kind == DATA:
                self.answers.setdefault(stream, Answer()).body += payload
            case _ if kind == RST_STREAM:
                code = int.from_bytes(payload, "big")
                self.answers.setdefault(stream, Answer()).reset_with = code
            case _ if kind == SETTINGS and not flags & ACK:
                self.settings.update(struct.iter_unpack(">HI", payload))
                if self._acknowledges:
                    self.send(frame(SETTINGS, ACK, 0))
            case _ if kind == GOAWAY:
                self.ending.last_stream, code = struct.unpack_from(">II", payload)
                self.ending.codes.append(code)
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.answers[stream].ended = True


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
