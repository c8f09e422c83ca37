"""`bakeoff compare` from the outside: what it leaves, and how it ends when something is wrong."""

import gzip
import html
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import jwt
import psutil
import pytest

from tests.e2e.conftest import Checkout, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


# A CPU clock is read over five seconds at least, an interval takes three blocks. Nothing is run
# again because the machine does other things.
_LONG_ENOUGH = (
    *("--set=rounds=3", "--set=fixed_s=5.5", "--set=fixed_maximum_s=5.5", "--set=reruns=0"),
)


def _text(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return content.decode(errors="replace")


def _document(checkout: Checkout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkout.results / "latest" / "run.json").read_text())
    return found


def test_a_comparison_leaves_everything_it_promises(checkout: Checkout) -> None:
    done = checkout.run(checkout.tiny(*_LONG_ENOUGH, "--set=pin=true"))
    assert done.code == 0, done.output
    document = _document(checkout)
    assert document["finished"]
    assert document["schema"] == "bakeoff.run/1"
    for label in ("steady", "same"):
        metrics = document["services"][label]["metrics"]
        for name in ("p50_ms", "cpu_us_per_request", "system_cpu_us_per_request"):
            assert metrics[name]["value"] > 0, name
        assert metrics["throughput_rps"]["value"] > 0
        assert metrics["rss_peak_bytes"]["value"] >= metrics["rss_steady_bytes"]["value"] > 0
        # What cannot be had is null with its reason, never 0.
        assert metrics["capacity_rps"]["value"] is None
        assert metrics["capacity_rps"]["reason"]
        assert metrics["sql_statements_per_request"]["value"] == pytest.approx(2.0, abs=0.001)
        assert metrics["grpc_calls_per_request"]["value"] == pytest.approx(1.0, abs=0.001)
        assert metrics["log_lines_per_request"]["value"] == pytest.approx(1.0, abs=0.001)
    ratio = document["ratios"]["cpu_us_per_request"]
    assert ratio["low"] < ratio["value"] < ratio["high"]
    folder = (checkout.results / "latest").resolve()
    for name in ("report.html", "summary.md", "junit.xml"):
        assert (folder / name).stat().st_size > 0
    assert len(list((folder / "rounds").iterdir())) == 6
    assert list((folder / "plots").glob("*.png"))
    # The control of the test below: with equal work there are words.
    assert document["ratios"]["cpu_us_per_request"]["word"] is not None
    everything = "".join(_text(path) for path in folder.rglob("*") if path.is_file())
    assert '"message":"request"' in everything, "the service's log was not looked through"
    # How every token begins; its first three letters alone stand in any picture now and then.
    token = jwt.encode({}, "k" * 32, algorithm="HS256")[:10]
    for secret in (token, "postgres://", "AUTH_JWT_SECRET"):
        assert secret not in everything, f"{secret} stands in the results"


def test_a_service_with_one_more_query_is_caught(checkout: Checkout) -> None:
    done = checkout.run(checkout.tiny("--services", "steady,asks-more", *_LONG_ENOUGH))
    assert done.code == 0, done.output
    document = _document(checkout)
    found = document["services"]["asks-more"]["metrics"]["sql_statements_per_request"]["value"]
    assert found == pytest.approx(3.0, abs=0.01)
    assert any(finding["rule"] == "unequal work" for finding in document["validity"])
    assert all(ratio["word"] is None for ratio in document["ratios"].values())


def test_a_failed_check_is_exit_code_1(checkout: Checkout) -> None:
    check = "steady.p50_ms < 0.001"
    checks = ("--check", check, "--check", "steady.p50_ms < 5000")
    done = checkout.run(checkout.tiny("--set=rounds=1", *checks))
    assert done.code == 1, done.output
    assert check in done.output
    junit = (checkout.results / "latest" / "junit.xml").read_text()
    assert "failure" in junit
    summary = (checkout.results / "latest" / "summary.md").read_text()
    assert check in html.unescape(summary.replace("\\", ""))


