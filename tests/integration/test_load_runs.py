"""Runs of the load against servers that behave, and against some that do not."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from bakeoff.load import wire
from bakeoff.load.engine.schedule import Part, Schedule
from bakeoff.measure import histograms
from bakeoff.measure.phase import merged_latency, merged_lateness
from tests.integration.loadrig import (
    ROOT,
    Locust,
    assert_balanced,
    ended,
    exists,
    json_line,
    kill,
    locust,
    null_server,
    process,
    raw_server,
    read_log,
    wait_for,
    write_locustfile,
)

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def swarm() -> Iterator[Locust]:
    with locust(workers=1) as found:
        yield found


@pytest.fixture
def one_worker(swarm: Locust) -> Iterator[Locust]:
    """A master with a worker that the tests share: whatever ran last is stopped."""
    yield swarm
    swarm.call("/stop", {})


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two workers write each sample."""
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def two_workers(samples: Path) -> Iterator[Locust]:
    """A master with two workers that the tests share; they leave no run behind."""
    with locust(workers=2, environment={"BAKEOFF_SAMPLES_DIR": str(samples)}) as found:
        yield found


def test_three_runs_in_a_row_have_fresh_books(two_workers: Locust) -> None:
    with null_server() as host:
        warm_up = two_workers.run(host, rate=200, duration=1, user_count=8)
        fixed = two_workers.run(host, rate=500, duration=2, user_count=64, seed=9)
        closed = two_workers.run(host, rate="", duration=1, user_count=16)
    assert len({one.test_id for one in (warm_up, fixed, closed)}) == 3
    assert [one.model for one in (warm_up, fixed, closed)] == ["open", "open", "closed"]
    assert [one.connections for one in (warm_up, fixed, closed)] == [8, 64, 16]
    scheduled = Schedule(500, "poisson", 9, 2).count(Part(), 2_000_000_000)
    assert fixed.counts.scheduled == fixed.counts.answered == scheduled
    assert fixed.statuses == {"200": scheduled}
    assert fixed.response_bytes == scheduled * 11
    (answers,) = fixed.requests.values()
    assert answers.body_hash_sum == scheduled * crc32(b'{"ok":true}') & (2**63 - 1)
    assert abs(fixed.counts.scheduled - 1000) <= 4 * 1000**0.5
    assert fixed.elapsed_s == 2.0
    assert closed.counts.scheduled == closed.counts.sent > 16
    assert closed.rate_rps is None
    assert closed.arrivals is None


def test_the_merged_histogram_is_that_of_all_samples(two_workers: Locust, samples: Path) -> None:
    for left in samples.glob("samples-*.bin"):
        left.unlink()
    with null_server("--mode", "lognormal", "--ms", "3") as host:
        measurement = two_workers.run(host, rate=300, duration=2, user_count=16)
    files = list(samples.glob("samples-*.bin"))
    assert len(files) == 2
    raw = np.concatenate([np.fromfile(file, np.int64).reshape(-1, wire.COLUMNS) for file in files])
    assert len(raw) == ended(measurement.counts)
    whole = histograms.new()
    lateness = (raw[:, wire.SENT] - raw[:, wire.DUE]) // 1000
    service = (raw[:, wire.DONE] - raw[:, wire.SENT]) // 1000
    histograms.record(whole, lateness + service)
    merged = merged_latency(measurement)
    assert (histograms.counters(merged) == histograms.counters(whole)).all()
    assert sum(one.completed for one in measurement.intervals) == len(raw)


def test_workers_share_one_schedule(tmp_path: Path) -> None:
    locustfile = write_locustfile(
        tmp_path,
        """
        @task
        def numbered(self):
            return self.request.get(f"/r/{self.arrival}", name="numbered")
        """,
    )
    log = tmp_path / "server.log"
    with null_server("--log", str(log)) as host, locust(locustfile, workers=2) as found:
        measurement = found.run(host, rate=200, duration=1)
    numbers = sorted(read_log(log)[:, 0].tolist())
    assert numbers == list(range(measurement.counts.scheduled))


REQUEST = """
        @task({weight})
        def {name}(self):
            return self.request.get("/", name="{name}")
"""
COROUTINE = """
        @task({weight})
        async def {name}(self):
            await self.client.get("/", name="{name}")
"""


