"""A master with many workers: it merges all that they report, and says when it has no more room."""

from locust import __version__
from locust.rpc.protocol import Message

import subprocess
import sys
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest
import zmq

from benchmarks import swarm_centre
from tests.integration.loadrig import AD_HOC, DEADLINE_S, SCALE, json_line, process, wait_for

pytestmark = pytest.mark.slow

WORKERS = max(5, round(1000 * SCALE))
# More than report every second.
UNHURRIED = max(260, WORKERS)
# Half a core for a thousand workers that report every three seconds, and ten times that.
MASTER_US_PER_REPORT = 10 * 1500.0
MASTER = ("-m", "locust", "-f", str(AD_HOC), "--master", "--master-bind-host", "127.0.0.1")
ANNOUNCE = {"BAKEOFF_ANNOUNCE": "1"}
PORTS = ("--master-bind-port", "0", "--web-host", "127.0.0.1", "--web-port", "0")


@pytest.mark.parametrize("workers", sorted({WORKERS, UNHURRIED}))
def test_everything_that_many_workers_report_is_merged_once(workers: int) -> None:
    with swarm_centre.our_master() as centre:
        outcome, measurement = swarm_centre.run(centre, workers, samples=100)
    print(outcome)
    assert measurement is not None
    assert len(measurement.workers) == workers
    swarm_centre.check(outcome, measurement)
    # The check would see a report that is missing, and a sample.
    for name in ("sent_reports", "sent_samples"):
        more = msgspec.structs.replace(outcome, **{name: getattr(outcome, name) + 1})
        with pytest.raises(AssertionError):
            swarm_centre.check(more, measurement)
    assert outcome.reports >= workers
    assert 0 < outcome.master_us_per_report < MASTER_US_PER_REPORT


def test_more_workers_than_files_may_be_open_are_refused() -> None:
    command = ["prlimit", "--nofile=256:256", sys.executable, *MASTER, *PORTS]
    ended = subprocess.run(
        [*command, "--expect-workers", "1000"], capture_output=True, timeout=DEADLINE_S
    )
    said = ended.stderr.decode()
    assert ended.returncode != 0
    assert "may open 256 files (RLIMIT_NOFILE)" in said
    assert "`ulimit -n 2048`" in said


def test_a_master_raises_its_limit_as_far_as_it_may() -> None:
    soft = ("--nofile=128:512", sys.executable, *MASTER, *PORTS)
    command = ("-c", "import os, sys; os.execvp('prlimit', ['prlimit', *sys.argv[1:]])", *soft)
    with process(*command, environment=ANNOUNCE, last=SIGKILL) as started:
        json_line(started)
        limits = Path(f"/proc/{started.pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == ["512", "512"]


def test_a_master_says_when_the_next_worker_will_not_get_through(tmp_path: Path) -> None:
    log = tmp_path / "master.log"
    command = ("prlimit", "--nofile=200:200", sys.executable, *MASTER, *PORTS)
    run = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    context = zmq.Context()
    sockets = []
    with process(
        *("-c", run, *command, "--logfile", str(log)), environment=ANNOUNCE, last=SIGKILL
    ) as started:
        port = json_line(started)["master_port"]
        try:
            for number in range(130):
                socket = context.socket(zmq.DEALER)
                socket.setsockopt(zmq.LINGER, 0)
                socket.setsockopt(zmq.IDENTITY, f"worker_{number}".encode())
                socket.connect(f"tcp://127.0.0.1:{port}")
                ready = ("client_ready", __version__, f"worker_{number}")
                socket.send(Message(*ready).serialize())  # type: ignore[no-untyped-call]
                sockets.append(socket)
            wait_for("a word about the limit", lambda: "RLIMIT_NOFILE" in log.read_text())
        finally:
            for socket in sockets:
                socket.close()
            context.term()
    assert log.read_text().count("may open 200 files") == 1
