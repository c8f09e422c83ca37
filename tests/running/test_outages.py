"""Postgres or the provider is slow or gone under load: clear answers, bounded queues, and all is
well seconds after they are."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import grpc
import psycopg
import pytest
import uvloop

from protos.payment.v1.payment_pb2 import CreatePaymentRequest, GetPaymentRequest, Payment
from protos.payment.v1.payment_pb2_grpc import PaymentsServicer, add_PaymentsServicer_to_server
from stub_payment.payments import payment_of_invoice
from tests.contract.rig import SCALE
from tests.contract.wire import Answer
from tests.running.client import Client, Outcome, open_load
from tests.running.link import Link
from tests.running.provider import Call, Provider
from tests.running.rig import SLACK, Instance, Starter

# Whole, or what a machine carries that runs other tests meanwhile.
RATE_PER_S = 500 if SCALE >= 1 else 100
CONNECTIONS = 8
PAYMENT_TIMEOUT_MS = 500
# No request takes longer, by the contract.
REQUEST_LIMIT_S = 5.0
WELL_S = 0.5
RSS_GROWTH_BYTES = 200_000_000
NOT_NOW = {503, 504}


def hang(call: Call) -> None:
    """Never answers."""


@dataclass(frozen=True)
class Outage:
    """What is broken for how long, the problems that a read may be answered with, and how soon all
    is well after it: ten times what it takes, or what a driver needs to give up a connection."""

    start: Callable[[Link, Provider], None]
    end: Callable[[Link, Provider], None]
    lasts_s: float
    problems: frozenset[str]
    recovers_within_s: float


OUTAGES = {
    "the database is silent": Outage(
        lambda link, provider: link.freeze(),
        lambda link, provider: link.thaw(),
        3.0,
        # The provider may be the first to say that a request's time is over.
        frozenset({"database_unavailable", "timeout", "payment_timeout"}),
        10.0,
    ),
    "the database is gone": Outage(
        lambda link, provider: link.cut(),
        lambda link, provider: link.mend(),
        2.5,
        frozenset({"database_unavailable"}),
        15.0,
    ),
    "the way to the database is forgotten": Outage(
        lambda link, provider: link.freeze(),
        lambda link, provider: link.forget(),
        3.0,
        # The provider may be the first to say that a request's time is over.
        frozenset({"database_unavailable", "timeout", "payment_timeout"}),
        50.0,
    ),
    "the provider hangs": Outage(
        lambda link, provider: provider.behave(hang),
        lambda link, provider: provider.behave(),
        1.0,
        frozenset({"payment_timeout"}),
        10.0,
    ),
    "the provider is gone": Outage(
        lambda link, provider: provider.leave(),
        lambda link, provider: provider.listen(),
        0.5,
        frozenset({"payment_unavailable", "payment_timeout"}),
        10.0,
    ),
}


@pytest.fixture(scope="module")
def parts(starter: Starter) -> Iterator[tuple[Instance, Link, Provider]]:
    """A service between a way to its database and a provider, both for a test to break."""
    address = urlsplit(starter.database_url)
    assert address.hostname is not None and address.port is not None
    with ExitStack() as stack:
        link = stack.enter_context(Link(address.hostname, address.port))
        provider = stack.enter_context(Provider())
        instance = stack.enter_context(
            starter.start(
                DATABASE_URL=link.url(starter.database_url),
                DATABASE_MAX_CONNECTIONS=str(CONNECTIONS),
                PAYMENT_TARGETS=provider.target,
                PAYMENT_TIMEOUT_MS=str(PAYMENT_TIMEOUT_MS),
            )
        )
        instance.await_ready()
        yield instance, link, provider


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_is_said_clearly_and_got_over(
    parts: tuple[Instance, Link, Provider], name: str
) -> None:
    instance, link, provider = parts
    outage = OUTAGES[name]
    instance.await_ready()
    path = f"/v1/invoices/{instance.api.invoice()['id']}/payment"
    before_bytes = instance.usage.memory_info().rss
    most_bytes = before_bytes
    begun_s = ended_s = well_s = 0.0

    async def run() -> list[Outcome]:
        nonlocal begun_s, ended_s, well_s, most_bytes
        client = Client(instance.base_url, instance.api.token)
        load = asyncio.create_task(
            open_load(lambda _: client.get(path), RATE_PER_S, lambda: not well_s)
        )
        await asyncio.sleep(WELL_S)
        begun_s = time.monotonic()
        await asyncio.to_thread(outage.start, link, provider)
        while time.monotonic() < begun_s + outage.lasts_s:
            await asyncio.sleep(0.05)
            most_bytes = max(most_bytes, instance.usage.memory_info().rss)
        await asyncio.to_thread(outage.end, link, provider)
        ended_s = time.monotonic()
        # Well is who answers that many at once, so on each of its connections to the database.
        while not well_s:
            asked_s = time.monotonic()
            found = await asyncio.gather(*(client.get(path) for _ in range(4 * CONNECTIONS)))
            if all(outcome.status == 200 for outcome in found):
                well_s = time.monotonic() - ended_s
            else:
                assert asked_s < ended_s + outage.recovers_within_s, Counter(
                    (outcome.status, outcome.problem, outcome.failure) for outcome in found
                )
        outcomes = await load
        client.close()
        return outcomes

    outcomes = uvloop.run(run())
    assert {outcome.status for outcome in outcomes} <= {200, *NOT_NOW}, Counter(
        (outcome.status, outcome.failure) for outcome in outcomes
    )
    failed = [outcome for outcome in outcomes if outcome.status in NOT_NOW]
    counts = Counter(outcome.problem for outcome in failed)
    assert failed and counts.keys() <= outage.problems, counts
    assert all(outcome.headers["retry-after"] == "1" for outcome in failed)
    assert max(outcome.took_s for outcome in outcomes) < REQUEST_LIMIT_S * SLACK / 2
    assert all(outcome.status == 200 for outcome in outcomes if outcome.done_s < begun_s)
    assert most_bytes - before_bytes < RSS_GROWTH_BYTES
    print(
        f"{instance.name}: {name}: {len(outcomes)} requests, {dict(counts)}, at most"
        f" {max(outcome.took_s for outcome in outcomes):.2f} s each, RSS"
        f" {before_bytes / 1e6:.0f} -> {most_bytes / 1e6:.0f} MB, well after {well_s:.2f} s"
    )


def test_a_row_that_is_locked_is_waited_for_for_two_seconds(
    parts: tuple[Instance, Link, Provider],
) -> None:
    instance, _, _ = parts
    instance.await_ready()
    invoice = instance.api.invoice("draft")["id"]
    own = f"/v1/invoices/{invoice}"
    with psycopg.connect(instance.database_url) as connection:
        connection.execute("SELECT 1 FROM invoices WHERE id = %s FOR UPDATE", [invoice])
        asks: list[Callable[[], Answer]] = [
            lambda: instance.api.patch(own, {"amount_cents": 1}),
            lambda: instance.api.pay(invoice, "k"),
        ]
        for ask in asks:
            start_s = time.monotonic()
            answer = ask()
            took_s = time.monotonic() - start_s
            assert (answer.status, answer.header("retry-after")) == (503, "1"), answer
            assert b'/database_unavailable"' in answer.body
            assert 2.0 <= took_s < 2.0 + SLACK
        # Others do not wait for it.
        assert instance.api.get(own)["id"] == invoice
    assert instance.api.patch(own, {"amount_cents": 1}).status == 200


class Witness(PaymentsServicer):
    """A provider that writes down how long each caller waits, in seconds."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []

    def GetPayment(self, request: GetPaymentRequest, context: grpc.ServicerContext) -> Payment:
        self.waits.append(context.time_remaining())
        return payment_of_invoice(request.invoice_id)

    def CreatePayment(
        self, request: CreatePaymentRequest, context: grpc.ServicerContext
    ) -> Payment:
        self.waits.append(context.time_remaining())
        return Payment()


