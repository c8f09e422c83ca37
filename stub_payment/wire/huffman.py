"""The Huffman code of header strings (RFC 7541, appendix B), a byte at a time.

hpack's own decoder takes four bits at a time and costs 5 us for a request ID. The steps here are
worked out from the same code when they are first needed, so they cost no time at start.
"""

from typing import Any, Final

from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

EOS = 256
_MAY_END: Final = 256
_STATES = 256  # inner nodes of the tree: one less than its 257 symbols
# A header's value must not hold these (RFC 9113, section 8.2.1).
FORBIDDEN = frozenset(b"\0\r\n")


class HuffmanError(ValueError):
    """The bytes are not this code, or hold a character that no header may have."""


def _tree() -> list[list[int]]:
    """Children of each inner node: the number of a node, or -1 - symbol."""
    nodes = [[0, 0]]
    for symbol, (code, length) in enumerate(zip(REQUEST_CODES, REQUEST_CODES_LENGTH, strict=True)):
        node = 0
        for position in range(length - 1, 0, -1):
            bit = code >> position & 1
            if not nodes[node][bit]:
                nodes[node][bit] = len(nodes)
                nodes.append([0, 0])
            node = nodes[node][bit]
        nodes[node][code & 1] = -1 - symbol
    return nodes


_TREE = _tree()
assert len(_TREE) == _STATES
# What each state and byte lead to: the next state, times 256, and the symbols that ended.
_STEPS: list[tuple[int, bytes] | None] = [None] * (_STATES * 256)


def _ends() -> frozenset[int]:
    """States in which a string may end: after at most seven ones, which are padding."""
    node, ends = 0, [0]
    for _ in range(7):
        node = _TREE[node][1]
        ends.append(node * 256)
    return frozenset(ends)


_ENDS = _ends()
# The same for who needs no symbols: a state is the list of those that its bytes lead to, and last
# whether a string may end in it. What is not known leads to one that nothing leads out of.
_UNKNOWN: list[Any] = []
_UNKNOWN += [_UNKNOWN] * 256 + [False]
_ROWS: list[list[Any]] = [[_UNKNOWN] * 256 + [state * 256 in _ENDS] for state in range(_STATES)]
_START = _ROWS[0]


def _step(state: int, byte: int) -> tuple[int, bytes]:
    node, symbols = state // 256, bytearray()
    for position in range(7, -1, -1):
        node = _TREE[node][byte >> position & 1]
        if node < 0:
            symbol = -1 - node
            if symbol == EOS or symbol in FORBIDDEN:
                raise HuffmanError(f"symbol {symbol} in a header")
            symbols.append(symbol)
            node = 0
    step = _STEPS[state + byte] = node * 256, bytes(symbols)
    _ROWS[state // 256][byte] = _ROWS[node]
    return step


def check(data: bytes) -> None:
    """Raises HuffmanError where `data` is no code of a header's value."""
    row = _START
    for byte in data:
        row = row[byte]
    if not row[_MAY_END]:
        # Or a step that is not known.
        decode(data)


def decode(data: bytes) -> bytes:
    """The value. Raises HuffmanError as `check` does."""
    state, steps, parts = 0, _STEPS, []
    for byte in data:
        state, symbols = steps[state + byte] or _step(state, byte)
        parts.append(symbols)
    if state not in _ENDS:
        raise HuffmanError("a code that does not end, or too much padding")
    return b"".join(parts)
