"""gRPC over HTTP/2: messages with their prefix, time-outs, statuses."""

import base64
import binascii
import re
from urllib.parse import quote

from stub_payment.refusal import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, Refusal
from stub_payment.wire.limits import MAXIMUM_MESSAGE_BYTES

PREFIX_BYTES = 5  # a flag for compression, the message's length

_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
MAXIMUM_TIMEOUT_S = 10.0 * 365 * 86_400  # what the loop's timers can hold


def timeout_s(value: bytes) -> float:
    """Seconds of a `grpc-timeout`. Raises Refusal."""
    matched = _TIMEOUT.fullmatch(value)
    if matched is None:
        raise Refusal(INTERNAL, f"malformed grpc-timeout: {value[:40]!r}")
    return min(int(matched[1]) * _SECONDS[matched[2]], MAXIMUM_TIMEOUT_S)


def check_binary(name: bytes, value: bytes) -> None:
    """Raises Refusal where the value of a `-bin` field is no base64, padded or not."""
    for part in value.split(b","):
        try:
            base64.b64decode(part.strip() + b"=" * (-len(part.strip()) % 4), validate=True)
        except binascii.Error as error:
            raise Refusal(INTERNAL, f"malformed base64 in {name[:40]!r}") from error


def percent_encoded(message: str) -> bytes:
    """A `grpc-message`: printable ASCII but for the percent sign, the rest escaped."""
    return quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()


def check_prefix(body: bytes | bytearray, compressed_with: bytes) -> int:
    """The length of the message that a body begins with, at least its prefix being there.

    Raises Refusal for one that is too long or compressed.
    """
    length = int.from_bytes(body[1:PREFIX_BYTES], "big")
    if length > MAXIMUM_MESSAGE_BYTES:
        raise Refusal(
            RESOURCE_EXHAUSTED, f"a message of {length} bytes is over {MAXIMUM_MESSAGE_BYTES}"
        )
    if body[0] == 1 and compressed_with not in (b"", b"identity"):
        raise Refusal(UNIMPLEMENTED, f"grpc-encoding {compressed_with[:40]!r} is not supported")
    if body[0]:
        raise Refusal(INTERNAL, f"a message with compression flag {body[0]} and no grpc-encoding")
    return length


def whole_message(body: bytes | bytearray, compressed_with: bytes) -> bytes:
    """The one message of a body that has ended. Raises Refusal where it is not one."""
    if not body:
        raise Refusal(UNIMPLEMENTED, "no message in a unary call")
    if len(body) < PREFIX_BYTES:
        raise Refusal(INTERNAL, "a body that ends in a message's prefix")
    end = PREFIX_BYTES + check_prefix(body, compressed_with)
    if end > len(body):
        raise Refusal(INTERNAL, f"a body of {len(body)} bytes for a message of {end}")
    if end < len(body):
        raise Refusal(UNIMPLEMENTED, "more than one message in a unary call")
    return bytes(body[PREFIX_BYTES:])
