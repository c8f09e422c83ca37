"""A payment from bytes to bytes is the payment that two messages make."""

from collections.abc import Callable
from uuid import UUID

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from protos.payment.v1.payment_pb2 import GetPaymentRequest
from stub_payment.payments import encoded_payment, payment_of_invoice

MANY = 20_000


def request_of(invoice_id: str) -> bytes:
    return GetPaymentRequest(invoice_id=invoice_id).SerializeToString()


def by_messages(request: bytes) -> bytes:
    invoice_id = GetPaymentRequest.FromString(request).invoice_id
    return payment_of_invoice(invoice_id).SerializeToString()


def numbered(number: int) -> str:
    """An invoice as the services have them."""
    return str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)))


def test_the_payments_of_a_load_are_the_same() -> None:
    for number in range(MANY):
        request = request_of(numbered(number))
        assert encoded_payment(request) == by_messages(request)


@given(st.text(st.characters(codec="utf-8"), min_size=30, max_size=40))
def test_an_invoice_of_any_text(invoice_id: str) -> None:
    request = request_of(invoice_id)
    assert encoded_payment(request) in (None, by_messages(request))


@given(st.binary(min_size=30, max_size=40).map(lambda text: b"\n\x24" + text))
def test_any_bytes(request: bytes) -> None:
    encoded = encoded_payment(request)
    try:
        answer = by_messages(request)
    except (DecodeError, ValueError):
        answer = None
    assert encoded in (None, answer)


@pytest.mark.parametrize(
    "change",
    [
        lambda request: b"",
        lambda request: request[:-1],
        lambda request: request + b"\x10\x01",
        lambda request: b"\x12" + request[1:],
        lambda request: b"\n\x23" + request[2:],
        lambda request: b"\n\x22" + request[2:-2] + b"\x10\x01",
        lambda request: request[:-2] + "é".encode(),
        lambda request: request[:-1] + b"\xff",
    ],
)
def test_what_is_different_is_left_to_messages(change: Callable[[bytes], bytes]) -> None:
    request = request_of(numbered(1))
    assert encoded_payment(request) == by_messages(request)
    assert encoded_payment(change(request)) is None
