"""What a request asks for: its header fields, checked as RFC 9113 (section 8.3) and gRPC want."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stub_payment.refusal import UNIMPLEMENTED, Refusal
from stub_payment.wire.fields import Field
from stub_payment.wire.frames import ConnectionFault, ErrorCode
from stub_payment.wire.messages import check_binary, timeout_s
from stub_payment.wire.methods import Method, Methods

_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = _PSEUDO - {b":authority"}
_OF_CONNECTIONS = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_FORBIDDEN = re.compile(rb"[\0\r\n]").search
_CONTENT_TYPE = re.compile(rb"application/grpc(?:[+;].*)?").fullmatch

PAGE = b"the payment stub of a bake-off\n"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: to a method, or to one of the answers that need none."""

    method: Method | None = None
    refusal: Refusal | None = None
    http_status: bytes = b"200"
    body: bytes = b""
    compressed_with: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head."""

    route: Route
    timeout_s: float | None = None
    request_id: bytes | None = None
    content_length: int | None = None


def request_of(fields: Iterable[Field], methods: Methods) -> Request:
    """Raises ConnectionFault for fields that are malformed."""
    fields = list(fields)
    values = _checked(fields)
    missing = [name for name in _REQUIRED if not values.get(name)]
    if missing:
        raise _malformed(f"without {missing[0].decode()}")
    length = values.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) < 19):
        raise _malformed("content-length is no number")
    route = _route(values, methods)
    timeout = None
    try:
        _check_metadata(fields)
        if b"grpc-timeout" in values:
            timeout = timeout_s(values[b"grpc-timeout"])
    except Refusal as refusal:
        if route.method is not None:
            route = Route(refusal=refusal)
    return Request(
        route, timeout, values.get(b"x-request-id"), None if length is None else int(length)
    )


def check_trailers(fields: Iterable[Field]) -> None:
    """Raises ConnectionFault for fields that no request may end with."""
    for name, value in fields:
        if name.startswith(b":"):
            raise _malformed("a pseudo-header field in trailers")
        _check_field(name, value)


def _checked(fields: Iterable[Field]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    regular = False
    for name, value in fields:
        if name.startswith(b":"):
            if regular or name not in _PSEUDO or name in values or _FORBIDDEN(value):
                raise _malformed("a pseudo-header field that is unknown, late or double")
        else:
            regular = True
            _check_field(name, value)
            if name == b"content-length" and values.get(name, value) != value:
                raise _malformed("two lengths of content")
        values[name] = value
    return values


def _check_field(name: bytes, value: bytes) -> None:
    if _NAME(name) is None or _FORBIDDEN(value):
        raise _malformed("a field's name or value has a character that it must not have")
    if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
        raise _malformed(f"{name.decode()} is of a connection, not of a stream")


def _check_metadata(fields: Iterable[Field]) -> None:
    for name, value in fields:
        if name.endswith(b"-bin"):
            check_binary(name, value)


def _route(values: Mapping[bytes, bytes], methods: Methods) -> Route:
    method, path = values[b":method"], values[b":path"]
    if _CONTENT_TYPE(values.get(b"content-type", b"")) is None:
        return _page(method, path)
    if method != b"POST":
        return Route(http_status=b"405")
    found = methods.get(path)
    if found is None:
        return Route(refusal=Refusal(UNIMPLEMENTED, f"no such method: {path[:80]!r}"))
    return Route(found, compressed_with=values.get(b"grpc-encoding", b""))


def _page(method: bytes, path: bytes) -> Route:
    if path == b"/" and method in (b"GET", b"POST", b"HEAD"):
        return Route(body=b"" if method == b"HEAD" else PAGE)
    return Route(http_status=b"415" if method == b"POST" else b"405")


def _malformed(what: str) -> ConnectionFault:
    return ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"malformed request: {what}")
