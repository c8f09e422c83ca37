"""The unary cases of gRPC's interoperability tests, in forms of our own: each engine of the stub
with the real clients of three implementations."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from protos.payment.v1.payment_pb2 import Fault, GetPaymentRequest, Latency, Payment
from stub_payment.payments import payment_of_invoice
from tests.contract.rig import scaled
from tests.stub.actor import acting, refusal, sized
from tests.stub.callers import BUILD_DEADLINE_S, CALLERS, Caller, Outcome, Wish, caller
from tests.stub.process import DEADLINE_S, Stub, until

pytestmark = pytest.mark.timeout(300 + 2 * BUILD_DEADLINE_S)

OK, CANCELLED, UNKNOWN, DEADLINE_EXCEEDED = 0, 1, 2, 4
UNIMPLEMENTED, INTERNAL = 12, 13
GET_PAYMENT = "/payment.v1.Payments/GetPayment"
CHECK = "/grpc.health.v1.Health/Check"
# Of gRPC's own cases.
LARGE_REQUEST, LARGE_ANSWER = 271_828, 314_159
LARGE_CALLS = 70
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
SOAKED = scaled(1000)


@pytest.fixture(scope="session")
def callers() -> Iterator[Callable[[str], Caller]]:
    """The clients by name."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(caller(name)))


@pytest.fixture(scope="session")
def actor_on(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], int]]:
    """The port of an engine whose servicer is an actor."""
    with ExitStack() as stack:
        yield cache(
            lambda engine: stack.enter_context(acting(engine, tmp_path_factory.mktemp(engine)))
        )


@pytest.fixture(params=CALLERS)
def call(request: pytest.FixtureRequest, callers: Callable[[str], Caller]) -> Caller:
    """Each client in turn."""
    return callers(request.param)


@pytest.fixture
def target(stub: Stub) -> str:
    """Each engine in turn."""
    return f"127.0.0.1:{stub.ports[0]}"


@pytest.fixture
def actor(engine: str, actor_on: Callable[[str], int]) -> str:
    """Each engine in turn, with an actor."""
    return f"127.0.0.1:{actor_on(engine)}"


def asked(invoice_id: str = "inv-1") -> bytes:
    return GetPaymentRequest(invoice_id=invoice_id).SerializeToString()


def only(outcome: Outcome) -> int:
    """The one status that came."""
    (code,) = outcome.codes
    return code


def test_a_call_is_answered(call: Caller, target: str) -> None:
    outcome = call(Wish(target, GET_PAYMENT, asked()))
    assert only(outcome) == OK
    assert Payment.FromString(outcome.body) == payment_of_invoice("inv-1")


def test_an_empty_message(call: Caller, target: str) -> None:
    outcome = call(Wish(target, CHECK))
    assert only(outcome) == OK
    assert HealthCheckResponse.FromString(outcome.body).status == HealthCheckResponse.SERVING


def test_large_messages(call: Caller, actor: str) -> None:
    content = asked(sized(LARGE_ANSWER) + "\n" + "x" * LARGE_REQUEST)
    # On one channel, more than the window of a connection.
    outcome = call(Wish(actor, GET_PAYMENT, content, count=LARGE_CALLS))
    assert outcome.codes == {OK: LARGE_CALLS}
    assert Payment.FromString(outcome.body).payment_id == "x" * LARGE_ANSWER


def test_metadata(call: Caller, target: str, stub: Stub) -> None:
    stub.configure(remember_request_ids=10)
    metadata = {
        "x-request-id": "request-of-interop",
        "x-grpc-test-echo-trailing-bin": "\x0a\x0b\x0a\x0b\x0a\x0b",
        "x-grpc-test-echo-initial": "test_initial_metadata_value",
        "x-large": "y" * 9000,
    }
    assert only(call(Wish(target, GET_PAYMENT, asked(), metadata))) == OK
    assert list(stub.snapshot().request_ids) == ["request-of-interop"]


def test_a_status_and_its_message(call: Caller, actor: str) -> None:
    outcome = call(Wish(actor, GET_PAYMENT, asked(refusal(UNKNOWN, "test status message"))))
    assert (only(outcome), outcome.message) == (UNKNOWN, "test status message")


def test_a_special_message(call: Caller, actor: str) -> None:
    outcome = call(Wish(actor, GET_PAYMENT, asked(refusal(UNKNOWN, SPECIAL))))
    assert (only(outcome), outcome.message) == (UNKNOWN, SPECIAL)


@pytest.mark.parametrize("code", range(1, 17))
def test_every_status(call: Caller, target: str, stub: Stub, code: int) -> None:
    stub.configure(faults=[Fault(share=1, status_code=code)])
    assert only(call(Wish(target, GET_PAYMENT, asked()))) == code


@pytest.mark.parametrize(
    "path", ["/payment.v1.Payments/Refund", "/grpc.testing.UnimplementedService/UnimplementedCall"]
)
@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_not_implemented(call: Caller, target: str, path: str, streaming: bool) -> None:
    assert only(call(Wish(target, path, asked(), streaming=streaming))) == UNIMPLEMENTED


def test_the_stream_of_health_never_hangs(call: Caller, stub_on: Callable[[str], Stub]) -> None:
    target = f"127.0.0.1:{stub_on('wire').ports[0]}"
    watched = HealthCheckRequest(service="").SerializeToString()
    outcome = call(Wish(target, "/grpc.health.v1.Health/Watch", watched, streaming=True))
    assert only(outcome) == UNIMPLEMENTED


def test_a_deadline_that_passes(call: Caller, target: str, stub: Stub) -> None:
    stub.configure(latency=Latency(fixed_ms=DEADLINE_S * 1000))
    outcome = call(Wish(target, GET_PAYMENT, asked(), timeout_s=0.1))
    # tonic's own clock says it in a way of its own.
    told_by_tonic = ({CANCELLED: 1}, "Timeout expired")
    assert only(outcome) == DEADLINE_EXCEEDED or (outcome.codes, outcome.message) == told_by_tonic
    until(lambda: stub.snapshot().calls_in_flight == 0)


def test_a_call_that_is_cancelled(call: Caller, target: str, stub: Stub) -> None:
    stub.configure(faults=[Fault(share=1, hang=True)])
    outcome = call(Wish(target, GET_PAYMENT, asked(), cancel_after_s=0.2))
    assert only(outcome) == CANCELLED
    until(lambda: stub.snapshot().calls_in_flight == 0)
    assert dict(stub.snapshot().answers) == {}


@pytest.mark.parametrize("new_channels", [False, True])
def test_calls_one_after_the_other(
    call: Caller, target: str, stub: Stub, new_channels: bool
) -> None:
    outcome = call(Wish(target, GET_PAYMENT, asked(), count=SOAKED, new_channels=new_channels))
    assert outcome.codes == {OK: SOAKED}
    assert dict(stub.snapshot().answers) == {OK: SOAKED}