@pytest.mark.parametrize(
    ("often", "seldom"), [(REQUEST, REQUEST), (COROUTINE, COROUTINE), (COROUTINE, REQUEST)]
)
def test_tasks_share_the_arrivals_by_weight(tmp_path: Path, often: str, seldom: str) -> None:
    locustfile = write_locustfile(
        tmp_path, often.format(name="often", weight=3) + seldom.format(name="seldom", weight=1)
    )
    with null_server() as host, locust(locustfile, workers=1) as found:
        measurement = found.run(host, rate=400, arrivals="constant", duration=1)
        stats = json.loads(found.call("/stats/requests")[1])["stats"]
    counts = {row["name"]: row["num_requests"] for row in stats}
    assert measurement.counts.answered == 400 == counts["often"] + counts["seldom"]
    assert abs(counts["often"] - 300) <= 4


def test_a_closed_model_pauses_for_the_wait_time(tmp_path: Path) -> None:
    locustfile = write_locustfile(
        tmp_path,
        """
        wait_time = constant(0.1)

        @task
        async def get(self):
            await self.client.get("/")
        """,
        setup="from locust import constant",
    )
    with null_server() as host, locust(locustfile, workers=1) as found:
        measurement = found.run(host, rate="", duration=1, user_count=4)
    # Ten a second and connection at most.
    assert 8 <= measurement.counts.answered <= 44


def test_a_task_that_returns_no_request_is_told_so(tmp_path: Path) -> None:
    locustfile = write_locustfile(tmp_path, "@task\ndef plain(self):\n    pass\n")
    with null_server() as host, locust(locustfile, workers=1) as found:
        measurement = found.run(host, rate=50, duration=1)
    counts = measurement.counts
    assert (counts.sent, counts.never_sent) == (0, counts.scheduled)
    (error,) = measurement.errors
    assert "must return its request" in error


def test_a_setup_that_fails_ends_the_worker_at_its_start(tmp_path: Path) -> None:
    environment = {**os.environ, "BAKEOFF_TOKENS_FILE": str(tmp_path / "absent")}
    locustfile = ROOT / "locustfiles" / "payment_status.py"
    ran = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless"],
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert ran.returncode == 1
    assert b"cannot read" in ran.stderr
    assert b"BAKEOFF_TOKENS_FILE" in ran.stderr


def test_timeouts_enter_the_histogram_at_the_timeout(one_worker: Locust) -> None:
    def answer(connection: socket.socket, request: bytes) -> None:
        if b"/silent" not in request:
            connection.sendall(OK)

    with raw_server(answer) as host:
        measurement = one_worker.run(
            host, rate=20, user_count=4, request_timeout=0.3, path="/silent"
        )
    counts = measurement.counts
    assert counts.timed_out == counts.sent > 0
    assert counts.waited > 0
    assert counts.reconnects >= counts.timed_out - 4
    assert measurement.errors == {"timed out": counts.timed_out}
    merged = merged_latency(measurement)
    assert histograms.count(merged) == counts.timed_out
    shortest = histograms.percentiles_ms(merged, [0])[0]
    assert shortest is not None
    assert 299 <= shortest <= 330
    # Lateness is that of arrivals that found a free connection.
    assert histograms.count(merged_lateness(measurement)) == counts.sent - (
        counts.waited - counts.never_sent
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "unexpected status 500"),
        (b"this is not HTTP\r\n\r\n", "bad HTTP answer"),
        (OK + OK, "bad HTTP answer: more than one"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", "connection lost"),
    ],
    ids=["500", "garbage", "two-answers", "half-an-answer"],
)
def test_bad_answers_are_failed_and_in_no_histogram(
    one_worker: Locust, answer: bytes, error: str
) -> None:
    def misbehave(connection: socket.socket, request: bytes) -> None:
        connection.sendall(answer)
        if b"half" in answer:
            connection.shutdown(socket.SHUT_RDWR)

    with raw_server(misbehave) as host:
        measurement = one_worker.run(host, rate=50)
        stats = json.loads(one_worker.call("/stats/requests")[1])
    counts = measurement.counts
    assert counts.failed == counts.sent > 0
    assert counts.answered == 0
    assert all(error in text for text in measurement.errors), measurement.errors
    assert sum(measurement.errors.values()) == counts.failed
    assert histograms.count(merged_latency(measurement)) == 0
    assert stats["stats"][-1]["num_failures"] == counts.failed
    assert stats["stats"][-1]["num_requests"] == counts.failed


