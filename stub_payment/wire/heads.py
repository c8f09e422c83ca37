"""The heads of one connection's requests, as cheaply as their bytes allow.

A client's header blocks have the same fields in the same order; only the values of a few change
with the call. The table size of 0 makes equal bytes mean equal fields. So of blocks that were seen
the bytes between these values are kept, with the route that they stand for; in a block that has the
same bytes there, only the values are looked at. Whatever looks different is read field by field,
which also says what is wrong with it.
"""

import re
from typing import NamedTuple

from stub_payment.refusal import Refusal
from stub_payment.wire.fields import (
    HUFFMAN,
    INCREMENTAL,
    INDEXED,
    LONG_STRING,
    SIZE_UPDATE,
    Field,
    FieldReader,
    field_spans,
)
from stub_payment.wire.huffman import HuffmanError, check, decode
from stub_payment.wire.messages import timeout_s
from stub_payment.wire.methods import Methods
from stub_payment.wire.routes import Request, Route, check_trailers, request_of

# Fields that one client sends alike with each call of a method.
_STEADY = frozenset(
    {
        *(b":method", b":scheme", b":path", b":authority"),
        *(b"content-type", b"user-agent", b"te"),
        *(b"grpc-encoding", b"grpc-accept-encoding", b"accept-encoding"),
    }
)
_MAXIMUM_KNOWN = 8
_MAXIMUM_TIMEOUTS = 512  # of each connection; a client counts down in few steps
# With as few fields a block of this size is within the limit of headers, whatever its values.
_SHORT_BLOCK_BYTES = 1024
_MAXIMUM_FIELDS = 64
_TIMEOUT, _REQUEST_ID, _OTHER = range(3)
_KINDS = {b"grpc-timeout": _TIMEOUT, b"x-request-id": _REQUEST_ID}
# By the byte before a value, how long it is: longer than any block where that takes more bytes.
_BYTES = [*range(LONG_STRING), _SHORT_BLOCK_BYTES + 1] * 2
_FORBIDDEN = re.compile(rb"[\0\r\n]").search

# What a head comes to: the route, the time-out in seconds, and the request ID if it is wanted.
Head = tuple[Route, float | None, bytes | None]


class _Known(NamedTuple):
    """A block but for the values that change, and where a request with it goes."""

    beginning: bytes
    values: tuple[tuple[int, bytes, int], ...]  # of each the kind, what follows, and its size
    route: Route


class HeadReader:
    """Reads one connection's header blocks, which must all come by here, in order."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._fields = FieldReader()
        self._known: list[_Known] = []
        self._timeouts: dict[bytes, float] = {}
        self.wants_request_ids = False

    def read(self, block: bytes) -> tuple[Head, int | None]:
        """The head of a request and its content-length. Raises ConnectionFault."""
        head = self.glance(block, 0, len(block))
        if head is not None:
            return head, None
        request = self._whole(block)
        request_id = request.request_id if self.wants_request_ids else None
        return (request.route, request.timeout_s, request_id), request.content_length

    def glance(self, data: bytes, start: int, end: int) -> Head | None:
        """The head of a block that begins and ends there, if it is like one that was seen, has no
        content-length, time left, and nothing wrong. Else None: the block is still to be read."""
        if end - start > _SHORT_BLOCK_BYTES:
            return None
        try:
            for known in self._known:
                if data.startswith(known[0], start, end):
                    head = self._values(data, start, end, known)
                    if head is not None:
                        return head
        except (IndexError, HuffmanError, Refusal):
            return None
        return None

    def read_trailers(self, block: bytes) -> None:
        """Raises ConnectionFault for what must not follow a request's body."""
        check_trailers(self._read(block))

    def skip(self, block: bytes) -> None:
        """Reads a block whose stream is of no interest: the table is of all streams."""
        self._read(block)

    def _read(self, block: bytes) -> list[Field]:
        fields = self._fields.read(block)
        if not self._fields.stateless:
            self._known.clear()
        return fields

    def _values(self, data: bytes, start: int, end: int, known: _Known) -> Head | None:
        """The head, where what follows its beginning is as known."""
        timeout_s, request_id = None, None
        beginning, values, route = known
        position = start + len(beginning)
        for kind, after, after_bytes in values:
            length, begins = data[position], position + 1
            position = begins + _BYTES[length]
            if not data.startswith(after, position, end):
                return None
            if kind == _TIMEOUT:
                key = data[begins - 1 : position]
                timeout_s = self._timeouts.get(key) or self._timeout_s(key)
                if not timeout_s:
                    return None
            elif kind == _REQUEST_ID and self.wants_request_ids:
                request_id = _string(length, data[begins:position])
            elif length >= HUFFMAN:
                check(data[begins:position])
            elif _FORBIDDEN(data, begins, position):
                return None
            position += after_bytes
        return (route, timeout_s, request_id) if position == end else None

    def _timeout_s(self, key: bytes) -> float:
        seconds = timeout_s(_string(key[0], key[1:]))
        if len(self._timeouts) >= _MAXIMUM_TIMEOUTS:
            self._timeouts.clear()
        self._timeouts[key] = seconds
        return seconds

    def _whole(self, block: bytes) -> Request:
        fields = self._read(block)
        request = request_of(fields, self._methods)
        updates_table = block[0] & (INDEXED | INCREMENTAL | SIZE_UPDATE) == SIZE_UPDATE
        if self._fields.stateless and not updates_table and request.route.method is not None:
            self._learn(block, [name for name, _ in fields], request.route)
        return request

    def _learn(self, block: bytes, names: list[bytes], route: Route) -> None:
        """Keeps what is around the values that change."""
        if len(block) > _SHORT_BLOCK_BYTES or len(names) > _MAXIMUM_FIELDS:
            return
        if any(_has_a_form(name) for name in names):
            return
        changing = [
            (_KINDS.get(name, _OTHER), begins, ends)
            for name, (begins, ends) in zip(names, field_spans(block), strict=True)
            if name not in _STEADY and begins < ends
        ]
        starts = [0, *(ends for _, _, ends in changing)]
        ends = [*(begins for _, begins, _ in changing), len(block)]
        beginning, *after = (block[one:other] for one, other in zip(starts, ends, strict=True))
        values = tuple(
            (kind, piece, len(piece)) for (kind, _, _), piece in zip(changing, after, strict=True)
        )
        known = _Known(beginning, values, route)
        if all(known[:2] != other[:2] for other in self._known):
            del self._known[_MAXIMUM_KNOWN - 1 :]
            self._known.insert(0, known)


def _has_a_form(name: bytes) -> bool:
    """Whether more of a value is checked than its characters; time-outs apart."""
    return name.endswith(b"-bin") or name == b"content-length"


def _string(length: int, value: bytes) -> bytes:
    """A value out of its bytes and the one that has their number. Raises HuffmanError where it is
    none, or has a character that it must not have."""
    if length & HUFFMAN:
        return decode(value)
    if _FORBIDDEN(value):
        raise HuffmanError("a character that no header may have")
    return value
