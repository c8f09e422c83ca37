"""The contract's suite is worth something: it passes a good service and fails each broken one.

A broken one is the Go service behind a proxy that breaks it in one way. (A query too many is
what the equal-work audit is there for: tests/e2e.)
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import grpc
import pytest

from protos.payment.v1.payment_pb2 import CreatePaymentRequest
from protos.payment.v1.payment_pb2_grpc import PaymentsStub
from tests.contract import test_pay
from tests.contract.api import Target
from tests.contract.rig import bench
from tests.fakes.proxy import Answer, Forward, Handling, Request, proxy

# A release build, from nothing, may be part of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 300.0
SERVICE = "go"
PASSED, WRONG = 0, 4
# What is run against each: some of the suite, so that it stays cheap.
SOME = (
    "(test_authorisation and not paid and not draft) or test_an_invoice_is_created or "
    "test_an_etag or test_a_payment_is_made_once or test_a_paid_invoice_is_not or "
    "test_many_callers"
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The good service."""
    with ExitStack() as stack:
        rig = stack.enter_context(bench(tmp_path_factory, "suite"))
        yield stack.enter_context(rig.service(SERVICE))


def _unchanged(request: Request, forward: Forward) -> Answer:
    return forward(request)


def _another_status(request: Request, forward: Forward) -> Answer:
    answer = forward(request)
    return replace(answer, status=200) if answer.status == 201 else answer


def _without(header: str) -> Handling:
    def handling(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        kept = tuple((name, value) for name, value in answer.headers if name.lower() != header)
        return replace(answer, headers=kept)

    return handling


def _pays_twice(request: Request, forward: Forward) -> Answer:
    """Another key for the service than the client's, and both are sent."""
    if request.path.endswith("/pay"):
        forward(request.with_header("idempotency-key", str(uuid4())))
    return forward(request)


class _Leak:
    """Shows whoever asks for the payment of an invoice what its owner would see."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def __call__(self, request: Request, forward: Forward) -> Answer:
        token = request.header("authorization") or ""
        if (request.method, request.path) == ("POST", "/v1/invoices"):
            answer = forward(request)
            if answer.status == 201:
                self._owners[json.loads(answer.body)["id"]] = token
            return answer
        if request.method == "GET" and request.path.endswith("/payment"):
            token = self._owners.get(request.path.split("/")[3], token)
        return forward(request.with_header("authorization", token))


@pytest.mark.parametrize(
    ("handling", "code", "says"),
    [
        pytest.param(_unchanged, PASSED, " passed", id="as it is"),
        pytest.param(_another_status, WRONG, "test_an_invoice_is_created", id="200 for 201"),
        pytest.param(_without("etag"), WRONG, "test_an_invoice_is_created", id="no ETag"),
        pytest.param(_Leak(), WRONG, "invoice_is_not_found", id="shows a stranger the payment"),
        pytest.param(_pays_twice, WRONG, "test_pay.py", id="sends a payment twice"),
    ],
)
def test_the_suite_tells_a_good_service_from_a_broken_one(
    target: Target, tmp_path: Path, handling: Handling, code: int, says: str
) -> None:
    tokens = tmp_path / "tokens.json"
    accounts = [target.new_account() for _ in range(2)]
    tokens.write_text(json.dumps({"tokens": {api.account: api.token for api in accounts}}))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BAKEOFF_")}
    with proxy(target.base_url, handling) as url:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "bakeoff.cli", "contract", url),
                *("--tokens-file", str(tokens), "--", "-p", "no:cacheprovider", "-k", SOME),
            ],
            cwd=ROOT,
            env=kept,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert done.returncode == code, done.stdout
    assert says in done.stdout
    assert "error" not in done.stdout.splitlines()[-1]


def test_a_second_charge_is_seen_in_the_provider_s_ledger(target: Target) -> None:
    """A service that answers well, but charges under another key too."""
    rig = target.behind()

    def charges_twice(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        if request.path.endswith("/pay") and answer.status == 200:
            found = json.loads(answer.body)
            charge = CreatePaymentRequest(
                idempotency_key=str(uuid4()),
                invoice_id=found["invoice_id"],
                amount_cents=found["payment"]["amount_cents"],
                currency=found["payment"]["currency"],
            )
            with grpc.insecure_channel(rig.payment_targets[0]) as channel:
                PaymentsStub(channel).CreatePayment(charge, timeout=DEADLINE_S)
        return answer

    with proxy(target.base_url, _unchanged) as url:
        test_pay.test_a_payment_delivered_twice_is_one(
            replace(target, base_url=url).new_account(), rig
        )
    rig.control.reset()
    with (
        proxy(target.base_url, charges_twice) as url,
        pytest.raises(AssertionError, match="2 == 1"),
    ):
        test_pay.test_a_payment_delivered_twice_is_one(
            replace(target, base_url=url).new_account(), rig
        )
    rig.control.reset()
