"""A service under load is told to stop: nobody notices who heeds what it says."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
import uvloop

from bakeoff.rig.payment_stub import StubFault
from tests.contract.rig import SCALE, scaled
from tests.contract.test_pay import charges
from tests.contract.wire import connect, host_of, request_bytes
from tests.running.client import Client, Outcome, open_load
from tests.running.rig import DEADLINE_S, SLACK, Instance, Starter, health, until

# An ordinary run shares its cores with others, and an overload is not what this is about.
RATE_PER_S = 500 if SCALE >= 1 else 100
# One request in so many is a payment.
PAY_EVERY = 50
STOPS = scaled(50)
DRAIN_S = 2
GRACE_S = 20
NOT_READY_WITHIN_S = 0.1 * SLACK
# Clients go on for so long after /readyz has said that it is over, as those do who look every so
# often. It is far enough from the end of the drain time for a machine that is busy.
HEEDED_AFTER_S = 0.3
# When the payments are sent that outlast the drain time: they wait for a row, for 2 s at most.
LATE_S = DRAIN_S - 0.7
POLL_S = 0.01


@contextmanager
def held_rows(instance: Instance, invoices: list[str]) -> Iterator[None]:
    """Keeps payments of these invoices from going on, until the end."""
    with psycopg.connect(instance.database_url) as connection:
        connection.execute("SELECT 1 FROM invoices WHERE id = ANY(%s) FOR UPDATE", [invoices])
        yield


def statuses_of(instance: Instance, invoices: list[str]) -> list[str]:
    """What has become of invoices, with the service or without it."""
    with psycopg.connect(instance.database_url) as connection:
        rows = connection.execute(
            "SELECT status FROM invoices WHERE id = ANY(%s) ORDER BY id", [invoices]
        )
        return [row[0] for row in rows]


@dataclass
class Watched:
    """What health checks on new connections said, as seconds after the signal."""

    not_ready_s: float = 0.0
    refused_s: float = 0.0
    last_live_s: float = 0.0


async def watch(base_url: str, signalled_s: float, seen: Watched) -> None:
    """Asks /livez and /readyz by turns until nobody accepts any more."""
    while not seen.refused_s:
        asked_s = time.monotonic() - signalled_s
        live, _ = await asyncio.to_thread(health, base_url, "/livez")
        status, content = await asyncio.to_thread(health, base_url, "/readyz")
        if live == 200:
            seen.last_live_s = asked_s
        if status == 503 and not seen.not_ready_s:
            assert content["status"] == "draining", content
            seen.not_ready_s = time.monotonic() - signalled_s
        if live == 0:
            seen.refused_s = time.monotonic() - signalled_s
        else:
            # Not ready, but alive, until it is gone; it may go between the two questions, and the
            # first may come before it has seen the signal.
            unaware = not seen.not_ready_s and asked_s < NOT_READY_WITHIN_S
            assert live == 200 and status in ((503, 0, 200) if unaware else (503, 0)), (
                live,
                status,
            )
        await asyncio.sleep(POLL_S)
        assert time.monotonic() - signalled_s < DEADLINE_S


@dataclass
class Stop:
    """One stop under load."""

    signalled_s: float
    outcomes: list[Outcome]
    watched: Watched
    held: Outcome
    hung_up: Outcome


async def stop_under_load(instance: Instance, read: str, invoices: list[str]) -> Stop:
    """Load, a signal in the midst of it, and clients that go on until they have heard of it. The
    last two payments are under way when the service accepts nothing more."""
    *paid, held, left = invoices
    client = Client(instance.base_url, instance.api.token)
    watched = Watched()
    signalled_s = 0.0

    async def send(number: int) -> Outcome:
        if number % PAY_EVERY == 0 and paid:
            return await client.pay(paid.pop(), str(uuid4()))
        return await client.get(read)

    def goes_on() -> bool:
        heard_s = watched.not_ready_s or NOT_READY_WITHIN_S
        return not signalled_s or time.monotonic() < signalled_s + heard_s + HEEDED_AFTER_S

    load = asyncio.create_task(open_load(send, RATE_PER_S, goes_on))
    await asyncio.sleep(0.3)
    with held_rows(instance, [held, left]):
        instance.terminate()
        signalled_s = time.monotonic()
        watching = asyncio.create_task(watch(instance.base_url, signalled_s, watched))
        await asyncio.sleep(LATE_S)
        late = asyncio.create_task(client.pay(held, "held"))
        hung_up = await client.pay(left, "left", deadline_s=0.3)
        outcomes = await load
        await watching
    stop = Stop(signalled_s, outcomes, watched, await late, hung_up)
    client.close()
    return stop


def check_stop(instance: Instance, stop: Stop, invoices: list[str]) -> None:
    """What has to hold of a stop under load."""
    assert instance.process.wait(GRACE_S + DEADLINE_S) == 0, instance.process.how_it_ended()
    ended_s = time.monotonic() - stop.signalled_s
    assert ended_s < DRAIN_S + GRACE_S
    bad = [outcome for outcome in stop.outcomes if outcome.status != 200]
    assert not bad, (len(bad), len(stop.outcomes), bad[0])
    watched = stop.watched
    assert 0 < watched.not_ready_s < NOT_READY_WITHIN_S
    # It served for all of the drain time, and then no longer.
    assert DRAIN_S <= watched.refused_s < DRAIN_S + SLACK, watched
    assert watched.last_live_s > DRAIN_S / 2, watched
    # Who had an answer after the readiness was gone was told to close, and only then.
    after = [o for o in stop.outcomes if o.sent_s > stop.signalled_s + watched.not_ready_s]
    before = [o for o in stop.outcomes if o.done_s < stop.signalled_s]
    assert after and all(outcome.closes for outcome in after)
    assert before and not any(outcome.closes for outcome in before)
    # Under way when it stopped accepting: one that waits for its answer, one that hung up.
    assert (stop.held.status, stop.held.closes) == (200, True), stop.held
    assert stop.held.done_s - stop.signalled_s > DRAIN_S
    assert stop.hung_up.status == 0
    assert statuses_of(instance, invoices[-2:]) == ["paid", "paid"]
    rig = instance.api.target.behind()
    assert [charges(rig, invoice) for invoice in invoices[-2:]] == [1, 1]
    assert [line["level"] for line in instance.lines("draining")] == ["INFO"]
    assert instance.log.read_text().splitlines()[-1].count('"message":"stopped"') == 1


def open_invoices(instance: Instance, count: int) -> list[str]:
    """New open invoices of the instance's account."""
    subscription = instance.api.subscription()["id"]
    return [instance.api.invoice(subscription_id=subscription)["id"] for _ in range(count)]


