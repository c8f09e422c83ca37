"""The reference engine: grpcio's own server on asyncio.

grpc.aio on uvloop rather than the thread-pool server: a thread a waiting call
would bound how many calls can be slow or hang. See README.md for both costs.
"""

import asyncio
import contextlib
from typing import Any, NoReturn

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]

from bakeoff.errors import StartError
from protos.payment.v1 import payment_pb2_grpc
from protos.payment.v1.payment_pb2 import CreatePaymentRequest, GetPaymentRequest, Payment
from stub_payment.refusal import Refusal
from stub_payment.servicer import Servicer

MAXIMUM_CONCURRENT_STREAMS = 1024
MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024
MAXIMUM_METADATA_BYTES = 16 * 1024
FLUSH_S = 0.5  # what the server gets to send its last answers

Context = grpc.aio.ServicerContext[Any, Any]

SERVER_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a share
    ("grpc.max_concurrent_streams", MAXIMUM_CONCURRENT_STREAMS),
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.max_metadata_size", MAXIMUM_METADATA_BYTES),
]


class GrpcioEngine:
    """Serves a servicer and the gRPC health service on one port."""

    def __init__(self, servicer: Servicer) -> None:
        self._servicer = servicer
        self._health = health_aio.HealthServicer()
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        payment_pb2_grpc.add_PaymentsServicer_to_server(_Payments(servicer), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self, host: str, port: int) -> int:
        """Serves; returns the port, which is a free one for 0. Raises StartError."""
        bound = bind(self._server, host, port)
        await self._server.start()
        return bound

    async def drain(self, grace_s: float) -> None:
        """Not healthy, no new calls; those in flight get `grace_s`, then all is closed."""
        closing_at_s = asyncio.get_running_loop().time() + grace_s
        with contextlib.suppress(TimeoutError):  # someone who watches but does not read
            await asyncio.wait_for(self._health.enter_graceful_shutdown(), FLUSH_S)
        await self._servicer.drain(max(0.0, grace_s - FLUSH_S))
        left_s = closing_at_s - asyncio.get_running_loop().time()
        await self._server.stop(min(FLUSH_S, max(0.0, left_s)))


def bind(server: grpc.aio.Server, host: str, port: int) -> int:
    """Opens a port on a server that has not started. Raises StartError where it cannot."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartError(
            f"the payment stub cannot listen on {address}: the port is taken or the address"
            " is not this machine's. Choose another --port (0: a free one) or --host."
        ) from error


class _Payments(payment_pb2_grpc.PaymentsServicer):
    def __init__(self, servicer: Servicer) -> None:
        self._servicer = servicer

    async def GetPayment(self, request: GetPaymentRequest, context: Context) -> Payment:
        servicer = self._servicer
        request_id = _request_id(context) if servicer.remembers_request_ids else None
        try:
            answer = servicer.get_payment(request, request_id)
            return answer if isinstance(answer, Payment) else await answer
        except Refusal as refusal:
            await _abort(context, refusal)

    async def CreatePayment(self, request: CreatePaymentRequest, context: Context) -> Payment:
        servicer = self._servicer
        request_id = _request_id(context) if servicer.remembers_request_ids else None
        try:
            return await servicer.create_payment(request, request_id)
        except Refusal as refusal:
            await _abort(context, refusal)


async def _abort(context: Context, refusal: Refusal) -> NoReturn:
    await context.abort(STATUS_BY_CODE[refusal.code], refusal.message)


def _request_id(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "x-request-id":
            return value if isinstance(value, str) else value.decode(errors="replace")
    return None


STATUS_BY_CODE = {int(status.value[0]): status for status in grpc.StatusCode}
