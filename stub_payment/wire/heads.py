"""The heads of one connection's requests, as cheaply as their bytes allow.

A client's header blocks have the same fields in the same order; only the values of a few change
with the call. The table size of 0 makes equal bytes mean equal fields. So of blocks that were seen
the bytes between these values are kept, with the route that they stand for; in a block that has the
same bytes there, only the values are looked at. Most have a time-out that some call had before, and
one value of their own: there one look finds all that is before it. Whatever looks different is read
field by field, which also says what is wrong with it.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

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
# Heads of one connection that are kept, and what of a block they may be kept by.
_MAXIMUM_REMEMBERED = 192
_LONGEST_BEFORE_BYTES = 160
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


@dataclass(slots=True)
class _Known:
    """A block but for the values that change, and where a request with it goes."""

    beginning: bytes
    values: tuple[_Value, ...]
    route: Route
    # Values other than time-outs are free. Where that is the last alone, or none, heads are kept by
    # all that is before it, or by the whole block.
    is_remembered: bool
    has_free_value: bool
    after: bytes
    after_bytes: int
    before_bytes: int = 0  # of the last that was kept
    heads: dict[bytes, Head] = field(default_factory=dict)

    @classmethod
    def of(cls, beginning: bytes, values: tuple[_Value, ...], route: Route) -> Self:
        """One that is new."""
        free = [not value.is_timeout for value in values]
        after = values[-1].after if values else b""
        return cls(beginning, values, route, not any(free[:-1]), any(free), after, len(after))


class HeadReader:
    """Reads one connection's header blocks, which must all come by here, in order."""

    def __init__(self, methods: Methods, provider: Provider) -> None:
        self._methods = methods
        self._provider = provider
        self._fields = FieldReader()
        self._known: list[_Known] = []

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
        try:
            if not self._provider.remembers_request_ids:
                for known in self._known:
                    value_at = start + known.before_bytes
                    head = known.heads.get(data[start:value_at])
                    if head is None:
                        continue
                    if not known.has_free_value:
                        if value_at == end:
                            return head
                        break
                    length = data[value_at]
                    value_ends = value_at + _SPAN[length]
                    if (
                        length >= HUFFMAN
                        and value_ends + known.after_bytes == end
                        and data[value_ends:end] == known.after
                    ):
                        check(data[value_at + 1 : value_ends])
                        return head
                    break
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
        return fields

    def _piece_by_piece(self, data: bytes, start: int, end: int) -> Head | None:
        wants_request_ids = self._provider.remembers_request_ids
        for known in self._known:
            if not data.startswith(known.beginning, start, end):
                continue
            timeout, request_id = None, None
            value_at = position = start + len(known.beginning)
            length = 0
            for is_timeout, is_request_id, after, after_bytes in known.values:
                value_at, length = position, data[position]
                position += _SPAN[length]
                if not data.startswith(after, position, end):
                    break
                value = data[value_at + 1 : position]
                if is_timeout:
                    timeout = timeout_s(_string(length, value))
                    if not timeout:
                        return None
                elif is_request_id and wants_request_ids:
                    request_id = _string(length, value)
                elif length >= HUFFMAN:
                    check(value)
                elif _FORBIDDEN(value):
                    return None
                position += after_bytes
            else:
                if position != end:
                    continue
                head = known.route, timeout, request_id
                if known.is_remembered and not wants_request_ids:
                    if not known.has_free_value:
                        self._remember(known, data[start:end], head)
                    elif length >= HUFFMAN:
                        self._remember(known, data[start:value_at], head)
                return head
        return None

    def _remember(self, known: _Known, before: bytes, head: Head) -> None:
        if len(before) > _LONGEST_BEFORE_BYTES:
            return
        if sum(len(other.heads) for other in self._known) >= _MAXIMUM_REMEMBERED:
            for other in self._known:
                other.heads.clear()
        known.before_bytes = len(before)
        known.heads[before] = head

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
        known = _Known.of(beginning, values, route)
        if all((beginning, values) != (other.beginning, other.values) for other in self._known):
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
