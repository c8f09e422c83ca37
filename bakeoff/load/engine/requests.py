"""Requests as they go out: what of them never changes is encoded once."""

import json
import re
from collections.abc import Mapping
from typing import Any

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.verbs import Verbs

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\r\n\0]*")

# The bytes, TAG_NAMES times the index of its name, and the only status that is an answer (None: any
# under 400). A bare tuple, since one is made for each request.
Request = tuple[bytes, int, int | None]


class EncodedHeaders(bytes):
    """Header lines as they go out; made once by `encode_headers`, used for many requests."""

    __slots__ = ()


def encode_headers(headers: Mapping[str, str]) -> EncodedHeaders:
    """Header lines; ValueError for a name or value that HTTP does not allow."""
    lines = []
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"not a valid HTTP header: {name!r}")
        lines.append(f"{name}: {value}\r\n")
    return EncodedHeaders("".join(lines).encode("latin-1"))


NO_HEADERS = EncodedHeaders()


class Requests(Verbs[Request]):
    """Makes the requests to one target; sends nothing.

    `self.request` of an `OpenModelUser`: a task that is one request may be a plain function that
    returns it, which costs less than a coroutine.
    """

    def __init__(self, books: Books, authority: str, prefix: str) -> None:
        self._books = books
        self._prefix = prefix.encode("ascii")
        self._host = encode_headers({"Host": authority})
        self._get_head = b"GET " + self._prefix
        self._get_tail = b" HTTP/1.1\r\n" + self._host
        # Tags of GET requests by name: the usual case without building a key.
        self._get_tags: dict[str, int] = {}
        # Of the last GET: what it was made of, and the request. Some tasks always ask the same.
        self._last_get: tuple[str | None, str | None, object, int | None, Request] = (
            *(None, None, None, None),
            (b"", 0, None),
        )

    def get(
        self,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | EncodedHeaders = NO_HEADERS,
        expect: int | None = None,
    ) -> Request:
        """GET of `path`, counted under `name` (default: the path).

        `expect` is the only status that is an answer (default: any under 400). ValueError for a
        path or a header that HTTP does not allow.
        """
        # The common case of `request`, spelled out, since it is what the generator costs.
        was_path, was_name, was_headers, was_expected, request = self._last_get
        if (
            path is was_path
            and name is was_name
            and headers is was_headers
            and expect is was_expected
        ):
            return request
        if headers.__class__ is not EncodedHeaders:
            headers = encode_headers(headers)  # type: ignore[arg-type]
        counted = path if name is None else name
        tag = self._get_tags.get(counted)
        if tag is None:
            tag = self._get_tags[counted] = self._tag("GET", counted)
        if " " in path or not path.isprintable():
            check_path(path)
        request = (
            b"".join((self._get_head, path.encode("ascii"), self._get_tail, headers, b"\r\n")),
            tag,
            expect,
        )
        self._last_get = (path, name, headers, expect, request)
        return request

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | EncodedHeaders = NO_HEADERS,
        json: Any = None,
        body: bytes = b"",
        expect: int | None = None,
    ) -> Request:
        """Any method, with `body`, or with `json` encoded; otherwise like `get`."""
        encoded = headers if isinstance(headers, EncodedHeaders) else encode_headers(headers)
        check_path(path)
        extra = b""
        if json is not None:
            body = compact(json)
            extra = b"Content-Type: application/json\r\n"
        data = b"".join(
            (
                *(method.encode("ascii"), b" ", self._prefix, path.encode("ascii")),
                *(b" HTTP/1.1\r\n", self._host, encoded, extra),
                *(b"Content-Length: ", str(len(body)).encode(), b"\r\n\r\n", body),
            )
        )
        return data, self._tag(method, name or path), expect

    def _tag(self, method: str, name: str) -> int:
        return self._books.tag(method, name) * wire.TAG_NAMES


def check_path(path: str) -> None:
    """ValueError for a path that HTTP does not allow."""
    if " " in path or not path.isprintable():
        raise ValueError(f"the path {path!r} must hold no space or control character")


def compact(value: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(value, separators=(",", ":")).encode()
