"""One HTTP/1.1 exchange over a socket of its own, byte for byte as a test wants it."""

import json
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

DEADLINE_S = 30.0
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for found, value in self.headers if found == name.lower()]

    def header(self, name: str) -> str | None:
        """The value of a header that is there once at most."""
        values = self.values(name)
        assert len(values) <= 1, f"{name} is there {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """The body, which has to be compact JSON."""
        content = json.loads(self.body)
        compact = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
        assert self.body == compact, f"not compact: {self.body!r}"
        return content


def request_bytes(
    method: str, target: str, host: str, headers: Headers, body: bytes | None
) -> bytes:
    """A request; with a body or for POST and PATCH it has a Content-Length, unless one is given
    or the body is chunked."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers]
    names = {name.lower() for name, _ in headers}
    if not names & {"content-length", "transfer-encoding"} and (
        body is not None or method in ("POST", "PATCH")
    ):
        lines.append(f"Content-Length: {len(body or b'')}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def connect(base_url: str, deadline_s: float = DEADLINE_S) -> socket.socket:
    """A connection to the service at `base_url`, whose every step has the deadline."""
    parts = urlsplit(base_url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=deadline_s)


def host_of(base_url: str) -> str:
    """What a Host header says."""
    return urlsplit(base_url).netloc


def receive(connection: socket.socket, method: str) -> Answer:
    """The next answer on a connection; ConnectionError where it is closed without one."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    headers = tuple((name.lower(), value) for name, value in response.getheaders())
    return Answer(response.status, headers, body)


def exchange(
    base_url: str, method: str, target: str, headers: Headers = (), body: bytes | None = None
) -> Answer:
    """Sends one request on a new connection and reads its answer."""
    return exchange_raw(
        base_url, [request_bytes(method, target, host_of(base_url), headers, body)], method
    )


def exchange_raw(base_url: str, parts: Iterable[bytes], method: str = "GET") -> Answer:
    """Sends bytes as they are, and reads one answer. The service may answer and close before it
    has read all of them."""
    with connect(base_url) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer may be there all the same
        return receive(connection, method)
