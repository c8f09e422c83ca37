"""Many calls at once: none is lost between a service and its provider."""

import asyncio
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Self
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
# How long a service lets a request take. A machine that keeps us from running for half of it says
# nothing about the service in that burst, which is sent again; there may be two such bursts.
REQUEST_TIMEOUT_S = 5.0
VOID_BURSTS = 2
CONNECTIONS = 100
CALLS = scaled(10_000)


class Gathered:
    """Keeps calls until there are enough, and answers them in one write."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._calls: list[Call] = []
        self.bursts = 0

    def __call__(self, call: Call) -> None:
        self._calls.append(call)
        if len(self._calls) < self._count:
            return
        calls, self._calls = self._calls, []
        (connection,) = {call.connection for call in calls}
        for call in calls:
            connection.open.discard(call.stream)
        connection.write(b"".join(call.answer_frames() for call in calls))
        self.bursts += 1

    def forget(self) -> None:
        """The calls of a burst that is over."""
        self._calls = []


class Standstill:
    """Measures how long we are kept from running, in a thread that wants to run now and then."""

    TICK_S = 0.05

    def __init__(self) -> None:
        self.kept_s = 0.0
        self._over = Event()
        self._thread = Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        ticked_s = time.monotonic()
        while not self._over.wait(self.TICK_S):
            now_s = time.monotonic()
            self.kept_s += now_s - ticked_s - self.TICK_S
            ticked_s = now_s


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

        async def send() -> int:
            """Bursts until there are enough; how many were void."""
            client = Client(instance.base_url, instance.api.token)
            void = answered = 0
            while answered < BURSTS:
                before_s = standstill.kept_s
                found = await asyncio.gather(*(client.get(path) for _ in range(IN_FLIGHT)))
                bad = [outcome for outcome in found if outcome.status != 200]
                if bad:
                    kept_s = standstill.kept_s - before_s
                    assert kept_s > REQUEST_TIMEOUT_S / 2, (len(bad), kept_s, bad[0])
                    void += 1
                    assert void <= VOID_BURSTS
                    gathered.forget()
                else:
                    answered += 1
            client.close()
            return void

        start_s = time.monotonic()
        with Standstill() as standstill:
            void = uvloop.run(send())
        took_s = time.monotonic() - start_s
        if not void:
            assert (gathered.bursts, provider.calls) == (BURSTS, BURSTS * IN_FLIGHT)
            assert provider.open_calls == 0
        assert provider.accepted == 1
        print(f"{starter.name}: {BURSTS} bursts of {IN_FLIGHT} in {took_s:.1f} s, {void} void")


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