@pytest.fixture
def witness() -> Iterator[tuple[Witness, str]]:
    """The witness and its target."""
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        witness = Witness()
        add_PaymentsServicer_to_server(witness, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield witness, f"127.0.0.1:{port}"
        server.stop(0).wait()


def test_the_deadline_of_a_request_goes_with_its_call(
    starter: Starter, witness: tuple[Witness, str]
) -> None:
    seen, target = witness
    for timeout_ms, read_s, pay_s in ((700, 0.7, 0.7), (60_000, REQUEST_LIMIT_S, 60.0)):
        changes = {"PAYMENT_TARGETS": target, "PAYMENT_TIMEOUT_MS": str(timeout_ms)}
        with starter.start(**changes) as instance:
            instance.await_ready()
            invoice = instance.api.invoice()["id"]
            seen.waits.clear()
            assert instance.api.send("GET", f"/v1/invoices/{invoice}/payment").status == 200
            instance.api.pay(invoice, "k")
            read, pay = seen.waits[:2]
            # A request's time runs from before its statements; a payment's call has its own.
            assert read is not None and 0 < read <= read_s + 0.01
            assert pay is not None and pay_s - SLACK / 20 < pay <= pay_s + 0.01


def test_a_connection_to_the_database_has_the_contracts_limits(starter: Starter) -> None:
    with starter.start() as instance:
        instance.await_ready()
        with psycopg.connect(instance.database_url) as lock:
            # What one of its connections has set shows in what it does with a lock of the table.
            lock.execute("LOCK TABLE invoices IN ACCESS EXCLUSIVE MODE")
            start_s = time.monotonic()
            answer = instance.api.send("GET", "/v1/invoices")
            took_s = time.monotonic() - start_s
        assert (answer.status, answer.header("retry-after")) == (503, "1"), answer
        assert b'/database_unavailable"' in answer.body
        assert 2.0 <= took_s < 2.0 + SLACK
