"""Calls that are no good calls of gRPC: each has its answer, on a new connection and on one whose
client has shown how its header blocks begin."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Latency
from stub_payment.payments import payment_of_invoice
from tests.fakes.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PROTOCOL_ERROR,
    frame,
    headers,
    literal,
    message,
    reset,
)
from tests.stub.peer import CALL, PROMPT_S, Peer, asked, call, head
from tests.stub.process import Stub, until

pytestmark = pytest.mark.usefixtures("honest")

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 0, 3, 4, 8
UNIMPLEMENTED, INTERNAL = 12, 13
MAXIMUM_MESSAGE_BYTES = 4 * 2**20
LONG = message(bytes(100), length=MAXIMUM_MESSAGE_BYTES + 1)
# Of a call that shows the fields which a client may send with each call.
USUAL = {
    "x-request-id": "request-1",
    "grpc-timeout": "10S",
    "x-meta": "x",
    "x-meta-bin": "AAECAw",
    "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
}


@dataclass(frozen=True)
class Case:
    """A call, and the status that it has."""

    status: int
    content: bytes | None = None
    changes: dict[str, str | None] = field(default_factory=dict)
    end: bool = True


def metadata(**fields: str | None) -> dict[str, str | None]:
    """Fields by their names, whose dashes are underscores here."""
    return {name.replace("_", "-"): value for name, value in fields.items()}


def path(path: str, status: int = UNIMPLEMENTED, *, end: bool = True) -> Case:
    return Case(status, changes={":path": path}, end=end)


def timeout(value: str, status: int) -> Case:
    return Case(status, changes=metadata(grpc_timeout=value))


def binary(value: str, status: int) -> Case:
    return Case(status, changes=metadata(x_meta_bin=value))


CALLS = {
    "a path without a slash": path("payment.v1.Payments/GetPayment"),
    "a path with two slashes": path("//payment.v1.Payments/GetPayment"),
    "a path of a slash": path("/"),
    "a path of a star": path("*"),
    "a path without a method": path("/payment.v1.Payments/"),
    "a path with a query": path("/payment.v1.Payments/GetPayment?x=1"),
    "a path in other case": path("/payment.v1.payments/getpayment"),
    "a path of 8 kB": path("/" + "x" * 8000),
    "a path that is no UTF-8": path("/\udcff\udcfe"),
    "an unknown method": path("/payment.v1.Payments/Refund"),
    "an unknown service": path("/payment.v2.Payments/GetPayment"),
    "the health service's stream": path("/grpc.health.v1.Health/Watch"),
    "a stream of an unknown method": path("/payment.v1.Payments/Refund", end=False),
    "a stream of the health service": path("/grpc.health.v1.Health/Watch", end=False),
    "another scheme": Case(OK, changes={":scheme": "https"}),
    "no authority": Case(OK, changes={":authority": None}),
    "no te": Case(OK, changes={"te": None}),
    "content-type +proto": Case(OK, changes={"content-type": "application/grpc+proto"}),
    "content-type with a parameter": Case(OK, changes={"content-type": "application/grpc;a=b"}),
    "a message over 4 MiB": Case(RESOURCE_EXHAUSTED, LONG),
    "a message over 4 MiB that does not end": Case(RESOURCE_EXHAUSTED, LONG, end=False),
    "a message of 4 GiB": Case(RESOURCE_EXHAUSTED, message(b"", length=2**32 - 1)),
    "compressed by nothing": Case(INTERNAL, message(b"\0", flag=1)),
    "compressed by identity": Case(
        INTERNAL, message(b"\0", flag=1), metadata(grpc_encoding="identity")
    ),
    "compressed by gzip": Case(
        UNIMPLEMENTED, message(b"\0", flag=1), metadata(grpc_encoding="gzip")
    ),
    "compressed by something else": Case(
        UNIMPLEMENTED, message(b"\0", flag=1), metadata(grpc_encoding="x" * 100)
    ),
    "gzip that is not used": Case(OK, changes=metadata(grpc_encoding="gzip")),
    "flag 2": Case(INTERNAL, message(b"\0", flag=2)),
    "flag 255": Case(INTERNAL, message(b"\0", flag=255)),
    "flag 128 with gzip": Case(INTERNAL, message(b"\0", flag=128), metadata(grpc_encoding="gzip")),
    "two messages": Case(UNIMPLEMENTED, asked() + asked("inv-2")),
    "two messages without an end": Case(UNIMPLEMENTED, asked() + asked("inv-2"), end=False),
    "no message": Case(UNIMPLEMENTED, b""),
    "half a prefix": Case(INTERNAL, b"\0\0\0"),
    "a prefix alone": Case(INTERNAL, message(b"", length=10)),
    "a message that is longer than its body": Case(INTERNAL, message(b"x" * 10, length=11)),
    "bad protobuf": Case(INTERNAL, message(b"\xff\xff\xff")),
    "a string that is no UTF-8": Case(INTERNAL, message(b"\x0a\x02\xff\xfe")),
    "a string that is cut": Case(INTERNAL, message(b"\x0a\x7f12")),
    "no invoice": Case(INVALID_ARGUMENT, message(b"")),
    "an unknown field of protobuf": Case(OK, message(asked()[5:] + b"\xf8\x07\x01")),
    "a time-out of 0 ns": timeout("0n", DEADLINE_EXCEEDED),
    "a time-out of 0 h": timeout("0H", DEADLINE_EXCEEDED),
    "the longest time-out": timeout("99999999H", OK),
    "a time-out of 9 digits": timeout("123456789S", INTERNAL),
    "a time-out of an unknown unit": timeout("1x", INTERNAL),
    "a time-out below 0": timeout("-1S", INTERNAL),
    "a time-out without a number": timeout("S", INTERNAL),
    "a time-out without a unit": timeout("10", INTERNAL),
    "a time-out with a point": timeout("1.5S", INTERNAL),
    "a time-out of other digits": timeout("\u0661S", INTERNAL),
    "an empty time-out": timeout("", INTERNAL),
    "padded base64": binary("AAEC//8=", OK),
    "base64 without padding": binary("AAEC//8", OK),
    "two values in base64": binary("AAEC,AQ==", OK),
    "empty base64": binary("", OK),
    "bad base64": binary("!!!!", INTERNAL),
    "base64 of the other alphabet": binary("__--", INTERNAL),
    "base64 that is cut": binary("A", INTERNAL),
    "metadata of 9 kB": Case(OK, changes={"x-large": "x" * 9000}),
    "an empty value": Case(OK, changes={"x-meta": ""}),
    "a value that is no ASCII": Case(OK, changes={"x-meta": "caf\u00e9"}),
    "a status in a request": Case(OK, changes=metadata(grpc_status="13", grpc_message="no")),
    "a content-length": Case(OK, changes={"content-length": str(len(asked()))}),
    "a request ID of 8 kB": Case(OK, changes=metadata(x_request_id="x" * 8000)),
}
BAD_NAMES = ("X-Meta", "x meta", "x-m\0eta", "", "connection")
PAGES = {
    "GET of the root": ("GET", "/", None, "200"),
    "HEAD of the root": ("HEAD", "/", None, "200"),
    "POST of the root": ("POST", "/", None, "200"),
    "GET of another path": ("GET", "/payment.v1.Payments/GetPayment", None, "405"),
    "GET of a method": ("GET", CALL[":path"], "application/grpc", "405"),
    "PUT of a method": ("PUT", CALL[":path"], "application/grpc", "405"),
    "a call of JSON": ("POST", CALL[":path"], "application/json", "415"),
    "a call of no type": ("POST", CALL[":path"], None, "415"),
    "a call of gRPC-web": ("POST", CALL[":path"], "application/grpc-web", "415"),
    "a call of another case": ("POST", CALL[":path"], "application/grpcx", "415"),
}


@pytest.fixture(params=["new", "known"])
def peer(request: pytest.FixtureRequest, wire: Stub) -> Iterator[Peer]:
    """A connection: a new one, or one with calls before it, after which the stub knows how the
    client's header blocks begin and which fields follow."""
    with Peer(wire.ports[0]) as peer:
        if request.param == "known":
            small = b"\x20" + b"".join(
                literal(name.encode(), value.encode()) for name, value in (CALL | USUAL).items()
            )
            peer.send(frame(HEADERS, END_HEADERS, 1, small), frame(DATA, END_STREAM, 1, asked()))
            for stream in (3, 5):
                peer.send(call(stream, changes=dict(USUAL)))
            assert all(peer.answer(stream).payment for stream in (1, 3, 5))
        yield peer