@pytest.mark.parametrize(
    ("service", "services", "code", "says"),
    [
        # With a round of the other one before it, and without any.
        ("wrong", "steady,wrong", 4, "the contract's"),
        # It is waited for till its deadline.
        ("unready", "unready,steady", 3, "start_deadline_s"),
        ("stillborn", "stillborn,steady", 3, "told to die at its start"),
    ],
)
def test_a_service_that_will_not_do_is_named(
    checkout: Checkout, service: str, services: str, code: int, says: str
) -> None:
    deadline_s = 3 if service == "unready" else 60
    words = ("--services", services, "--set", f"start_deadline_s={deadline_s}")
    done = checkout.run(checkout.tiny(*words))
    assert done.code == code, done.output
    # In the error itself: the progress names every service.
    error = done.output[done.output.rindex("bakeoff: ") :]
    assert says in error
    assert service in error


def test_a_service_that_dies_is_a_result(checkout: Checkout) -> None:
    done = checkout.run(checkout.tiny("--services", "steady,mortal"))
    assert done.code == 0, done.output
    mortal = _document(checkout)["services"]["mortal"]
    assert len(mortal["died"]) == 2
    assert "40 req/s" in mortal["died"][0]
    assert mortal["metrics"]["p50_ms"]["value"] is None
    assert "died" in mortal["metrics"]["p50_ms"]["reason"]


@pytest.mark.parametrize(("deaths", "code"), [(1, 0), (2, 3)])
def test_postgres_that_dies_once_costs_a_block_and_twice_the_run(
    checkout: Checkout, tmp_path: Path, deaths: int, code: int
) -> None:
    log = tmp_path / "postgres.log"
    # A machine that does other things gives more reasons to run a block again.
    process = checkout.start(checkout.tiny("--set=reruns=1"), log)
    killed: set[int] = set()
    for _ in range(deaths):
        _await_phase(log, "fixed", len(killed))
        victim = _postmaster(checkout, killed)
        killed.add(victim.pid)
        victim.kill()
    assert process.wait(240) == code, log.read_text()
    if code == 3:
        assert "postgres" in log.read_text()
    else:
        blocks = _document(checkout)["blocks"]
        assert [block["rerun_of"] for block in blocks] == [None, None, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_was_finished(
    checkout: Checkout, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "interrupted.log"
    process = checkout.start(checkout.tiny(), log)
    _await_phase(log, "fixed", 1)
    os.kill(process.pid, number)
    assert process.wait(100) == 130, log.read_text()
    document = _document(checkout)
    assert not document["finished"]
    assert len(list((checkout.results / "latest" / "rounds").iterdir())) >= 1
    assert (checkout.results / "latest" / "report.html").exists()


def test_a_killed_harness_leaves_nothing_running(checkout: Checkout, tmp_path: Path) -> None:
    log = tmp_path / "killed.log"
    process = checkout.start(checkout.tiny(), log)
    _await_phase(log, "fixed", 0)
    assert len(checkout.processes()) > 5
    process.kill()
    process.wait(10)
    wait_until(lambda: not checkout.processes(), 30, "children of a killed harness are gone")


def _await_phase(log: Path, phase: str, after: int) -> None:
    """Waits until the phase has begun `after` + 1 times, as the plain display tells."""

    def begun() -> bool:
        lines = log.read_text().splitlines()
        return sum("block" in line and f" {phase} " in line for line in lines) > after

    wait_until(begun, 120, f"the {phase} phase has begun {after + 1} times")
    time.sleep(0.5)


def _postmaster(checkout: Checkout, passed_over: set[int]) -> psutil.Process:
    ours = checkout.processes()
    names = {process.pid for process in ours if process.name() == "postgres"}
    for process in ours:
        if process.pid in names - passed_over and process.ppid() not in names:
            return process
    raise AssertionError("no postmaster is running")
