"""Locust processes with the load in them, and servers to aim at, each ended with its block."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bakeoff.measure.measurement import Counts, PhaseMeasurement
from bakeoff.measure.phase import decode_measurement

ROOT = Path(__file__).resolve().parents[2]
AD_HOC = ROOT / "bakeoff" / "load" / "ad_hoc.py"
TOKEN = "the-token-of-this-test"
# Ten times what it takes, and more.
DEADLINE_S = 60.0
SCALE = float(os.environ.get("BAKEOFF_SCALE", "0.05"))


Answer = Callable[[socket.socket, bytes], None]


def wait_for(
    what: str, is_so: Callable[[], bool], deadline_s: float = DEADLINE_S, every_s: float = 0.02
) -> None:
    """Polls until `is_so`, or fails with `what`."""
    deadline = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {deadline_s:g} s: {what}"
        time.sleep(every_s)


def exists(pid: int) -> bool:
    """The process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@contextmanager
def process(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    core: int | None = None,
    last: signal.Signals = signal.SIGTERM,
) -> Iterator["subprocess.Popen[bytes]"]:
    """A Python process (its standard output a pipe); `last` at the end, then SIGKILL."""
    # It ends even when the tests are killed. Not by a preexec_fn: with one Python forks, and where
    # gRPC is at work in this process, its handlers crash the child (grpc/grpc#43055).
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, *arguments]
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    ) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.send_signal(last)
                try:
                    started.wait(DEADLINE_S / 4)
                except subprocess.TimeoutExpired:
                    started.kill()


