"""The payment stub on each of its engines: one of two processes that the tests leave running."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from stub_payment.payments import payment_of_invoice
from tests.stub.peer import Peer, call
from tests.stub.process import Stub, running, until

ENGINES = ("grpcio", "wire")


@pytest.fixture(scope="session")
def stub_on() -> Iterator[Callable[[str], Stub]]:
    """A stub an engine: started when it is first asked for, and alive as long as all."""
    with ExitStack() as stack:
        yield cache(lambda engine: stack.enter_context(running(engine, "--processes", "2")))


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    name: str = request.param
    return name


@pytest.fixture
def stub(engine: str, stub_on: Callable[[str], Stub]) -> Stub:
    """The stub on each engine, without behaviour or counts."""
    found = stub_on(engine)
    found.reset()
    return found


@pytest.fixture
def wire(stub_on: Callable[[str], Stub]) -> Stub:
    """The stub on the engine `wire`, without behaviour or counts."""
    found = stub_on("wire")
    found.reset()
    return found


@pytest.fixture
def honest(wire: Stub) -> Iterator[None]:
    """Whatever a test does to the stub: who was connected is served afterwards, who comes is, and
    no call is left behind."""
    with Peer(wire.ports[0]) as connected:
        connected.send(call(1)).answer(1)
        wire.reset()
        yield
        wire.configure()
        assert connected.send(call(3)).answer(3).payment == payment_of_invoice("inv-1")
        with Peer(wire.ports[0]) as new:
            assert new.send(call(1)).answer(1).payment == payment_of_invoice("inv-1")
    until(lambda: wire.snapshot().calls_in_flight == 0)
