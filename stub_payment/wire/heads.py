"""The heads of one connection's requests, as cheaply as their bytes allow.

A client's header blocks have the same fields in the same order; only the values of a few change
with the call. The table size of 0 makes equal bytes mean equal fields. So of blocks that were seen
the bytes between these values are kept, with the route that they stand for; in a block that has the
same bytes there, only the values are looked at. Where only the last of them is other than those of
some call before, one look finds all that is before it. Whatever looks different is read field by
field, which also says what is wrong with it.
"""

import re
from typing import NamedTuple, Protocol

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
# Of each connection; a client counts its time-outs down in few steps.
_MAXIMUM_BEFORE = 256
_LONGEST_BEFORE_BYTES = 192
# With as few fields a block of this size is within the limit of headers, whatever its values.
_SHORT_BLOCK_BYTES = 1024
_MAXIMUM_FIELDS = 64
# By the byte before a value, how long both are: longer than any block where that takes more bytes.
_SPAN = [*range(1, LONG_STRING + 1), _SHORT_BLOCK_BYTES + 1] * 2
_FORBIDDEN = re.compile(rb"[\0\r\n]").search

# What a head comes to: the route, the time-out in seconds, and the request ID if it is wanted.
Head = tuple[Route, float | None, bytes | None]


class Provider(Protocol):
    """Who says what of the heads is wanted at the moment."""

    remembers_request_ids: bool


class _Value(NamedTuple):
    """A value that changes with the call, and what follows it up to the next."""

    is_timeout: bool
    is_request_id: bool
    after: bytes
    after_bytes: int


class _Known(NamedTuple):
    """A block but for the values that change, and where a request with it goes."""

    beginning: bytes
    values: tuple[_Value, ...]
    route: Route
    one_is_free: bool  # the last value, and the others are time-outs, of which there are few


class HeadReader:
    """Reads one connection's header blocks, which must all come by here, in order."""

    def __init__(self, methods: Methods, provider: Provider) -> None:
        self._methods = methods
        self._provider = provider
        self._fields = FieldReader()
        self._known: list[_Known] = []
        # Of blocks with one free value: by what is before it, the head and what follows.
        self._before_bytes = 0
        self._by_before: dict[bytes, tuple[Head, bytes, int]] = {}

    def read(self, block: bytes) -> tuple[Head, int | None]:
        """The head of a request and its content-length. Raises ConnectionFault."""
        head = self.glance(block, 0, len(block))
        if head is not None:
            return head, None
        request = self._whole(block)
        request_id = request.request_id if self._provider.remembers_request_ids else None
        return (request.route, request.timeout_s, request_id), request.content_length

    def glance(self, data: bytes, start: int, end: int) -> Head | None:
        """The head of a block that begins and ends there, if it is like one that was seen, has no
        content-length, time left, and nothing wrong. Else None: the block is still to be read."""
        if end - start > _SHORT_BLOCK_BYTES:
            return None
        value_at = start + self._before_bytes
        found = self._by_before.get(data[start:value_at])
        try:
            if found is not None and not self._provider.remembers_request_ids:
                head, after, after_bytes = found
                length = data[value_at]
                value_ends = value_at + _SPAN[length]
                if (
                    length >= HUFFMAN
                    and value_ends + after_bytes == end
                    and data[value_ends:end] == after
                ):
                    check(data[value_at + 1 : value_ends])
                    return head
            return self._piece_by_piece(data, start, end)
        except (IndexError, HuffmanError, Refusal):
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
            self._by_before.clear()
        return fields

    def _piece_by_piece(self, data: bytes, start: int, end: int) -> Head | None:
        for known in self._known:
            beginning, values, route, one_is_free = known
            if not data.startswith(beginning, start, end):
                continue
            timeout, request_id = None, None
            position = start + len(beginning)
            for is_timeout, is_request_id, after, after_bytes in values:
                begins, length = position, data[position]
                position += _SPAN[length]
                if not data.startswith(after, position, end):
                    break
                value = data[begins + 1 : position]
                if is_timeout:
                    timeout = timeout_s(_string(length, value))
                    if not timeout:
                        return None
                elif is_request_id and self._provider.remembers_request_ids:
                    request_id = _string(length, value)
                elif length >= HUFFMAN:
                    check(value)
                elif _FORBIDDEN(value):
                    return None
                position += after_bytes
            else:
                if position != end:
                    continue
                if one_is_free:
                    self._remember(data[start:begins], (route, timeout, None), values[-1])
                return route, timeout, request_id
        return None

    def _remember(self, before: bytes, head: Head, value: _Value) -> None:
        """Keeps what a head comes to, by all that is before its last value."""
        if len(before) > _LONGEST_BEFORE_BYTES:
            return
        if len(self._by_before) >= _MAXIMUM_BEFORE:
            self._by_before.clear()
        self._before_bytes = len(before)
        self._by_before[before] = head, value.after, value.after_bytes

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
            (name, begins, ends)
            for name, (begins, ends) in zip(names, field_spans(block), strict=True)
            if name not in _STEADY and begins < ends
        ]
        starts = [0, *(ends for _, _, ends in changing)]
        ends = [*(begins for _, begins, _ in changing), len(block)]
        beginning, *after = (block[one:other] for one, other in zip(starts, ends, strict=True))
        values = tuple(
            _Value(name == b"grpc-timeout", name == b"x-request-id", piece, len(piece))
            for (name, _, _), piece in zip(changing, after, strict=True)
        )
        free = [not value.is_timeout for value in values]
        known = _Known(beginning, values, route, one_is_free=free[-1:] == [True] and sum(free) == 1)
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
