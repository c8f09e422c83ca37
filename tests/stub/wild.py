"""Valid HTTP/2 as no usual client writes it, drawn from a seed."""

import base64
import itertools
import random
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from grpc_health.v1.health_pb2 import HealthCheckRequest
from hpack import Encoder
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from protos.payment.v1.payment_pb2 import CreatePaymentRequest, GetPaymentRequest
from tests.fakes.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PREFACE,
    PRIORITY,
    WITH_PRIORITY,
    frame,
    integer,
    message,
    settings,
    text,
    window_update,
)
from tests.stub.peer import CALL

TABLE_BYTES = 4096
CONTINUATIONS = 8
UNKNOWN_TYPES = range(0x0B, 0x100)
_PRINTABLE = [chr(code) for code in range(0x21, 0x7F)]
_NAME = "abcdefghijklmnopqrstuvwxyz0123456789-_."
_huffman = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@dataclass
class Connection:
    """What a client sends on one connection: segments, the streams that are to be answered, and
    the request IDs of its calls of the provider."""

    segments: list[bytes]
    streams: list[int]
    request_ids: list[str] = field(default_factory=list)
    # Whether it may acknowledge the other side's SETTINGS, which forbid it a table.
    acknowledges: bool = True


KEYS = 50  # of idempotency, so that some come again
SERVICES = ["", "nobody", "payment.v1"]
# What may be asked, as often as it comes: a kind, and a service for health.
DECK = [(kind, service) for kind in range(10) for service in SERVICES]


