"""A provider that does anything but what it should: the services answer in time, and go on."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import psutil
import pytest
import uvloop

from protos.payment.v1.payment_pb2 import Payment
from tests.contract.problems import PREFIX
from tests.contract.rig import scaled
from tests.contract.wire import Answer
from tests.fakes.http2 import CANCEL, GOAWAY, frame, message
from tests.running.client import Client
from tests.running.provider import Behaviour, Call, Provider, good
from tests.running.rig import SLACK, Instance, Starter, until

PAYMENT_TIMEOUT_MS = 300
# What a service may take beyond the time that it gives a call.
OVER_S = 0.1 * SLACK
BAD_CALLS = scaled(10_000)
AT_ONCE = 32
COSTLY_SHARE = 0.005
FAILED, GONE, LATE = "payment_failed", "payment_unavailable", "payment_timeout"
STATUS = {FAILED: 502, GONE: 503, LATE: 504}
GARBAGE = bytes(range(255, 0, -1))


@dataclass(frozen=True)
class Bad:
    """A way to misbehave, and the problem that a read is answered with."""

    problem: str
    behaviour: Behaviour
    greeting: bytes | None = None
    # Costs the connection.
    costly: bool = False


def status(code: str, text: str = "a fault") -> Behaviour:
    """Ends the call with a status of gRPC, in the one frame that is usual for it."""
    more = {"grpc-status": code, "grpc-message": text}
    return lambda call: call.end(call.head("200", True, **more))


def http(code: str) -> Behaviour:
    """Answers as something does that knows no gRPC."""

    def answer(call: Call) -> None:
        head = call.head(code, **{"content-type": "text/html"})
        call.end(head, call.body(b"<html>", end=True))

    return answer


def content(make: Callable[[Call], bytes], *, tail: bool = True) -> Behaviour:
    """Answers with these bytes as the body, and status 0."""

    def answer(call: Call) -> None:
        body = make(call)
        if tail:
            call.end(call.head(), call.body(body), call.tail())
        else:
            call.end(call.head(), call.body(body, end=True))

    return answer


def changed(**fields: object) -> Behaviour:
    """Answers with a payment that is another one."""

    def make(call: Call) -> bytes:
        payment = call.payment()
        for name, value in fields.items():
            setattr(payment, name, value)
        return message(payment.SerializeToString())

    return content(make)


def reset(code: int, *, after_head: bool = False) -> Behaviour:
    """Ends the call with an error of HTTP/2."""
    return lambda call: call.end(call.head() if after_head else b"", call.reset(code))


def hang(call: Call) -> None:
    """Never answers."""


def hang_after_head(call: Call) -> None:
    """Begins to answer and stops."""
    call.write(call.head(), call.body(message(b"", length=100)))


def lose(call: Call) -> None:
    """Resets the connection, instead of an answer."""
    call.connection.abort()


def lose_after_head(call: Call) -> None:
    """Closes the connection amid the answer."""
    call.write(call.head(), call.body(message(b"\0", length=100)))
    call.connection.close()


def go_away(call: Call) -> None:
    """Says that it has not looked at the call, and closes."""
    call.connection.write(frame(GOAWAY, 0, 0, bytes(8)))
    call.connection.close()


def broken_frames(call: Call) -> None:
    """Sends what is no frame."""
    call.write(GARBAGE * 100)


def payment_bytes(call: Call) -> bytes:
    return message(call.payment().SerializeToString())


BAD: dict[str, Bad] = {
    **{
        f"status {code}": Bad({14: GONE, 4: LATE}.get(code, FAILED), status(str(code)))
        for code in range(1, 17)
    },
    "status 99": Bad(FAILED, status("99")),
    "status abc": Bad(FAILED, status("abc")),
    "a long status message": Bad(FAILED, status("13", "x" * 8000)),
    "http 500": Bad(FAILED, http("500")),
    "http 404": Bad(FAILED, http("404")),
    "http 503": Bad(GONE, http("503")),
    "no message": Bad(FAILED, content(lambda call: b"")),
    "too large a message": Bad(
        FAILED, content(lambda call: message(GARBAGE, length=5 * 1024 * 1024))
    ),
    "the largest message": Bad(FAILED, content(lambda call: message(GARBAGE, length=2**32 - 1))),
    "half a message": Bad(FAILED, content(lambda call: payment_bytes(call)[:-10])),
    "half a prefix": Bad(FAILED, content(lambda call: b"\0\0")),
    "no status": Bad(FAILED, content(payment_bytes, tail=False)),
    "garbage": Bad(FAILED, content(lambda call: message(GARBAGE))),
    "compressed by nothing": Bad(FAILED, content(lambda call: message(GARBAGE, flag=1))),
    "an unknown flag": Bad(FAILED, content(lambda call: message(GARBAGE, flag=7))),
    "bad UTF-8": Bad(FAILED, content(lambda call: message(b"\x0a\x02\xff\xfe"))),
    "an empty payment": Bad(FAILED, content(lambda call: message(Payment().SerializeToString()))),
    "another invoice": Bad(FAILED, changed(invoice_id=str(uuid4()))),
    "a time that is none": Bad(FAILED, changed(updated_at_unix_ms=2**63 - 1)),
    "a time in the year 10000": Bad(FAILED, changed(updated_at_unix_ms=253_402_300_800_000)),
    "a time before all": Bad(FAILED, changed(updated_at_unix_ms=-(2**63))),
    "reset: internal": Bad(FAILED, reset(2)),
    "reset: cancel": Bad(FAILED, reset(CANCEL)),
    "reset: refused": Bad(GONE, reset(7)),
    "reset: calm": Bad(FAILED, reset(11)),
    "reset after the head": Bad(FAILED, reset(2, after_head=True)),
    "hangs": Bad(LATE, hang),
    "hangs after the head": Bad(LATE, hang_after_head),
    "loses the connection": Bad(GONE, lose, costly=True),
    "loses the connection after the head": Bad(GONE, lose_after_head, costly=True),
    "goes away": Bad(GONE, go_away, costly=True),
    "broken frames": Bad(GONE, broken_frames, costly=True),
    "greets with HTTP/1.1": Bad(GONE, good, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "greets with garbage": Bad(GONE, good, GARBAGE * 100),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """The provider of all tests here."""
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def instance(starter: Starter, provider: Provider) -> Iterator[Instance]:
    """A service that calls it."""
    changes = {
        "PAYMENT_TARGETS": provider.target,
        "PAYMENT_TIMEOUT_MS": str(PAYMENT_TIMEOUT_MS),
        "SWEEP_INTERVAL_MS": "100",
    }
    provider.behave()
    with starter.start(**changes) as instance:
        instance.await_ready()
        yield instance


@pytest.fixture(scope="module")
def invoice(instance: Instance) -> str:
    """An open invoice."""
    found: str = instance.api.invoice()["id"]
    return found


@pytest.fixture(autouse=True)
def well_again(provider: Provider) -> Iterator[None]:
    """The provider is well after each test."""
    yield
    provider.behave()


def named(answer: Answer) -> str:
    """The problem that an answer is."""
    return str(answer.json["type"]).removeprefix(PREFIX)


def read_until_well(instance: Instance, invoice: str) -> float:
    """Reads till it is answered; how long that took."""
    path = f"/v1/invoices/{invoice}/payment"
    return until(
        lambda: instance.api.send("GET", path).status == 200, SLACK, why="the next read works"
    )


@pytest.mark.parametrize("name", BAD)
def test_a_read_is_answered_with_the_mapped_problem(
    instance: Instance, provider: Provider, invoice: str, name: str
) -> None:
    bad = BAD[name]
    read_until_well(instance, invoice)
    provider.behave(bad.behaviour, bad.greeting)
    start_s = time.monotonic()
    answer = instance.api.send("GET", f"/v1/invoices/{invoice}/payment")
    assert time.monotonic() - start_s < PAYMENT_TIMEOUT_MS / 1000 + OVER_S
    assert (answer.status, named(answer)) == (STATUS[bad.problem], bad.problem)
    provider.behave()
    read_until_well(instance, invoice)
    until(lambda: provider.open_calls == 0, why="no call is left")


def test_a_provider_that_says_nothing_costs_the_time_limit(
    instance: Instance, provider: Provider, invoice: str
) -> None:
    provider.behave(good, greeting=b"")
    for _ in range(3):
        start_s = time.monotonic()
        answer = instance.api.send("GET", f"/v1/invoices/{invoice}/payment")
        assert time.monotonic() - start_s < PAYMENT_TIMEOUT_MS / 1000 + OVER_S
        # A client that waits for the greeting gives up the connection in the end.
        assert named(answer) in (LATE, GONE)
    provider.behave()
    read_until_well(instance, invoice)


def test_no_payment_is_lost_or_made_twice(instance: Instance, provider: Provider) -> None:
    subscription = instance.api.subscription()["id"]
    invoices = {name: instance.api.invoice(subscription_id=subscription)["id"] for name in BAD}
    for name, bad in BAD.items():
        provider.behave(charging(bad.behaviour), bad.greeting)
        start_s = time.monotonic()
        answer = instance.api.pay(invoices[name], invoices[name])
        assert time.monotonic() - start_s < PAYMENT_TIMEOUT_MS / 1000 + OVER_S
        late = bad.problem == LATE
        assert (answer.status, named(answer)) == (504 if late else 503, "payment_outcome_unknown")
    provider.behave()

    def unpaid() -> list[str]:
        return [
            name
            for name, invoice in invoices.items()
            if instance.api.get(f"/v1/invoices/{invoice}")["status"] != "paid"
        ]

    until(lambda: not unpaid(), why="the sweeper pays")
    for name, invoice in invoices.items():
        assert len(provider.charges[invoice]) == 1, name
        assert instance.api.done(instance.api.pay(invoice, invoice), 200), name


def charging(behaviour: Behaviour) -> Behaviour:
    """Charges first, so that the service must not take the failure for a refusal."""

    def answer(call: Call) -> None:
        call.payment()
        behaviour(call)

    return answer


@pytest.mark.timeout(600)
def test_nothing_leaks_over_many_bad_calls(
    instance: Instance, provider: Provider, invoice: str
) -> None:
    read_until_well(instance, invoice)
    ways = [bad for bad in BAD.values() if bad.greeting is None]
    costly = [bad.behaviour for bad in ways if bad.costly]
    others = [bad.behaviour for bad in ways if not bad.costly]
    drawn = random.Random(1)

    def any_way(call: Call) -> None:
        # Seldom: till there is a connection again, most calls are not made at all.
        drawn.choice(costly if drawn.random() < COSTLY_SHARE else others)(call)

    usage = instance.usage
    quiet_files = usage.num_fds()
    provider.behave(any_way)
    storm(instance, invoice, AT_ONCE)
    until(lambda: usage.num_fds() <= quiet_files, why="the clients' connections are closed")
    before, calls = usage_of(usage), provider.calls
    start_s = time.monotonic()
    counts = storm(instance, invoice, BAD_CALLS)
    took_s = time.monotonic() - start_s
    assert sum(counts.values()) == BAD_CALLS and counts.keys() <= {FAILED, GONE, LATE}, counts
    assert provider.calls - calls > BAD_CALLS / 10
    provider.behave()
    read_until_well(instance, invoice)
    until(lambda: provider.open_calls == 0, why="no call is left")
    assert len(provider.connections) == 1
    until(lambda: usage_of(usage)[0] <= before[0] + 3, why=f"{before} open files, as before")
    after = usage_of(usage)
    print(
        f"{instance.name}: {BAD_CALLS} bad calls in {took_s:.1f} s: {counts}; open files"
        f" {before[0]} -> {after[0]}, threads {before[1]} -> {after[1]},"
        f" RSS {before[2] / 1e6:.1f} -> {after[2] / 1e6:.1f} MB"
    )
    assert after[1] <= before[1] + 5
    assert after[2] < before[2] + 40e6


def usage_of(process: psutil.Process) -> tuple[int, int, int]:
    """Open files, threads and resident bytes."""
    return process.num_fds(), process.num_threads(), process.memory_info().rss


def storm(instance: Instance, invoice: str, count: int) -> dict[str, int]:
    """So many reads, some at once; how often each problem was the answer."""

    async def run() -> dict[str, int]:
        client = Client(instance.base_url, instance.api.token)
        counts: dict[str, int] = {}
        left = iter(range(count))

        async def send() -> None:
            for _ in left:
                outcome = await client.get(f"/v1/invoices/{invoice}/payment")
                assert outcome.took_s < PAYMENT_TIMEOUT_MS / 1000 + OVER_S
                name = outcome.problem or f"{outcome.status} {outcome.failure}"
                counts[name] = counts.get(name, 0) + 1

        await asyncio.gather(*(send() for _ in range(AT_ONCE)))
        client.close()
        return counts

    return uvloop.run(run())
