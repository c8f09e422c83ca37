"""What is served: the provider's methods and the health service, by path."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from protos.payment.v1.payment_pb2 import CreatePaymentRequest, GetPaymentRequest
from stub_payment.refusal import NOT_FOUND, Refusal
from stub_payment.servicer import Servicer

# Takes a request, its request ID if wanted, and what to do where the call's fault is `goaway`.
Call = Callable[..., Message | Awaitable[Message]]


def not_at_once(_: bytes) -> None:
    """For methods whose requests all have to become messages."""


@dataclass(frozen=True, slots=True)
class Method:
    """How a request's bytes become a message, and a message an answer.

    `at_once` makes an encoded answer of an encoded request; None: this one is for the others.
    """

    parse: Callable[[bytes], Message]
    call: Call
    at_once: Callable[[bytes], bytes | None] = not_at_once


Methods = Mapping[bytes, Method]  # by `:path`


class Health:
    """The gRPC health service, without its stream."""

    def __init__(self) -> None:
        self.serving = True

    def check(self, request: HealthCheckRequest, *_: object) -> HealthCheckResponse:
        """The whole server's state; no service has one of its own. Raises Refusal."""
        if request.service:
            raise Refusal(NOT_FOUND, "unknown service")
        response = HealthCheckResponse
        return response(status=response.SERVING if self.serving else response.NOT_SERVING)


def methods(servicer: Servicer, health: Health) -> Methods:
    """The methods by `:path`."""
    return {
        b"/payment.v1.Payments/GetPayment": Method(
            GetPaymentRequest.FromString, servicer.get_payment, servicer.get_payment_encoded
        ),
        b"/payment.v1.Payments/CreatePayment": Method(
            CreatePaymentRequest.FromString, servicer.create_payment
        ),
        b"/grpc.health.v1.Health/Check": Method(HealthCheckRequest.FromString, health.check),
    }
