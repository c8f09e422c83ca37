"""`bakeoff up` with the two services that ship with bakeoff: where everything is, and stock Locust
on it."""

import csv
import http.client
import json
import os
import signal
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import psycopg
import pytest

from bakeoff.experiment import LOCUSTFILES, ROOT, WORKLOADS
from bakeoff.rig.payment_stub import StubControl
from protos.payment.v1 import payment_pb2, payment_pb2_grpc
from tests.e2e.conftest import Checkout, kept_up, run_command
from tests.integration.loadrig import locust

# A release build of both, from nothing, is part of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
_DEADLINE_S = 1700.0
_CALL_S = 30.0
Facts = dict[str, Any]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """The line that `bakeoff up --json` prints."""
    log = tmp_path_factory.mktemp("up") / "up.log"
    argv = [sys.executable, "-m", "bakeoff.cli", "up", "--json"]
    with kept_up(argv, ROOT, {}, log, _DEADLINE_S) as (_, facts):
        yield facts


def _ask(url: str, method: str, path: str, token: str, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_CALL_S)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    body = "{}" if method == "POST" else None
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {token}", **sent})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def _invoices(up: Facts) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(Path(up["tokens_file"]).read_text())["invoices"]
    return found


def test_the_line_has_these_keys_and_no_other(up: Facts) -> None:
    assert set(up) == {
        *("services", "tokens", "tokens_file", "database_url"),
        *("payment_targets", "payment_control", "ledger"),
    }


def test_the_services_take_the_tokens(up: Facts) -> None:
    assert list(up["services"]) == ["go", "rust"]
    first, second = list(up["tokens"])[:2]
    path = f"/v1/invoices/{_invoices(up)[first][0]}/payment"
    bodies = []
    for url in up["services"].values():
        status, body = _ask(url, "GET", path, up["tokens"][first])
        assert status == 200
        bodies.append(body)
        assert _ask(url, "GET", path, up["tokens"][second])[0] == 404
        assert _ask(url, "GET", path, "no.token.this")[0] == 401
    assert bodies[0] == bodies[1]


def test_the_database_is_the_seeded_one_and_its_first_accounts_come_first(up: Facts) -> None:
    with psycopg.connect(up["database_url"]) as connection:
        accounts = connection.execute("SELECT id::text FROM accounts ORDER BY number").fetchall()
        opened = connection.execute(
            "SELECT account_id::text, count(*) FROM invoices WHERE status = 'open' GROUP BY 1"
        ).fetchall()
        (subscriptions,) = connection.execute("SELECT count(*) FROM subscriptions").fetchall()[0]
    assert [account for (account,) in accounts[:2]] == list(up["tokens"])[:2]
    assert {account for (account,) in accounts} == set(up["tokens"])
    counts: dict[str, int] = dict(opened)
    assert sum(counts.values()) >= 40_000
    assert all(counts[account] >= 1_000 for account in list(up["tokens"])[:2])
    assert subscriptions >= 10_000


def test_the_tokens_file_has_all_and_is_for_its_owner_alone(up: Facts) -> None:
    path = Path(up["tokens_file"])
    assert path.stat().st_mode & 0o777 == 0o600
    found = json.loads(path.read_text())
    assert found["tokens"] == up["tokens"]
    assert sum(map(len, found["invoices"].values())) >= 100_000
    assert sum(map(len, found["subscriptions"].values())) >= 10_000
    assert set(found["invoices"]) == set(found["subscriptions"]) == set(up["tokens"])


def test_a_payment_goes_through_target_control_and_ledger(up: Facts) -> None:
    account, token = next(iter(up["tokens"].items()))
    with psycopg.connect(up["database_url"]) as connection:
        row = connection.execute(
            "SELECT id::text FROM invoices WHERE account_id = %s AND status = 'open' LIMIT 1",
            [account],
        ).fetchone()
    assert row is not None
    control = StubControl(up["payment_control"])
    try:
        before = control.counters()
        status, body = _ask(
            up["services"]["rust"],
            "POST",
            f"/v1/invoices/{row[0]}/pay",
            token,
            Idempotency_Key=str(uuid.uuid4()),
            Content_Type="application/json",
        )
        assert (status, body["status"]) == (200, "paid")
        after = control.counters()
    finally:
        control.close()
    assert after.calls["CreatePayment"] == before.calls.get("CreatePayment", 0) + 1
    assert after.charges == before.charges + 1
    with sqlite3.connect(f"file:{up['ledger']}?mode=ro", uri=True) as ledger:
        charged = ledger.execute(
            "SELECT payment_id FROM charges WHERE invoice_id = ?", [row[0]]
        ).fetchall()
    assert charged == [(body["payment"]["id"],)]
    for target in up["payment_targets"]:
        with grpc.insecure_channel(target) as channel:
            payments: Any = payment_pb2_grpc.PaymentsStub(channel)
            request = payment_pb2.GetPaymentRequest(invoice_id=row[0])
            assert payments.GetPayment(request, timeout=_CALL_S).payment_id


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("service", ["go", "rust"])
def test_stock_locust_headless(up: Facts, tmp_path: Path, service: str, workload: str) -> None:
    argv = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILES / f"{workload}.py")]
    argv += ["--host", up["services"][service], "--headless", "--users", "8", "--spawn-rate", "8"]
    # Far more than is asked for below: a busy machine begins late.
    argv += ["--rate", "100", "--run-time", "3s", "--csv", str(tmp_path / "stock")]
    environment = {**os.environ, "BAKEOFF_TOKENS_FILE": up["tokens_file"]}
    done = run_command(argv, ROOT, environment, 120)
    assert done.code == 0, done.output
    with (tmp_path / "stock_stats.csv").open() as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    assert int(rows.pop("Aggregated")["Request Count"]) > 60
    assert set(rows) == set(WORKLOADS[workload])
    assert {row["Failure Count"] for row in rows.values()} == {"0"}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_stock_locust_with_its_page(up: Facts, workload: str) -> None:
    environment = {"BAKEOFF_TOKENS_FILE": up["tokens_file"]}
    path = LOCUSTFILES / f"{workload}.py"
    with locust(path, workers=0, environment=environment) as found:
        assert found.call("/")[0] == 200
        closed = found.run(up["services"]["go"], rate="", duration=1, user_count=4)
    assert closed.model == "closed"
    assert closed.counts.answered == closed.counts.sent > 0
    assert closed.requests.keys() <= WORKLOADS[workload].keys()


def test_ctrl_c_ends_everything(checkout: Checkout, tmp_path: Path) -> None:
    argv = checkout.argv("up", "--services", "steady,same", "--json")
    log = tmp_path / "up.log"
    with kept_up(argv, checkout.path, checkout.environment(), log, 120) as (process, facts):
        assert list(facts["services"]) == ["steady", "same"]
        assert len(checkout.processes()) > 3
        tokens_file = Path(facts["tokens_file"])
        assert tokens_file.exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, log.read_text()
    assert not tokens_file.exists()
    assert not Path(facts["ledger"]).exists()


def test_a_service_that_runs_elsewhere_is_not_started(checkout: Checkout) -> None:
    folder = checkout.path / "services" / "live"
    folder.mkdir()
    text = 'name = "live"\ntitle = "Live"\nurl = "http://127.0.0.1:1"\n'
    (folder / "service.toml").write_text(text)
    done = checkout.run(checkout.argv("up", "--services", "steady,live"))
    assert done.code == 2, done.output
    assert "live runs already" in done.output