@pytest.mark.parametrize("case", CALLS.values(), ids=CALLS.keys())
def test_a_call_has_its_status(peer: Peer, case: Case) -> None:
    peer.send(call(7, case.content, case.changes, end=case.end))
    answer = peer.answer(7)
    assert (answer.fields[":status"], answer.status) == ("200", case.status), answer
    if case.status == OK:
        assert answer.payment == payment_of_invoice("inv-1")
    else:
        assert answer.fields["grpc-message"]
        assert (answer.body, answer.ended) == (b"", True)
    peer.send(call(9))
    assert peer.answer(9).payment == payment_of_invoice("inv-1")


def test_who_compresses_hears_what_is_accepted(peer: Peer) -> None:
    peer.send(call(7, message(b"\0", flag=1), metadata(grpc_encoding="gzip")))
    assert peer.answer(7).fields["grpc-accept-encoding"] == "identity"


@pytest.mark.parametrize(("method", "path", "kind", "status"), PAGES.values(), ids=PAGES.keys())
def test_what_is_no_call_has_a_status_of_http(
    peer: Peer, method: str, path: str, kind: str | None, status: str
) -> None:
    changes = {":method": method, ":path": path, "content-type": kind}
    peer.send(head(7, changes, end=True))
    answer = peer.answer(7)
    assert answer.fields[":status"] == status
    assert answer.ended
    assert "grpc-status" not in answer.fields
    assert len(answer.body) == int(answer.fields["content-length"])
    assert bool(answer.body) == (status == "200" and method != "HEAD")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_bad_name_ends_the_connection(peer: Peer, name: str) -> None:
    assert peer.send(call(7, changes={name: "x"})).end(PROMPT_S).codes == [PROTOCOL_ERROR]


