"""What peers of the wire engine may cost: bytes out for bytes in, messages that are held, frames
that say nothing."""

from collections.abc import Awaitable, Callable

import pytest
from hpack import Encoder

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from stub_payment.refusal import INTERNAL, OK, RESOURCE_EXHAUSTED, UNIMPLEMENTED
from stub_payment.wire.frames import ConnectionFault, ErrorCode
from stub_payment.wire.limits import MAXIMUM_HELD_BYTES, UNCOUNTED_BODY_BYTES, Allowance
from tests.fakes.http2 import (
    COMPRESSION_ERROR,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PROTOCOL_ERROR,
    frame,
    message,
    reset,
)
from tests.stub.peer import CALL, asked, head
from tests.unit.wirepeer import WirePeer, in_loop, payment, shared

MAXIMUM_REFUSAL_BYTES = 512


# Bytes out for bytes in.


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ({"grpc-encoding": b"x" * 1000}, message(b"", flag=1), UNIMPLEMENTED),
        ({"grpc-encoding": b"\xff" * 1000}, message(b"", flag=1), UNIMPLEMENTED),
        ({":path": b"/" + b"x" * 1000}, b"", UNIMPLEMENTED),
        ({":path": b"/" + b"\xff" * 1000}, b"", UNIMPLEMENTED),
        ({"x" * 1000 + "-bin": b"?"}, b"", INTERNAL),
    ],
    ids=["encoding", "encoding of no ASCII", "path", "path of no ASCII", "name"],
)
@in_loop
async def test_the_refusal_of_a_small_call_is_small(
    fields: dict[str, bytes], body: bytes, status: int
) -> None:
    encoder = Encoder()
    peer = WirePeer()
    sent = []
    for stream in range(1, 200, 2):
        before_bytes = peer.transport.written_bytes
        block = encoder.encode({**CALL, **fields}, huffman=False)
        sent = [frame(HEADERS, END_HEADERS, stream, block), frame(DATA, END_STREAM, stream, body)]
        peer.send(*sent)
        assert peer.answers[stream].status == status
        written_bytes = peer.transport.written_bytes - before_bytes
        assert written_bytes < MAXIMUM_REFUSAL_BYTES
    assert len(b"".join(sent)) <= 32  # all of the last ones' fields came from the table


# Messages that are held.


class Waiting:
    """A method that answers when it may."""

    def __init__(self) -> None:
        self.answers: list[Callable[[Payment], None]] = []

    def __call__(self, request: GetPaymentRequest, *_: object) -> Awaitable[Payment]:
        import asyncio

        answer: asyncio.Future[Payment] = asyncio.get_running_loop().create_future()
        self.answers.append(answer.set_result)
        return answer
