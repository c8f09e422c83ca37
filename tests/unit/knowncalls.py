"""A client of one connection of the wire engine that has called before: its heads are known."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace

from hpack import Encoder

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from stub_payment.refusal import NOT_FOUND, Refusal, ResetConnection
from stub_payment.wire.connection import Shared
from stub_payment.wire.methods import Method
from tests.fakes.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from tests.stub.peer import CALL, GET_PAYMENT, asked
from tests.unit.wirepeer import WirePeer, cut, payment

CHANGING = {"grpc-timeout": "1S", "x-request-id": "0190f5a0"}
GIVEN_UP, TAKEN_BACK = b"\x20", b"\x3f\xe1\x1f"  # the header table, of 4096 bytes


def odd(
    request: GetPaymentRequest, request_id: str | None, go_away: Callable[[], None]
) -> Payment | Awaitable[Payment]:
    """Whatever may come of a call, as the first word of its invoice's id says; with the request ID
    for its key."""
    match request.invoice_id.partition(" ")[0]:
        case "leaves":
            go_away()
        case "refused":
            raise Refusal(NOT_FOUND, "no such payment")
        case "bug":
            raise ValueError("a bug")
        case "reset":
            raise ResetConnection
        case "later":
            return later(request, request_id)
    return answer(request, request_id)


async def later(request: GetPaymentRequest, request_id: str | None) -> Payment:
    return answer(request, request_id)


def answer(request: GetPaymentRequest, request_id: str | None) -> Payment:
    made = payment(request)
    made.idempotency_key = request_id or "none"
    return made


METHODS = {GET_PAYMENT.encode(): Method(GetPaymentRequest.FromString, odd)}


def head(stream: int, changes: Mapping[str, str] | None = None) -> bytes:
    """HEADERS of a client that gave its header table up."""
    encoder = Encoder()
    encoder.header_table_size = 0
    block = encoder.encode({**CALL, **CHANGING, **(changes or {})}.items())
    return frame(HEADERS, END_HEADERS, stream, block.removeprefix(GIVEN_UP))


def call(stream: int, invoice_id: str = "inv-1", changes: Mapping[str, str] | None = None) -> bytes:
    return head(stream, changes) + frame(DATA, END_STREAM, stream, asked(invoice_id))


def peer_whose_calls_are_known(wants_request_ids: bool = True) -> tuple[WirePeer, int]:
    """And the id of the next stream."""
    peer = WirePeer(Shared(METHODS, SimpleNamespace(remembers_request_ids=wants_request_ids)))
    first = frame(HEADERS, END_HEADERS, 1, GIVEN_UP + head(1)[9:])
    peer.send(first + frame(DATA, END_STREAM, 1, asked()))
    peer.send(call(3))
    return peer, 5


async def check_alike(
    session: Callable[[int], bytes], sizes: Sequence[int], wants_request_ids: bool
) -> None:
    """What a client sends, given the id of its next stream, is answered in one read, in parts of
    these sizes, and byte by byte, as it is where all frames are taken one after the other."""
    (whole, first), (parts, _), (bytewise, _), (framewise, _) = (
        peer_whose_calls_are_known(wants_request_ids) for _ in range(4)
    )
    framewise.connection._reader._express = lambda _data, position: position
    sent = session(first)
    framewise.send(sent)
    whole.send(sent)
    for part in cut(sent, sizes):
        parts.send(part)
    for byte in sent:
        bytewise.send(bytes([byte]))
    for peer in (whole, parts, bytewise, framewise):
        await peer.turn()
    for peer in (whole, parts, bytewise):
        assert peer.frames == framewise.frames
        assert peer.connection.open_streams == framewise.connection.open_streams
        assert peer.transport.eof == framewise.transport.eof