@pytest.mark.timeout(600)
def test_nobody_who_heeds_readiness_notices_a_stop(starter: Starter) -> None:
    changes = {"SHUTDOWN_DRAIN_SECONDS": str(DRAIN_S), "SHUTDOWN_GRACE_SECONDS": str(GRACE_S)}
    sent, not_ready_s = 0, []
    for _ in range(STOPS):
        with starter.start(**changes) as instance:
            instance.await_ready()
            invoices = open_invoices(instance, 12)
            read = f"/v1/invoices/{invoices[0]}/payment"
            stop = uvloop.run(stop_under_load(instance, read, invoices[1:]))
            check_stop(instance, stop, invoices[1:])
            sent += len(stop.outcomes)
            not_ready_s.append(stop.watched.not_ready_s)
    print(
        f"{starter.name}: {STOPS} stops, {sent} requests, none refused; not ready after"
        f" {sorted(not_ready_s)[len(not_ready_s) // 2] * 1e3:.0f} ms,"
        f" {max(not_ready_s) * 1e3:.0f} ms at most"
    )


@contextmanager
def payment_in_flight(instance: Instance, invoice: str) -> Iterator[socket.socket]:
    """A payment whose call the provider has executed and does not answer."""
    control = instance.api.target.behind().control
    control.configure(faults=[StubFault("hang", after_execution=True)])
    headers = [
        ("Authorization", f"Bearer {instance.api.token}"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "k"),
    ]
    path, host = f"/v1/invoices/{invoice}/pay", host_of(instance.base_url)
    with connect(instance.base_url) as connection:
        connection.sendall(request_bytes("POST", path, host, headers, b"{}"))
        until(lambda: charges(instance.api.target.behind(), invoice) == 1, why="charged")
        yield connection
    control.reset()


def attempts_of(instance: Instance, invoice: str) -> list[tuple[str, bool]]:
    """The states of an invoice's attempts, and whether they are leased."""
    with psycopg.connect(instance.database_url) as connection:
        return connection.execute(
            "SELECT state, lease_until > now() FROM payment_attempts WHERE invoice_id = %s",
            [invoice],
        ).fetchall()


@pytest.mark.parametrize("by", ["the end of the grace period", "a second signal"])
def test_a_stop_that_is_cut_short_fails_and_loses_nothing(starter: Starter, by: str) -> None:
    signalled_twice = by == "a second signal"
    changes = {
        "PAYMENT_TIMEOUT_MS": "60000",
        "SHUTDOWN_DRAIN_SECONDS": "300" if signalled_twice else "0",
        "SHUTDOWN_GRACE_SECONDS": "300" if signalled_twice else "1",
    }
    with starter.start(**changes) as instance:
        instance.await_ready()
        invoice = instance.api.invoice()["id"]
        with payment_in_flight(instance, invoice) as connection:
            start_s = time.monotonic()
            instance.terminate()
            if signalled_twice:
                until(lambda: bool(instance.lines("draining")), why="draining")
                assert health(instance.base_url, "/livez")[0] == 200
                instance.terminate()
            assert instance.process.wait(DEADLINE_S) == 1, instance.process.how_it_ended()
            took_s = time.monotonic() - start_s
            assert took_s < SLACK if signalled_twice else 1 <= took_s < 1 + SLACK
            with suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert attempts_of(instance, invoice) == [("pending", True)]
    with starter.start() as instance:
        instance.await_ready()
        # As if the time of its lease were over.
        with psycopg.connect(instance.database_url) as database:
            database.execute(
                "UPDATE payment_attempts SET lease_until = now() WHERE invoice_id = %s", [invoice]
            )
        until(lambda: statuses_of(instance, [invoice]) == ["paid"], why="paid by the sweeper")
        assert attempts_of(instance, invoice)[0][0] == "succeeded"
        assert charges(instance.api.target.behind(), invoice) == 1
        assert instance.process.stop() == 0


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_idle_connections_do_not_hold_up_a_stop(starter: Starter, sent: bytes) -> None:
    changes = {"SHUTDOWN_DRAIN_SECONDS": "0", "SHUTDOWN_GRACE_SECONDS": "3"}
    with starter.start(**changes) as instance, connect(instance.base_url) as connection:
        connection.sendall(sent)
        if sent:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        else:
            # Accepted, since one that came later is answered.
            assert health(instance.base_url, "/livez")[0] == 200
        instance.terminate()
        assert instance.process.wait(DEADLINE_S) == 0, instance.process.how_it_ended()