def json_line(started: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The next line of JSON on a process's standard output."""
    assert started.stdout is not None
    deadline = time.monotonic() + DEADLINE_S
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([started.stdout], [], [], deadline - time.monotonic())
        assert readable, f"{started.args!r} said nothing"
        byte = os.read(started.stdout.fileno(), 1)
        assert byte, f"{started.args!r} ended"
        line += byte
        if line.endswith(b"\n") and not line.startswith(b"{"):
            line = b""
    found: dict[str, Any] = json.loads(line)
    return found


@contextmanager
def null_server(*arguments: str, core: int | None = None) -> Iterator[str]:
    """The address of a null server."""
    with process("-m", "bakeoff.nullserver", *arguments, core=core) as started:
        yield f"http://127.0.0.1:{json_line(started)['port']}"


def read_log(path: Path) -> NDArray[np.int64]:
    """A null server's log: rows of number, received and answered (ns)."""
    return np.fromfile(path, dtype=np.int64).reshape(-1, 3)


@contextmanager
def raw_server(answer: Answer) -> Iterator[str]:
    """A server that does with each request what `answer(connection, request)` does."""

    def serve(connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    request = connection.recv(65536)
                    if not request:
                        return
                    answer(connection, request)
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        # Wakes the accept that close alone leaves hanging.
        listener.shutdown(socket.SHUT_RDWR)


class Locust:
    """A Locust with a page: a master with its workers, or a local one."""

    def __init__(self, base: str, master: "subprocess.Popen[bytes]") -> None:
        self.base = base
        self.master = master
        self.workers: list[subprocess.Popen[bytes]] = []
        self.engine_pids: list[int] = []

    def call(
        self, path: str, form: Mapping[str, Any] | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """A GET, or a POST of a form; status and body."""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        sent = {"X-Bakeoff-Run": TOKEN, **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = urllib.request.Request(self.base + path, data=data, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def start(self, host: str, **form: Any) -> dict[str, Any]:
        """POST /swarm; by default an open model of 200 a second for a second."""
        fields = {
            **{"user_count": 8, "spawn_rate": 8, "host": host, "rate": 200, "seed": 5},
            **{"arrivals": "poisson", "duration": 1, "request_timeout": 5, **form},
        }
        status, body = self.call("/swarm", fields)
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def summary(self) -> dict[str, Any]:
        """The light summary."""
        found: dict[str, Any] = json.loads(self.call("/bakeoff/measurements?summary=1")[1])
        return found

    def measurement(self) -> PhaseMeasurement:
        """The measurement so far."""
        return decode_measurement(self.call("/bakeoff/measurements")[1])

    def wait_until(self, *states: str) -> dict[str, Any]:
        """Waits for a state of the run, and looks seldom: the page is served by the master."""
        wait_for(f"a run that is {states}", lambda: self.summary()["state"] in states, every_s=0.25)
        return self.summary()

    def run(self, host: str, **form: Any) -> PhaseMeasurement:
        """A whole run, whose books must balance."""
        answer = self.start(host, **form)
        assert answer["success"], answer
        ended = self.wait_until("complete", "incomplete", "failed")
        assert ended["state"] == "complete", ended
        measurement = self.measurement()
        assert_balanced(measurement)
        return measurement


@contextmanager
def locust(
    locustfile: Path = AD_HOC,
    *arguments: str,
    workers: int = 1,
    core: int | None = None,
    environment: Mapping[str, str] | None = None,
    master_port: Callable[[int], int] = lambda port: port,
) -> Iterator[Locust]:
    """A master with `workers` (0: a local Locust). `master_port` may put a proxy between.

    What still runs at the end is killed: saying good-bye would take a master two seconds.
    """
    env = {"BAKEOFF_ANNOUNCE": "1", "BAKEOFF_RUN_TOKEN": TOKEN, **(environment or {})}
    common = ("-m", "locust", "-f", str(locustfile), *arguments)
    web = ("--web-host", "127.0.0.1", "--web-port", "0")
    master = (
        ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", "0")
        if workers
        else ()
    )
    with ExitStack() as stack:
        start = partial(process, *common, environment=env, core=core, last=signal.SIGKILL)
        first = stack.enter_context(start(*web, *master))
        said = json_line(first)
        found = Locust(f"http://127.0.0.1:{said['web_port']}", first)
        if not workers:
            found.engine_pids.append(said["engine_pid"])
        for _ in range(workers):
            port = master_port(said["master_port"])
            where = ("--worker", "--master-host", "127.0.0.1", "--master-port", str(port))
            found.workers.append(stack.enter_context(start(*where)))
        found.engine_pids += [json_line(worker)["engine_pid"] for worker in found.workers]
        yield found


def write_locustfile(folder: Path, tasks: str, setup: str = "") -> Path:
    """A Locust file with one user class; `tasks` is the body of the class."""
    path = folder / "locustfile_of_test.py"
    path.write_text(
        "from locust import task\n\nimport asyncio\n\nfrom bakeoff.load import OpenModelUser\n"
        f"{textwrap.dedent(setup)}\n\nclass Tested(OpenModelUser):\n"
        + textwrap.indent(textwrap.dedent(tasks), "    ")
    )
    return path


def assert_balanced(measurement: PhaseMeasurement) -> None:
    """The books of a complete run balance, in total and for each worker."""
    everyone = [measurement.counts, *(worker.counts for worker in measurement.workers)]
    for counts in everyone:
        assert counts.scheduled == counts.sent + counts.never_sent, counts
        assert counts.sent == ended(counts) + counts.in_flight, counts
    assert ended(measurement.counts) == sum(worker.merged for worker in measurement.workers)
    for worker in measurement.workers:
        assert worker.recorded == worker.merged == ended(worker.counts), worker
        assert worker.final and worker.gaps == 0, worker
    sums = measurement.sums
    assert sums.latency_us == sums.lateness_us + sums.service_us


def ended(counts: Counts) -> int:
    """Requests that are over."""
    return counts.answered + counts.failed + counts.timed_out


def kill(started: "subprocess.Popen[bytes]") -> None:
    """SIGKILL, and waits for the end."""
    started.send_signal(signal.SIGKILL)
    started.wait(DEADLINE_S)
