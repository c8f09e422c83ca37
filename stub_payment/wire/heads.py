"""The heads of one connection's requests, as cheaply as their bytes allow.

A client's header blocks begin with the same fields in the same order; only a few at the end change
with the call. The engine's table size of 0 makes equal bytes mean equal fields. So the beginnings
that were seen are kept with the route that they stand for, and of the rest of a block only the
fields that matter are read; the others are checked. Whatever looks different is read field by
field, which also says what is wrong with it.
"""

import re

from stub_payment.refusal import Refusal
from stub_payment.wire.fields import (
    HUFFMAN,
    INCREMENTAL,
    INDEXED,
    LONG_STRING,
    NAME_IS_LITERAL,
    SIZE_UPDATE,
    Field,
    FieldReader,
    field_ends,
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
_REQUIRED = frozenset({b":method", b":scheme", b":path", b"content-type"})
_MAXIMUM_BEGINNINGS = 8
_MAXIMUM_NAMES = 64
_MAXIMUM_TIMEOUTS = 4096
# A field takes three bytes and counts for 32 at least: a block of this size is within the limit.
_SHORT_BLOCK_BYTES = 1024
_TIMEOUT, _REQUEST_ID, _OTHER = range(3)
_FORBIDDEN = re.compile(rb"[\0\r\n]").search

# What a head comes to: the route, the time-out in seconds, and the request ID if it is wanted.
Head = tuple[Route, float | None, bytes | None]


class HeadReader:
    """Reads one connection's header blocks, which must all come by here, in order."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._fields = FieldReader()
        self._beginnings: list[tuple[bytes, Route]] = []
        self._names: dict[bytes, int] = {}
        self._timeouts: dict[bytes, float] = {}

    def read(self, block: bytes, wants_request_id: bool) -> tuple[Head, int | None]:
        """The head of a request and its content-length. Raises ConnectionFault."""
        for beginning, route in self._beginnings:
            if block.startswith(beginning):
                head = self._rest(block, len(beginning), route, wants_request_id)
                if head is not None:
                    return head, None
        request = self._whole(block)
        request_id = request.request_id if wants_request_id else None
        return (request.route, request.timeout_s, request_id), request.content_length

    def read_trailers(self, block: bytes) -> None:
        """Raises ConnectionFault for what must not follow a request's body."""
        check_trailers(self._read(block))

    def skip(self, block: bytes) -> None:
        """Reads a block whose stream is of no interest: the table is of all streams."""
        self._read(block)

    def _read(self, block: bytes) -> list[Field]:
        fields = self._fields.read(block)
        if not self._fields.stateless:
            self._beginnings.clear()
        return fields

    def _rest(
        self, block: bytes, position: int, route: Route, wants_request_id: bool
    ) -> Head | None:
        """The head where each field left is literal, short and known by name, else None."""
        size = len(block)
        if size > _SHORT_BLOCK_BYTES:
            return None
        names, timeout, request_id = self._names, None, None
        try:
            while position < size:
                if block[position] not in NAME_IS_LITERAL:
                    return None
                value_at = position + 2 + (block[position + 1] & LONG_STRING)
                kind = names.get(block[position + 1 : value_at])
                length = block[value_at]
                coded, length = length & HUFFMAN, length & LONG_STRING
                position = value_at + 1 + length
                if kind is None or length == LONG_STRING or position > size:
                    return None
                value = block[value_at + 1 : position]
                if kind == _TIMEOUT:
                    key = block[value_at:position]
                    timeout = self._timeouts.get(key) or self._timeout_s(key, value, coded)
                elif not coded and _FORBIDDEN(value):
                    return None
                elif kind == _REQUEST_ID and wants_request_id:
                    request_id = decode(value) if coded else value
                elif coded:
                    check(value)
        except (IndexError, HuffmanError, Refusal):
            return None
        return route, timeout, request_id

    def _timeout_s(self, key: bytes, value: bytes, coded: int) -> float:
        seconds = timeout_s(decode(value) if coded else value)
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
        """Keeps how this block begins, and the names of the fields that follow."""
        steady = next((at for at, name in enumerate(names) if name not in _STEADY), len(names))
        ends = list(field_ends(block))
        start = ends[steady - 1] if steady else 0
        beginning = block[:start]
        if not set(names[:steady]) >= _REQUIRED or _STEADY & set(names[steady:]):
            return
        if steady > len(_STEADY) or start > _SHORT_BLOCK_BYTES:
            return
        if all(beginning != known for known, _ in self._beginnings):
            del self._beginnings[_MAXIMUM_BEGINNINGS - 1 :]
            self._beginnings.insert(0, (beginning, route))
        for at, name in enumerate(names[steady:], steady):
            kind = {b"grpc-timeout": _TIMEOUT, b"x-request-id": _REQUEST_ID}.get(name, _OTHER)
            if name.endswith(b"-bin") or name == b"content-length":
                continue
            self._learn_name(block[ends[at - 1] if at else 0 :], kind)

    def _learn_name(self, field: bytes, kind: int) -> None:
        if field[0] in NAME_IS_LITERAL and field[1] & LONG_STRING != LONG_STRING:
            if len(self._names) >= _MAXIMUM_NAMES:
                self._names.clear()
            self._names[field[1 : 2 + (field[1] & LONG_STRING)]] = kind
