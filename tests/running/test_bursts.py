"""Many calls at once: none is lost between a service and its provider."""

import asyncio
import time
from collections.abc import Iterator
from uuid import uuid4

import grpc
import pytest
import uvloop
from google.protobuf.empty_pb2 import Empty

from protos.payment.v1.payment_pb2 import Behaviour
from protos.payment.v1.payment_pb2_grpc import ControlStub
from tests.contract.rig import scaled
from tests.running.client import Client, Outcome, of_status
from tests.running.provider import Call, Provider
from tests.running.rig import DEADLINE_S, Starter

IN_FLIGHT = 512
BURSTS = scaled(200)
# How long a service lets a request take, and how many bursts may take longer, since a machine that
# stands still for so long leaves nothing else to answer.
REQUEST_TIMEOUT_S = 5.0
LATE_BURSTS = 2
CONNECTIONS = 100
CALLS = scaled(10_000)


class Gathered:
    """Keeps calls until there are enough, and answers them in one write."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._calls: list[Call] = []
        self.answered_s: list[float] = []

    def __call__(self, call: Call) -> None:
        self._calls.append(call)
        if len(self._calls) < self._count:
            return
        calls, self._calls = self._calls, []
        (connection,) = {call.connection for call in calls}
        for call in calls:
            connection.open.discard(call.stream)
        self.answered_s.append(time.monotonic())
        connection.write(b"".join(call.answer_frames() for call in calls))


def failed(burst: list[Outcome], answered_s: float) -> list[Outcome]:
    """What ended otherwise than it has to, if the provider answered then: whose time was up
    before, is told so."""
    return [
        outcome
        for outcome in burst
        if outcome.status != 200
        and (outcome.status != 504 or answered_s < outcome.sent_s + REQUEST_TIMEOUT_S)
    ]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.mark.timeout(600)
def test_calls_in_flight_on_one_connection_are_answered_at_once(
    starter: Starter, provider: Provider
) -> None:
    changes = {"PAYMENT_TARGETS": provider.target, "PAYMENT_TIMEOUT_MS": "60000"}
    with starter.start(**changes) as instance:
        instance.await_ready()
        path = f"/v1/invoices/{instance.api.invoice()['id']}/payment"
        gathered = Gathered(IN_FLIGHT)
        provider.behave(gathered)

        async def send() -> list[list[Outcome]]:
            client = Client(instance.base_url, instance.api.token)
            found = [
                await asyncio.gather(*(client.get(path) for _ in range(IN_FLIGHT)))
                for _ in range(BURSTS)
            ]
            client.close()
            return found

        start_s = time.monotonic()
        bursts = uvloop.run(send())
        took_s = time.monotonic() - start_s
        # One lost call, and its burst is never answered.
        assert (len(gathered.answered_s), provider.calls) == (BURSTS, BURSTS * IN_FLIGHT)
        found = list(zip(bursts, gathered.answered_s, strict=True))
        bad = [outcome for burst, answered_s in found for outcome in failed(burst, answered_s)]
        assert not bad, (len(bad), bad[0])
        late = sum(len(of_status(burst, 200)) < IN_FLIGHT for burst in bursts)
        assert late <= LATE_BURSTS
        assert provider.accepted == 1
        assert provider.open_calls == 0
        print(f"{starter.name}: {BURSTS} bursts of {IN_FLIGHT} in {took_s:.1f} s, {late} late")


def test_as_many_calls_arrive_as_are_sent(starter: Starter) -> None:
    target = starter.bench.stub.control.target
    with starter.start() as instance, grpc.insecure_channel(target) as channel:
        instance.await_ready()
        path = f"/v1/invoices/{instance.api.invoice()['id']}/payment"
        control = ControlStub(channel)
        control.Configure(Behaviour(remember_request_ids=1_000_000), timeout=DEADLINE_S)
        sent = [str(uuid4()) for _ in range(CALLS)]

        async def run() -> list[Outcome]:
            left = iter(sent)

            async def on_one_connection() -> list[Outcome]:
                client = Client(instance.base_url, instance.api.token)
                await client.open(1)
                found = [await client.get(path, request_id) for request_id in left]
                client.close()
                return found

            parts = await asyncio.gather(*(on_one_connection() for _ in range(CONNECTIONS)))
            return [outcome for part in parts for outcome in part]

        outcomes = uvloop.run(run())
        snapshot = control.Snapshot(Empty(), timeout=DEADLINE_S)
        control.Reset(Empty(), timeout=DEADLINE_S)
    assert len(of_status(outcomes, 200)) == CALLS
    assert snapshot.calls["GetPayment"] == CALLS
    assert sorted(snapshot.request_ids) == sorted(sent)
    assert sorted(outcome.headers["x-request-id"] for outcome in outcomes) == sorted(sent)
    logged = [line["request_id"] for line in instance.lines("request")]
    assert set(sent) <= set(logged)
    assert len(logged) == len(set(logged))
