"""What a task sends requests with: `self.client` of an `OpenModelUser`."""

import json
import re
import zlib
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from bakeoff.load.engine.lane import Lane

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[^\r\n\0]*")


class RequestFailed(Exception):
    """A request got no answer, a broken one, or an unexpected status.

    It is counted where it happens; a task that does not catch it ends here.
    """

    def __init__(self, message: str, response: "Response | None" = None) -> None:
        super().__init__(message)
        self.response = response


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


class Response(msgspec.Struct, gc=False, eq=False):
    """A whole answer. Headers are parsed when somebody looks."""

    status: int
    body: bytes
    # All of it, as it came.
    received: list[bytes]

    def json(self) -> Any:
        """The body as JSON; ValueError where it is none."""
        return json.loads(self.body)

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name; of a repeated one the last."""
        head = b"".join(self.received).partition(b"\r\n\r\n")[0].decode("latin-1")
        pairs = (line.partition(":") for line in head.split("\r\n")[1:])
        return {name.lower(): value.strip() for name, _, value in pairs}


class Turn:
    """What a task that is driven by hand waits for: the answer on its own connection."""

    __slots__ = ("_lane",)

    def __init__(self, lane: "Lane") -> None:
        self._lane = lane

    def __await__(self) -> Generator["Turn", Response, Response]:
        try:
            return (yield self)
        except RequestFailed:
            raise
        except BaseException:
            # Cancelled or closed while the answer is still to come.
            self._lane.abandon("cancelled by its task")
            raise


class Client:
    """Requests on one connection, one after the other; concurrent ones wait for their turn."""

    def __init__(self, lane: "Lane", authority: str, prefix: str) -> None:
        self._lane = lane
        self.turn = Turn(lane)
        self._prefix = prefix.encode("ascii")
        self._host = encode_headers({"Host": authority})
        self._get_head = b"GET " + self._prefix
        self._get_tail = b" HTTP/1.1\r\n" + self._host
        # Tags of GET requests by name: the usual case without building a key.
        self._get_tags: dict[str, int] = {}

    async def get(
        self,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | EncodedHeaders = NO_HEADERS,
        expect: int | None = None,
    ) -> Response:
        """GET of `path`, counted under `name` (default: the path).

        `expect` is the only status that is an answer (default: any under 400). Raises
        RequestFailed for another status, a timeout, or a broken connection.
        """
        # The common case of `request`, spelled out, since it is what the generator costs.
        lane = self._lane
        if headers.__class__ is not EncodedHeaders:
            headers = encode_headers(headers)  # type: ignore[arg-type]
        tag = self._get_tags.get(name or path)
        if tag is None:
            tag = self._get_tags[name or path] = lane.books.tag("GET", name or path)
        if " " in path or not path.isprintable():
            raise _bad_path(path)
        data = b"".join((self._get_head, path.encode("ascii"), self._get_tail, headers, b"\r\n"))
        if lane.by_hand:
            lane.send(data, tag, expect)
            return await self.turn
        return await lane.exchange(data, tag, expect)

    async def request(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        headers: Mapping[str, str] | EncodedHeaders = NO_HEADERS,
        json: Any = None,
        body: bytes = b"",
        expect: int | None = None,
    ) -> Response:
        """Any method, with `body`, or with `json` encoded; otherwise like `get`."""
        lane = self._lane
        encoded = headers if isinstance(headers, EncodedHeaders) else encode_headers(headers)
        if " " in path or not path.isprintable():
            raise _bad_path(path)
        extra = b""
        if json is not None:
            body = _compact(json)
            extra = b"Content-Type: application/json\r\n"
        data = b"".join(
            (
                *(method.encode("ascii"), b" ", self._prefix, path.encode("ascii")),
                *(b" HTTP/1.1\r\n", self._host, encoded, extra),
                *(b"Content-Length: ", str(len(body)).encode(), b"\r\n\r\n", body),
            )
        )
        tag = lane.books.tag(method, name or path)
        if lane.by_hand:
            lane.send(data, tag, expect)
            return await self.turn
        return await lane.exchange(data, tag, expect)

    async def post(self, path: str, **options: Any) -> Response:
        """POST; options as of `request`."""
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Response:
        """PUT; options as of `request`."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> Response:
        """PATCH; options as of `request`."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> Response:
        """DELETE; options as of `request`."""
        return await self.request("DELETE", path, **options)


def body_hash(body: bytes) -> int:
    """63 bits of a body, cheap and the same everywhere; sums of it do not depend on the order."""
    return zlib.crc32(body) | (zlib.adler32(body) & 0x7FFF_FFFF) << 32


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _bad_path(path: str) -> ValueError:
    return ValueError(f"the path {path!r} must hold no space or control character")
