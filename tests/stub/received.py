"""What a peer of HTTP/2 was sent: frames out of bytes, and the answers that they make up."""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from hpack import Decoder

from protos.payment.v1.payment_pb2 import Payment
from tests.fakes.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    SETTINGS,
)


class Frame(NamedTuple):
    """A frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        """Whether nothing may follow it on its stream."""
        return self.kind in (HEADERS, DATA) and bool(self.flags & END_STREAM)


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


class Received:
    """Bytes go in, frames come out and are booked."""

    def __init__(self) -> None:
        self.unread = bytearray()
        self._block = bytearray()
        self.decoder = Decoder()
        self.answers: dict[int, Answer] = {}
        self.settings: dict[int, int] = {}
        self.ending = Ending()

    def next_frame(self) -> Frame | None:
        """The next frame, which is booked; None where more has to come."""
        unread = self.unread
        if len(unread) < 9:
            return None
        size = int.from_bytes(unread[:3], "big")
        if len(unread) < 9 + size:
            return None
        kind, flags, stream = struct.unpack_from(">BBI", unread, 3)
        found = Frame(kind, flags, stream, bytes(unread[9 : 9 + size]))
        del unread[: 9 + size]
        self._book(found)
        return found

    def _book(self, found: Frame) -> None:
        kind, flags, stream, payload = found
        match kind:
            case _ if kind in (HEADERS, CONTINUATION):
                self._block += payload
                if flags & END_HEADERS:
                    fields = self.decoder.decode(bytes(self._block))
                    self.answers.setdefault(stream, Answer()).fields.update(fields)  # type: ignore[arg-type]
                    self._block.clear()
            case _ if kind == DATA:
                self.answers.setdefault(stream, Answer()).body += payload
            case _ if kind == RST_STREAM:
                code = int.from_bytes(payload, "big")
                self.answers.setdefault(stream, Answer()).reset_with = code
            case _ if kind == SETTINGS and not flags & ACK:
                self.settings.update(struct.iter_unpack(">HI", payload))
            case _ if kind == GOAWAY:
                self.ending.last_stream, code = struct.unpack_from(">II", payload)
                self.ending.codes.append(code)
        if found.ends_stream:
            self.answers[stream].ended = True
