"""Many calls at once: none is lost, none is answered twice."""

import asyncio
from uuid import uuid4

import pytest
import uvloop

from tests.contract.rig import scaled
from tests.stub.pipeline import Pipeline
from tests.stub.process import Stub

IN_FLIGHT = 512
BURSTS = scaled(200)
CONNECTIONS = 100
CALLS = scaled(10_000)


@pytest.mark.timeout(600)
def test_calls_in_one_write_are_all_answered(stub: Stub) -> None:
    async def bursts() -> None:
        client = await Pipeline.connect(stub.ports[0])
        for _ in range(BURSTS):
            client.send([""] * IN_FLIGHT)
            await client.done()
        assert client.good == BURSTS * IN_FLIGHT
        await client.close()

    uvloop.run(bursts())
    seen = stub.snapshot()
    assert dict(seen.calls) == {"GetPayment": BURSTS * IN_FLIGHT}
    assert dict(seen.answers) == {0: BURSTS * IN_FLIGHT}
    assert seen.calls_in_flight == 0


@pytest.mark.timeout(600)
def test_as_many_calls_are_counted_as_are_sent(stub: Stub) -> None:
    stub.configure(remember_request_ids=CALLS)
    sent = [str(uuid4()) for _ in range(CALLS)]

    async def run() -> None:
        clients = [await Pipeline.connect(stub.ports[0]) for _ in range(CONNECTIONS)]

        async def calls(number: int) -> None:
            own = sent[number::CONNECTIONS]
            # Some one after the other, some at once.
            for start in range(0, len(own), number % 5 + 1):
                clients[number].send(own[start : start + number % 5 + 1])
                await clients[number].done()

        await asyncio.gather(*map(calls, range(CONNECTIONS)))
        assert sum(client.good for client in clients) == CALLS
        for client in clients:
            await client.close()

    uvloop.run(run())
    seen = stub.snapshot()
    assert dict(seen.calls) == {"GetPayment": CALLS}
    assert dict(seen.answers) == {0: CALLS}
    assert sorted(seen.request_ids) == sorted(sent)
