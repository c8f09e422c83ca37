"""A peer of one connection of the wire engine, in this process: what it sends is read at once, and
what the connection writes has come."""

import asyncio
import functools
import gc
from collections.abc import Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any, ParamSpec, Self

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from stub_payment.payments import payment_of_invoice
from stub_payment.wire.connection import Connection, Shared
from stub_payment.wire.limits import SWEEP_S
from stub_payment.wire.methods import Call, Method, Methods
from tests.fakes.http2 import PREFACE, settings
from tests.stub.peer import GET_PAYMENT
from tests.stub.received import Frame, Received

DEADLINE_S = 60.0
P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs a test in a loop of its own. What the loop is told of and nobody caught fails it."""

    async def watched(*args: P.args, **kwargs: P.kwargs) -> None:
        uncaught: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: uncaught.append(context)
        )
        async with asyncio.timeout(DEADLINE_S):
            await test(*args, **kwargs)
            await asyncio.sleep(0)
        gc.collect(1)  # tells of tasks whose errors nobody asked for
        assert not uncaught

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(watched(*args, **kwargs))

    return run


def payment(request: GetPaymentRequest, *_: object) -> Payment:
    """Answers at once."""
    return payment_of_invoice(request.invoice_id)


def shared(call: Call = payment) -> Shared:
    """What connections have in common; `call` is behind GetPayment."""
    return shared_methods({GET_PAYMENT.encode(): Method(GetPaymentRequest.FromString, call)})


def shared_methods(methods: Methods) -> Shared:
    """The same of other methods."""
    return Shared(methods, SimpleNamespace(remembers_request_ids=False))


def cut(sent: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Parts of these sizes, and the rest."""
    parts, position = [], 0
    for size in sizes:
        parts.append(sent[position : position + size])
        position += size
    return [part for part in (*parts, sent[position:]) if part]


class Transport(asyncio.Transport):
    """Hands on what is written; `unsent_bytes` says what of it is still here, as a test has it."""

    def __init__(self, received: Received) -> None:
        super().__init__()
        self._received = received
        self.written_bytes = 0
        self.unsent_bytes = 0
        self.eof = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof and not self.aborted
        self.written_bytes += len(data)
        self._received.unread += data

    def write_eof(self) -> None:
        self.eof = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None


class WirePeer(Received):
    """Greets with SETTINGS of these entries, unless it is not to."""

    def __init__(
        self, common: Shared | None = None, *entries: tuple[int, int], greets: bool = True
    ) -> None:
        super().__init__()
        self.common = shared() if common is None else common
        self.frames: list[Frame] = []
        self.transport = Transport(self)
        self.connection = Connection(self.common)
        self.connection.connection_made(self.transport)
        if greets:
            self.send(PREFACE, settings(*entries))

    def send(self, *parts: bytes) -> Self:
        """The connection reads all of it at once."""
        self.connection.data_received(b"".join(parts))
        return self.hear()

    def hear(self) -> Self:
        """Books what was written."""
        while (found := self.next_frame()) is not None:
            self.frames.append(found)
        return self

    async def turn(self) -> Self:
        """Lets the loop go round, as often as a call that can be answered takes."""
        for _ in range(8):
            await asyncio.sleep(0)
        return self.hear()

    def sweep(self, seconds: float) -> Self:
        """That much time goes by."""
        for _ in range(round(seconds / SWEEP_S)):
            self.common.sweep()
        return self.hear()

    def of(self, stream: int) -> list[Frame]:
        """The frames of a stream."""
        return [found for found in self.frames if found.stream == stream]
