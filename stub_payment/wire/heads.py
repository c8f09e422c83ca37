"""The heads of one connection's requests, as cheaply as their bytes allow.

A client's header blocks begin and end with the same fields in the same order; only a few between
them change with the call (grpc-go has those last, tonic in the middle). The table size of 0 makes
equal bytes mean equal fields. So the frames of blocks that were seen are kept with the route that
they stand for, and of what is between only the fields that matter are read; the others are checked.
Whatever looks different is read field by field, which also says what is wrong with it.
"""

import re
from typing import NamedTuple

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
_MAXIMUM_KNOWN = 8
_MAXIMUM_FIELDS = 64
_MAXIMUM_NAMES = 64
_MAXIMUM_TIMEOUTS = 512  # of each connection; a client counts down in few steps
# A field takes three bytes and counts for 32 at least: a block of this size is within the limit.
_SHORT_BLOCK_BYTES = 1024
_TIMEOUT, _REQUEST_ID, _OTHER = range(3)
_FORBIDDEN = re.compile(rb"[\0\r\n]").search

# What a head comes to: the route, the time-out in seconds, and the request ID if it is wanted.
Head = tuple[Route, float | None, bytes | None]


class _Known(NamedTuple):
    """The fields around those that change, and where a request with them goes."""

    beginning: bytes
    ending: bytes
    route: Route


class HeadReader:
    """Reads one connection's header blocks, which must all come by here, in order."""

    def __init__(self, methods: Methods) -> None:
        self._methods = methods
        self._fields = FieldReader()
        self._known: list[_Known] = []
        self._names: dict[bytes, int] = {}
        self._timeouts: dict[bytes, float] = {}

    def read(self, block: bytes, wants_request_id: bool) -> tuple[Head, int | None]:
        """The head of a request and its content-length. Raises ConnectionFault."""
        for known in self._known:
            beginning, ending, _ = known
            if block.startswith(beginning) and block.endswith(ending):
                head = self._between(block, known, wants_request_id)
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
            self._known.clear()
        return fields

    def _between(self, block: bytes, known: _Known, wants_request_id: bool) -> Head | None:
        """The head where each field between is literal, short and known by name, else None."""
        if len(block) > _SHORT_BLOCK_BYTES:
            return None
        beginning, ending, route = known
        position, end = len(beginning), len(block) - len(ending)
        names, timeout, request_id = self._names, None, None
        try:
            while position < end:
                if block[position] not in NAME_IS_LITERAL:
                    return None
                value_at = position + 2 + (block[position + 1] & LONG_STRING)
                kind = names.get(block[position + 1 : value_at])
                length = block[value_at]
                coded, length = length & HUFFMAN, length & LONG_STRING
                position = value_at + 1 + length
                if kind is None or length == LONG_STRING or position > end:
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
        return (route, timeout, request_id) if position == end else None

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
        """Keeps what is around the fields that change, and their names."""
        changing = [at for at, name in enumerate(names) if name not in _STEADY]
        first, last = (changing[0], changing[-1] + 1) if changing else (len(names), len(names))
        steady = {*names[:first], *names[last:]}
        starts = [0, *field_ends(block)]
        between = block[starts[first] : starts[last]]
        if not steady >= _REQUIRED or _STEADY & set(names[first:last]):
            return
        if len(names) > _MAXIMUM_FIELDS or len(block) - len(between) > _SHORT_BLOCK_BYTES:
            return
        known = _Known(block[: starts[first]], block[starts[last] :], route)
        if all(known[:2] != other[:2] for other in self._known):
            del self._known[_MAXIMUM_KNOWN - 1 :]
            self._known.insert(0, known)
        for at in changing:
            if not names[at].endswith(b"-bin") and names[at] != b"content-length":
                kind = {b"grpc-timeout": _TIMEOUT, b"x-request-id": _REQUEST_ID}.get(
                    names[at], _OTHER
                )
                self._learn_name(block[starts[at] :], kind)

    def _learn_name(self, field: bytes, kind: int) -> None:
        if field[0] in NAME_IS_LITERAL and field[1] & LONG_STRING != LONG_STRING:
            if len(self._names) >= _MAXIMUM_NAMES:
                self._names.clear()
            self._names[field[1 : 2 + (field[1] & LONG_STRING)]] = kind