def test_resets_are_failed(one_worker: Locust) -> None:
    def reset(connection: socket.socket, request: bytes) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with raw_server(reset) as host:
        measurement = one_worker.run(host, rate=50)
    assert measurement.counts.failed == measurement.counts.sent > 0
    assert all("reset" in text.lower() for text in measurement.errors), measurement.errors


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["close", "http-1.0", "ended-by-close"],
)
def test_connections_that_the_server_closes_are_opened_again(
    one_worker: Locust, head: bytes
) -> None:
    def close(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head + b"ok")
        connection.shutdown(socket.SHUT_RDWR)

    with raw_server(close) as host:
        measurement = one_worker.run(host, rate=50)
    counts = measurement.counts
    assert counts.answered == counts.sent == counts.scheduled > 0
    assert counts.reconnects > counts.answered - 8
    assert measurement.response_bytes == 2 * counts.answered


def test_chunked_answers_are_read_whole(one_worker: Locust) -> None:
    def chunked(connection: socket.socket, request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        time.sleep(0.002)
        connection.sendall(b"2\r\nde\r\n0\r\n\r\n")

    with raw_server(chunked) as host:
        measurement = one_worker.run(host, rate=50)
    counts = measurement.counts
    assert counts.answered == counts.sent > 0
    assert measurement.response_bytes == 5 * counts.answered
    assert counts.reconnects == 0
    (answers,) = measurement.requests.values()
    assert answers.body_hash_sum == counts.answered * crc32(b"abcde") & (2**63 - 1)


def test_a_run_without_end_is_stopped_and_complete(two_workers: Locust) -> None:
    found = two_workers
    with null_server() as host:
        found.start(host, duration=0, rate=300)
        wait_for("answers", lambda: found.summary()["completed"] > 300)
        status, _ = found.call("/stop", {})
        assert status == 200
        assert found.summary()["state"] == "complete"
        measurement = found.measurement()
        assert_balanced(measurement)
        assert measurement.counts.answered == measurement.counts.sent
        assert measurement.elapsed_s > 1
        # And the next one starts at once.
        found.run(host)


def test_a_run_under_way_is_not_disturbed_by_another(one_worker: Locust) -> None:
    with null_server() as host:
        one_worker.start(host, duration=2)
        one_worker.wait_until("running")
        refused = one_worker.start(host, rate=1)
        assert refused["success"] is False
        assert "stop it first" in refused["message"]
        one_worker.wait_until("complete")
        assert one_worker.measurement().rate_rps == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate", "fast"), ("rate", "-1"), ("arrivals", "gamma"), ("duration", "x"), ("seed", "?")],
)
def test_bad_fields_are_refused_by_name(one_worker: Locust, field: str, value: str) -> None:
    with null_server() as host:
        answer = one_worker.start(host, **{field: value})
    assert answer["success"] is False
    assert field in answer["message"]


def test_an_address_that_nobody_serves_is_said(one_worker: Locust) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    one_worker.start(f"http://127.0.0.1:{port}")
    ended_as = one_worker.wait_until("failed", "complete")
    assert ended_as["state"] == "failed"
    assert "cannot connect" in ended_as["failure"]


def test_a_killed_worker_is_visible_and_its_engine_goes_too() -> None:
    with null_server() as host, locust(workers=2) as found:
        found.start(host, duration=12, rate=200)
        wait_for("answers", lambda: found.summary()["completed"] > 300)
        kill(found.workers[1])
        wait_for("the engine's end", lambda: not exists(found.engine_pids[1]), 3)
        wait_for("the loss to show", lambda: bool(found.summary()["lost"]), 8)
        (lost,) = found.summary()["lost"]
        last = found.wait_until("incomplete", "complete")
        assert last["state"] == "incomplete"
        measurement = found.measurement()
    assert measurement.complete is False
    (without_end,) = [worker for worker in measurement.workers if not worker.final]
    assert lost == f"{without_end.worker} (index {without_end.index})"
    # What it had reported is kept.
    assert without_end.merged > 0
    assert ended(measurement.counts) == sum(worker.merged for worker in measurement.workers)