def test_a_call_that_is_taken_back_while_its_message_comes_is_none(wire: Stub, peer: Peer) -> None:
    wire.reset()
    peer.send(head(7), frame(DATA, 0, 7, asked()[:6]), reset(7), call(9))
    assert peer.answer(9).payment == payment_of_invoice("inv-1")
    assert 7 not in peer.answers
    assert dict(wire.snapshot().calls) == {"GetPayment": 1}


def test_who_says_goodbye_has_its_answers_first(wire: Stub, peer: Peer) -> None:
    wire.configure(latency=Latency(fixed_ms=300))
    peer.send(call(7), call(9), frame(GOAWAY, 0, 0, bytes(8)))
    assert peer.end(PROMPT_S).codes == [NO_ERROR]
    assert [peer.answers[stream].payment for stream in (7, 9)] == [payment_of_invoice("inv-1")] * 2


def test_a_large_message_in_many_frames_is_read(peer: Peer) -> None:
    request = GetPaymentRequest(invoice_id="x" * (MAXIMUM_MESSAGE_BYTES - 8))
    content = message(request.SerializeToString())
    parts = [content[start : start + 16_384] for start in range(0, len(content), 16_384)]
    for _ in range(2):
        stream = 7 if 7 not in peer.answers else 9
        peer.send(head(stream), *(frame(DATA, 0, stream, part) for part in parts))
        peer.send(frame(DATA, END_STREAM, stream))
        assert peer.answer(stream).status == INVALID_ARGUMENT  # an id of 4 MB is too long


def test_trailers_end_a_request(peer: Peer) -> None:
    peer.send(head(7), frame(DATA, 0, 7, asked()), headers(7, {"x-meta": "x"}, end=True))
    assert peer.answer(7).payment == payment_of_invoice("inv-1")


def test_what_comes_late_for_a_call_that_was_refused_is_ignored(peer: Peer) -> None:
    peer.send(head(7, {":path": "/nowhere/at-all"}))
    assert peer.answer(7).status == UNIMPLEMENTED
    peer.send(*[frame(DATA, 0, 7, asked())] * 3, frame(DATA, END_STREAM, 7), call(9))
    assert peer.answer(9).payment == payment_of_invoice("inv-1")


def test_a_deadline_ends_a_call_that_waits(wire: Stub, peer: Peer) -> None:
    wire.configure(latency=Latency(fixed_ms=60_000))
    peer.send(call(7, changes=metadata(grpc_timeout="50m")), call(9))
    until(lambda: wire.snapshot().calls_in_flight > 0)
    assert peer.answer(7).status == DEADLINE_EXCEEDED
    assert 9 not in peer.answers
    peer.send(reset(9)).pong()
    until(lambda: wire.snapshot().calls_in_flight == 0)