class Wild:
    """Draws connections. Without `pads` they are the same but for padding and segments."""

    def __init__(self, seed: int, *, pads: bool) -> None:
        self._seed = seed
        self._pads = pads
        self._random = random.Random(seed)
        self._form = random.Random(seed + 1)
        self._calls = 0
        self._keys: list[int] = []
        self._deck: list[tuple[int, str]] = []

    def connection(self, calls: int) -> Connection:
        """One with so many calls."""
        draw = self._random
        # Of the calls at once on a connection an engine may take any first: no two have one key.
        self._keys = draw.sample(range(KEYS), calls)
        table_bytes = draw.choice([0, draw.randrange(TABLE_BYTES), TABLE_BYTES])
        head = _HeadWriter(draw, table_bytes)
        streams = sorted(draw.sample(range(1, 100 * calls, 2), calls))
        made = Connection([], streams, acknowledges=table_bytes == 0)
        waiting = [list(self._call(stream, head, made)) for stream in streams]
        sent = [PREFACE + self._settings()]
        # Streams are opened in order, and then their frames take turns.
        opened: list[list[bytes]] = []
        while waiting or opened:
            if waiting and (not opened or draw.random() < 0.5):
                frames = waiting.pop(0)
            else:
                frames = opened.pop(draw.randrange(len(opened)))
            sent.append(frames.pop(0))
            if frames:
                opened.append(frames)
            sent += self._noise(streams)
        made.segments = list(self._segments(b"".join(sent)))
        return made

    def _call(self, stream: int, head: "_HeadWriter", made: Connection) -> Iterator[bytes]:
        """The header block, which is one piece, and then the frames of the data."""
        draw = self._random
        path, content = self._asked()
        self._calls += 1
        fields = {**CALL, ":path": path, "grpc-timeout": draw.choice(["60S", "1M", "60000m"])}
        fields |= dict(self._metadata())
        if "Payments/" in path and "Refund" not in path:
            made.request_ids.append(f"{self._seed}-{self._calls}")
            fields["x-request-id"] = made.request_ids[-1]
        yield self._headers(stream, head.block(fields))
        yield from self._data(stream, message(content))

    def _asked(self) -> tuple[str, bytes]:
        draw = self._random
        # All of the deck before any of it again, so that few calls are of every kind too.
        self._deck = self._deck or draw.sample(DECK, len(DECK))
        kind, service = self._deck.pop()
        match kind:
            case 0:
                return "/payment.v1.Payments/Refund", b""
            case 1:
                asked = HealthCheckRequest(service=service)
                return "/grpc.health.v1.Health/Check", asked.SerializeToString()
            case 2 | 3 | 4:
                charge = CreatePaymentRequest(
                    idempotency_key=f"{self._seed}-{self._keys.pop()}",
                    invoice_id=draw.choice(["inv-1", "", self._text()]),
                    amount_cents=draw.choice([1, 1200, 10**12, 0, -1]),
                    currency=draw.choice(["EUR", "eur", "", "USD"]),
                )
                return "/payment.v1.Payments/CreatePayment", charge.SerializeToString()
            case _:
                invoice_id = draw.choice(["", self._text(), "x" * draw.randrange(300), "\u263a"])
                content = GetPaymentRequest(invoice_id=invoice_id).SerializeToString()
                unknown = b"\xf8\x07\x01" * draw.randrange(3)
                return "/payment.v1.Payments/GetPayment", content + unknown

    def _text(self) -> str:
        return "".join(self._random.choices(_PRINTABLE, k=self._random.randrange(1, 60)))

    def _metadata(self) -> Iterator[tuple[str, str]]:
        draw = self._random
        for _ in range(draw.randrange(6)):
            name = "x-" + "".join(draw.choices(_NAME, k=draw.randrange(1, 30)))
            if draw.random() < 0.3:
                value = base64.b64encode(draw.randbytes(draw.randrange(30))).decode()
                yield name + "-bin", value.rstrip("=") if draw.random() < 0.5 else value
            else:
                yield name + "x", self._text()

    def _headers(self, stream: int, block: bytes) -> bytes:
        draw = self._random
        cuts = draw.choice([0, 0, draw.randrange(1, CONTINUATIONS + 1)])
        first, *rest = _cut(draw, block, cuts)
        flags = END_HEADERS if not rest else 0
        if draw.random() < 0.3:
            first = struct.pack(">IB", draw.choice([0, 0x80000000, 2**31 - 2]), 7) + first
            flags |= WITH_PRIORITY
        frames = [self._padded(HEADERS, flags, stream, first)]
        frames += [frame(CONTINUATION, 0, stream, part) for part in rest[:-1]]
        frames += [frame(CONTINUATION, END_HEADERS, stream, part) for part in rest[-1:]]
        return b"".join(frames)

    def _data(self, stream: int, content: bytes) -> Iterator[bytes]:
        draw = self._random
        parts = _cut(draw, content, draw.choice([0, 0, draw.randrange(1, 6), len(content) - 1]))
        if draw.random() < 0.3:
            parts.append(b"")
        for number, part in enumerate(parts):
            flags = END_STREAM if number == len(parts) - 1 else 0
            yield self._padded(DATA, flags, stream, part)

    def _padded(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        """A frame, perhaps padded."""
        draw = self._form
        if not self._pads or draw.random() < 0.7:
            return frame(kind, flags, stream, payload)
        padding = draw.randrange(256)
        return frame(kind, flags | PADDED, stream, bytes([padding]) + payload + bytes(padding))

    def _settings(self) -> bytes:
        draw = self._random
        possible = [
            (2, draw.randrange(2)),
            (3, 100),
            (4, draw.choice([65_535, 2**31 - 1])),
            (5, draw.choice([16_384, 2**24 - 1])),
            (6, 16_384),
            (0x7F0F, 1),
        ]
        return settings(*draw.sample(possible, draw.randrange(len(possible))))

    def _noise(self, streams: list[int]) -> Iterator[bytes]:
        """Frames that change nothing."""
        draw = self._random
        while draw.random() < 0.3:
            stream = draw.choice([*streams, streams[-1] + 100])
            payload = draw.randbytes(draw.randrange(100))
            yield draw.choice(
                [
                    frame(PRIORITY, 0, stream, struct.pack(">IB", stream + 2, 3)),
                    frame(draw.choice(UNKNOWN_TYPES), draw.randrange(256), stream, payload),
                    window_update(0, draw.randrange(1, 1000)),
                ]
            )

    def _segments(self, sent: bytes) -> Iterable[bytes]:
        draw = self._form
        return _cut(draw, sent, draw.choice([0, draw.randrange(1, 40), len(sent) - 1]))


class _HeadWriter:
    """Writes one connection's header blocks, each field in a form that is drawn."""

    def __init__(self, draw: random.Random, table_bytes: int) -> None:
        self._random = draw
        self._encoder = Encoder()
        self._table_bytes = table_bytes

    def block(self, fields: dict[str, str]) -> bytes:
        """The block of a call."""
        draw, encoder = self._random, self._encoder
        names = list(fields)
        draw.shuffle(names)
        names.sort(key=lambda name: not name.startswith(":"))
        if encoder.header_table_size != self._table_bytes:
            encoder.header_table_size = self._table_bytes
        elif draw.random() < 0.2:  # down and up again: an empty table
            encoder.header_table_size, encoder.header_table_size = 0, self._table_bytes
        made = [encoder.encode([(names[0], fields[names[0]])], huffman=draw.random() < 0.5)]
        for name in names[1:]:
            value = fields[name]
            match draw.randrange(4):
                case 0:
                    made.append(self._literal(name.encode(), value.encode()))
                case 1:
                    made.append(encoder.encode([(name, value, True)], huffman=draw.random() < 0.5))
                case _:
                    made.append(encoder.encode([(name, value)], huffman=draw.random() < 0.5))
        return b"".join(made)

    def _literal(self, name: bytes, value: bytes) -> bytes:
        """A field that goes into no table, its strings coded or not."""
        return b"\0" + self._string(name) + self._string(value)

    def _string(self, value: bytes) -> bytes:
        if self._random.random() < 0.5:
            return text(value)
        coded = _huffman.encode(value)
        return integer(len(coded), 7, 0x80) + coded


def _cut(draw: random.Random, content: bytes, cuts: int) -> list[bytes]:
    """The content in parts, of which some may be empty unless there are as many cuts as bytes."""
    if cuts >= len(content) - 1:
        return [content[start : start + 1] for start in range(len(content))] or [b""]
    places = [0, *sorted(draw.randrange(len(content) + 1) for _ in range(cuts)), len(content)]
    return [content[start:end] for start, end in itertools.pairwise(places)]
