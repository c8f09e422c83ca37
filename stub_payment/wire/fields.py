"""Header blocks (HPACK, RFC 7541) as lists of fields.

The engine announces a header table of size 0, so that a client which has heard it sends blocks
that stand for themselves. A client may not have heard it yet, or not care: `hpack` reads those.
"""

import re
from collections.abc import Iterator

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from stub_payment.wire.frames import ConnectionFault, ErrorCode
from stub_payment.wire.limits import MAXIMUM_HEADERS_BYTES

Field = tuple[bytes, bytes]

# First bytes of a field (RFC 7541, section 6).
INDEXED = 0x80
INCREMENTAL = 0x40
SIZE_UPDATE = 0x20
LONG_STRING = 0x7F  # the length goes on in the next byte
HUFFMAN = 0x80
_THREE_UPDATES = re.compile(rb"(?:[\x20-\x3e]|\x3f[\x80-\xff]*[\x00-\x7f]){3}").match


class FieldReader:
    """The fields of one connection's header blocks, in order."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAXIMUM_HEADERS_BYTES)

    @property
    def stateless(self) -> bool:
        """Whether blocks stand for themselves: the client gave up its table."""
        return bool(self._decoder.header_table.maxsize == 0)

    def read(self, block: bytes) -> list[Field]:
        """Raises ConnectionFault for a block that is no HPACK, or holds too much."""
        if _THREE_UPDATES(block):
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "over two table sizes in a block")
        try:
            return [
                (bytes(name), bytes(value)) for name, value in self._decoder.decode(block, True)
            ]
        except OversizedHeaderListError as error:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM, f"over {MAXIMUM_HEADERS_BYTES} bytes of headers"
            ) from error
        except HPACKError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "no header block") from error


def field_spans(block: bytes) -> Iterator[tuple[int, int]]:
    """Of each field of a block that `hpack` could read, where its value begins, with the byte that
    has its length, and where it ends. Size updates are no fields."""
    position = 0
    while position < len(block):
        first = block[position]
        if first & INDEXED:
            position = _after_integer(block, position, 7)
            yield position, position
        elif first & INCREMENTAL:
            value_at = _after_name(block, position, 6)
            position = _after_string(block, value_at)
            yield value_at, position
        elif first & SIZE_UPDATE:
            position = _after_integer(block, position, 5)
        else:
            value_at = _after_name(block, position, 4)
            position = _after_string(block, value_at)
            yield value_at, position


def _after_name(block: bytes, position: int, index_bits: int) -> int:
    index = block[position] & (1 << index_bits) - 1
    position = _after_integer(block, position, index_bits)
    return position if index else _after_string(block, position)


def _after_string(block: bytes, position: int) -> int:
    length, start = block[position] & LONG_STRING, position + 1
    if length == LONG_STRING:
        start = _after_integer(block, position, 7)
        for shift, byte in enumerate(block[position + 1 : start]):
            length += (byte & 0x7F) << 7 * shift
    return start + length


def _after_integer(block: bytes, position: int, bits: int) -> int:
    full = (1 << bits) - 1
    if block[position] & full == full:
        position += 1
        while block[position] & 0x80:
            position += 1
    return position + 1