def test_an_engine_that_dies_fails_the_run() -> None:
    with null_server() as host, locust(workers=1) as found:
        found.start(host, duration=30)
        found.wait_until("running")
        subprocess.run(["kill", "-9", str(found.engine_pids[0])], check=True)
        failed = found.wait_until("failed", "incomplete", "complete")
        assert failed["state"] == "failed"
        assert "engine" in failed["failure"]
        assert found.workers[0].wait(30) == 3


def test_stock_headless_locust_writes_its_files(tmp_path: Path) -> None:
    prefix = tmp_path / "out"
    command = [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "bakeoff/load/ad_hoc.py")),
        *("--headless", "-u", "4", "-r", "100", "--rate", "100", "--duration", "3"),
        *("--csv", str(prefix), "--html", str(tmp_path / "out.html")),
    ]
    with null_server() as host:
        ran = subprocess.run([*command, "--host", host], capture_output=True, timeout=100)
    assert ran.returncode == 0, ran.stderr.decode()
    rows = (tmp_path / "out_stats.csv").read_text().splitlines()
    total = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    expected = 3 * 100
    assert abs(int(total["Request Count"]) - expected) <= 4 * expected**0.5
    assert total["Failure Count"] == "0"
    assert "Locust" in (tmp_path / "out.html").read_text()


def test_a_headless_master_counts_what_its_worker_reports_last(tmp_path: Path) -> None:
    common = ["-m", "locust", "-f", str(ROOT / "bakeoff/load/ad_hoc.py")]
    env = {"BAKEOFF_ANNOUNCE": "1"}
    with null_server() as host:
        arguments = [
            *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", "0"),
            *("--headless", "--expect-workers", "1", "-u", "4", "-r", "100"),
            # Locust's own end, in the middle of the schedule.
            *("--rate", "400", "--run-time", "6", "--host", host),
            *("--csv", str(tmp_path / "out")),
        ]
        with process(*common, *arguments, environment=env) as master:
            port = str(json_line(master)["master_port"])
            worker_of = ["--worker", "--master-host", "127.0.0.1", "--master-port", port]
            with process(*common, *worker_of, environment=env) as worker:
                assert master.wait(60) == 0
                assert worker.wait(60) == 0
    rows = (tmp_path / "out_stats.csv").read_text().splitlines()
    total = dict(zip(rows[0].split(","), rows[-1].split(","), strict=True))
    assert int(total["Request Count"]) > 100


BOTH = """
    @task
    def plain(self):
        return self.request.get("/plain", name="plain", headers={"X-A": "b"}, expect=200)

    @task
    async def several(self):
        answer = await self.client.get("/first", name="first")
        assert answer.json() == {"ok": True} and answer.headers["content-length"] == "11"
        await self.client.post("/second", name="second", json={"x": 1}, expect=201)
        raise AssertionError("not reached: the status was not expected")
"""
WAITS = """
    @task
    async def waits(self):
        await asyncio.sleep(1)
"""


def run_stock(locustfile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Locust itself, headless, with its own client."""
    with null_server() as host:
        return subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--host"),
                *(host, "-u", "2", "-r", "2", "-t", "3s", "--json", "--client", "fasthttpuser"),
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_the_same_tasks_run_over_locusts_own_client(tmp_path: Path) -> None:
    ran = run_stock(write_locustfile(tmp_path, BOTH))
    rows = {row["name"]: row for row in json.loads(ran.stdout)}
    assert set(rows) == {"plain", "first", "second"}, ran.stderr
    assert rows["plain"]["num_requests"] > 0 == rows["plain"]["num_failures"]
    assert rows["first"]["num_requests"] > 0 == rows["first"]["num_failures"]
    assert rows["second"]["num_failures"] == rows["second"]["num_requests"] > 0
    assert "not reached" not in ran.stderr


def test_locusts_own_client_says_what_it_cannot_do(tmp_path: Path) -> None:
    ran = run_stock(write_locustfile(tmp_path, WAITS))
    assert "needs the engine" in ran.stderr
    ran = run_stock(write_locustfile(tmp_path, BOTH), "--rate", "10")
    assert ran.returncode != 0
    assert "has no open model" in ran.stderr
