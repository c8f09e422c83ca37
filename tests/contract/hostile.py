"""What a stranger sends: requests that reach the router, and such that may not."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

from tests.contract.api import Api
from tests.contract.test_bodies import BAD_FIELDS, BAD_FORMS, BAD_LIMITS, BAD_TYPES, VALID
from tests.contract.test_methods import BAD_IDS, BAD_QUERIES, ID_HERE, METHODS, UNKNOWN_ROUTES
from tests.contract.tokens import bad_tokens
from tests.contract.wire import Headers

LIST = "/v1/subscriptions"
JSON = ("Content-Type", "application/json")


@dataclass(frozen=True)
class Case:
    """A request under a name that stays the same."""

    name: str
    method: str
    target: str
    headers: Headers = ()
    body: bytes | None = None
    token: bool = True


def routed(api: Api) -> Iterator[Case]:
    """Requests that both services have to answer alike."""
    yield from _bodies()
    yield from _types()
    yield from _targets()
    yield from _keys(api)
    yield from _heads()
    for name, token in bad_tokens(api.target.behind().credentials, api.account).items():
        bearer = [("Authorization", f"Bearer {token}")]
        yield Case(f"token: {name}", "GET", LIST, bearer, token=False)


def _bodies() -> Iterator[Case]:
    for name, body in BAD_FORMS.items():
        yield Case(f"body: {name}", "POST", LIST, [JSON], body)
    for body, _ in BAD_FIELDS + BAD_LIMITS:
        yield Case(f"body: {body[:80]!r}", "POST", LIST, [JSON], body)


def _types() -> Iterator[Case]:
    for kind in BAD_TYPES:
        yield Case(f"type: {kind}", "POST", LIST, [("Content-Type", kind)], VALID)
    yield Case("type: none", "POST", LIST, [], VALID)
    bomb = gzip.compress(bytes(1 << 24))
    for name, body in (("gzip", gzip.compress(VALID)), ("zip bomb", bomb)):
        yield Case(f"encoding: {name}", "POST", LIST, [JSON, ("Content-Encoding", "gzip")], body)
        yield Case(f"encoding: {name}, not said", "POST", LIST, [JSON], body)
    yield Case("body: 1 byte too many", "POST", LIST, [JSON], VALID + b" " * (1 << 20))


def _targets() -> Iterator[Case]:
    for path in [*UNKNOWN_ROUTES, "/%00", "/%2e%2e", "/%2f", "//v1", "/v1/../v1"]:
        yield Case(f"target: {path}", "GET", path)
    for bad in BAD_IDS:
        yield Case(f"id: {bad}", "GET", f"/v1/invoices/{bad}")
    for query in BAD_QUERIES:
        if query.isascii():
            yield Case(f"query: {query}", "GET", f"{LIST}?{query}")
    for method in METHODS:
        yield Case(f"method: {method}", method, f"/v1/invoices/{ID_HERE}/pay")
    yield Case("target: another host", "GET", f"http://elsewhere.invalid{LIST}?x")
    yield Case("target: *", "OPTIONS", "*")


def _keys(api: Api) -> Iterator[Case]:
    path = f"/v1/invoices/{uuid4()}/pay"
    keys = [[], [""], ["k"], ["k" * 255], ["k" * 256], ["a b"], ["a,b"], ['"a"'], ["é"], ["a"] * 2]
    for values in keys:
        lines = [JSON, *(("Idempotency-Key", value) for value in values)]
        name = ", ".join(f"{value[:3]} ({len(value)})" for value in values)
        yield Case(f"key: {name}", "POST", path, lines, b"{}")


def _heads() -> Iterator[Case]:
    for given in ["a" * 65, "${jndi:ldap://x}", '"', "\\", "é"]:
        yield Case(f"request id: {given!r}", "GET", LIST, [("X-Request-Id", given)])
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for given in ["ff" + trace[2:], trace.upper(), "00-" + "0" * 32 + trace[35:], "x" * 9000]:
        yield Case(f"traceparent: {given[:60]}", "GET", LIST, [("traceparent", given)])
    yield Case("traceparent: two", "GET", LIST, [("traceparent", trace)] * 2)
    yield Case("header: 8 kB", "GET", LIST, [("X-Fill", "x" * 8000)])
    yield Case("header: 90", "GET", LIST, [(f"X-{number}", "x") for number in range(90)])
    yield Case("header: method override", "GET", LIST, [("X-HTTP-Method-Override", "DELETE")])
    yield Case("header: range", "GET", LIST, [("Range", "bytes=0-1")])
    yield Case("header: upgrade", "GET", LIST, [("Connection", "Upgrade"), ("Upgrade", "x")])


def framings(host: str, hidden: str) -> dict[str, bytes]:
    """Raw requests whose framing is bad or odd. Where one hides a second request in its body,
    that one has the request id `hidden`."""
    inner = f"GET /livez HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {hidden}\r\n\r\n"

    def get(*lines: str, first: str = "GET /nowhere HTTP/1.1", host_line: str = "") -> bytes:
        lines = (first, host_line or f"Host: {host}", *lines)
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def post(*lines: str, body: str = inner) -> bytes:
        return get(*lines, first="POST /nowhere HTTP/1.1") + body.encode()

    length = len(inner)
    return {
        "bare LF": get().replace(b"\r\n", b"\n"),
        "CR in a value": get("X-A: a\rb"),
        "NUL in a value": get("X-A: a\0b"),
        "NUL in a name": get("X\0A: a"),
        "folded header": get("X-A: a\r\n b"),
        "space before the colon": get("X-A : a"),
        "no colon": get("nonsense"),
        "empty name": get(": a"),
        "header of 1 MB": get("X-A: " + "a" * (1 << 20)),
        "1,000 headers": get(*(f"X-{number}: a" for number in range(1000))),
        "path of 64 kB": get(first=f"GET /{'a' * 65_536} HTTP/1.1"),
        "two hosts": get("Host: other"),
        "no host": get(host_line="X-A: a"),
        "bad host": get(host_line="Host: a b"),
        "CONNECT": get(first="CONNECT nowhere:1 HTTP/1.1"),
        "HTTP/0.9": b"GET /nowhere\r\n",
        "HTTP/1.0": get(first="GET /nowhere HTTP/1.0"),
        "HTTP/1.2": get(first="GET /nowhere HTTP/1.2"),
        "HTTP/3.0": get(first="GET /nowhere HTTP/3.0"),
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        "no target": get(first="GET HTTP/1.1"),
        "space in the target": get(first="GET /no where HTTP/1.1"),
        "bad escape in the target": get(first="GET /%zz HTTP/1.1"),
        "ANSI escape in a request id": get("X-Request-Id: a\x1b[31mb"),
        "bad method": get(first="G@T /nowhere HTTP/1.1"),
        "length twice, other": post(f"Content-Length: {length}", "Content-Length: 1"),
        "length twice, same": post(*[f"Content-Length: {length}"] * 2),
        "length with a list": post(f"Content-Length: {length}, {length}"),
        "length +": post(f"Content-Length: +{length}"),
        "length -1": post("Content-Length: -1"),
        "length 0x5": post("Content-Length: 0x5"),
        "length 2^64": post(f"Content-Length: {2**64}"),
        "length and chunks": post(
            f"Content-Length: {length + 5}", "Transfer-Encoding: chunked", body=f"0\r\n\r\n{inner}"
        ),
        "chunked, identity": post("Transfer-Encoding: chunked, identity"),
        "xchunked": post("Transfer-Encoding: xchunked"),
        "chunked twice": post(*["Transfer-Encoding: chunked"] * 2, body="0\r\n\r\n"),
        "bad chunk size": post("Transfer-Encoding: chunked", body=f"zz\r\n{inner}"),
        "negative chunk size": post("Transfer-Encoding: chunked", body=f"-1\r\n{inner}"),
        "huge chunk size": post("Transfer-Encoding: chunked", body=f"{'f' * 17}\r\n{inner}"),
        "chunk extension of 1 MB": post(
            "Transfer-Encoding: chunked", body=f"1;{'a' * (1 << 20)}\r\nx\r\n0\r\n\r\n"
        ),
        "trailers": post("Transfer-Encoding: chunked", body="0\r\nX-A: b\r\n\r\n"),
        "unknown expectation": post(f"Expect: x\r\nContent-Length: {length}"),
        "body of a GET": get(f"Content-Length: {length}") + inner.encode(),
    }
