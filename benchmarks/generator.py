"""What a request costs the generator, beside wrk and Locust's FastHttpUser.

Each in turn gets `/` from the null server over 64 connections as fast as it can, several times,
interleaved. Counted is the CPU of the whole generator: ours with master, worker and engine.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bakeoff.hosts.host import Host
from bakeoff.measure.phase import decode_measurement
from bakeoff.rig.swarm import Swarm, SwarmSettings
from bakeoff.rig.swarmclient import PhasePlan

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 64
_WINDOW_S = 5
_SETTLE_S = 1.0
_DEADLINE_S = 60
# A process's CPU clock: see clock_getcpuclockid(3).
_CPU_CLOCK = 2


def measure(repeats: int = 5) -> dict[str, float]:
    """Microseconds of CPU a request: the median, with `_low` and `_high` of the repeats."""
    contestants: dict[str, Callable[[str], float]] = {
        "generator": ours,
        "fasthttpuser": fast_http_user,
    }
    if shutil.which("wrk"):
        contestants["wrk"] = wrk
    found: dict[str, list[float]] = {name: [] for name in contestants}
    with null_server() as host:
        for _ in range(repeats):
            for name, contestant in contestants.items():
                found[name].append(contestant(host))
    results = {}
    for name, figures in found.items():
        results[f"{name}_us_per_request"] = statistics.median(figures)
        results[f"{name}_us_per_request_low"] = min(figures)
        results[f"{name}_us_per_request_high"] = max(figures)
    return results


def table(results: dict[str, float]) -> str:
    """The results for people."""
    lines = [f"{'CPU us a request':<16}{'median':>10}{'low':>10}{'high':>10}"]
    for name in ("generator", "wrk", "fasthttpuser"):
        key = f"{name}_us_per_request"
        if key in results:
            figures = (results[key], results[f"{key}_low"], results[f"{key}_high"])
            lines.append(f"{name:<16}" + "".join(f"{figure:>10.2f}" for figure in figures))
        else:
            lines.append(f"{name:<16} skipped: it is not installed")
    return "\n".join(lines)


def ours(host: str) -> float:
    """Master, one worker and its engine, in the closed model."""
    plan = PhasePlan(
        target=host,
        rate_rps=None,
        arrivals="poisson",
        duration_s=_WINDOW_S + 2 * _SETTLE_S,
        connections=CONNECTIONS,
        seed=1,
        request_timeout_s=10,
    )
    with (
        tempfile.TemporaryDirectory(prefix="bakeoff-bench-") as scratch,
        Host("local", run_id=f"bench-{os.getpid()}") as local,
        Swarm(
            SwarmSettings(
                locustfile=ROOT / "bakeoff" / "load" / "ad_hoc.py",
                folder=Path(scratch),
                master_host=local,
                address="127.0.0.1",
                worker_hosts=[local],
                cpus=None,
                targets={"null": host},
            )
        ) as swarm,
    ):
        swarm.client.start(plan)
        deadline = time.monotonic() + _DEADLINE_S
        while swarm.client.progress().elapsed_s == 0:
            assert time.monotonic() < deadline, "the run does not start"
            time.sleep(0.01)
        started_s = decode_measurement(swarm.client.measurement()).started_monotonic_s
        pids = [
            pid
            for root in swarm.pids
            for pid in (root, *(one.pid for one in psutil.Process(root).children(recursive=True)))
        ]
        # Whole seconds of the run, since its intervals are.
        _sleep_until(started_s + _SETTLE_S)
        before_s = sum(map(cpu_s, pids))
        _sleep_until(started_s + _SETTLE_S + _WINDOW_S)
        used_s = sum(map(cpu_s, pids)) - before_s
        while not swarm.client.progress().complete:
            assert time.monotonic() < deadline, "the run does not end"
            time.sleep(0.1)
        measurement = decode_measurement(swarm.client.measurement())
    requests = sum(
        interval.completed
        for interval in measurement.intervals
        if _SETTLE_S <= interval.start_s < _SETTLE_S + _WINDOW_S
    )
    return used_s * 1e6 / requests


def wrk(host: str) -> float:
    """wrk with one thread."""
    ran = subprocess.Popen(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{_WINDOW_S}s", f"{host}/"], stdout=subprocess.PIPE
    )
    assert ran.stdout is not None
    said = ran.stdout.read().decode()
    _, status, usage = os.wait4(ran.pid, 0)
    ran.returncode = os.waitstatus_to_exitcode(status)
    requests = re.search(r"(\d+) requests in", said)
    assert ran.returncode == 0 and requests, said
    return (usage.ru_utime + usage.ru_stime) * 1e6 / int(requests[1])


def fast_http_user(host: str) -> float:
    """Locust's own fast client, in one local process."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "fasthttpuser.py")),
        *("--headless", "-u", str(CONNECTIONS), "-r", str(CONNECTIONS), "--host", host),
    ]
    ran = subprocess.run(
        command,
        env={**os.environ, "BENCH_WINDOW_S": str(_WINDOW_S)},
        capture_output=True,
        timeout=_DEADLINE_S,
        check=True,
    )
    said = next(line for line in ran.stdout.decode().splitlines() if line.startswith("{"))
    found = json.loads(said)
    return float(found["cpu_us"] / found["requests"])


@contextmanager
def null_server() -> Iterator[str]:
    """The address of a null server that answers at once."""
    command = [sys.executable, "-m", "bakeoff.nullserver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
        try:
            assert started.stdout is not None
            yield f"http://127.0.0.1:{json.loads(started.stdout.readline())['port']}"
        finally:
            started.terminate()


def cpu_s(pid: int) -> float:
    """CPU that a process has used, all threads, in seconds."""
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK)


def _sleep_until(instant_s: float) -> None:
    time.sleep(max(0.0, instant_s - time.monotonic()))


if __name__ == "__main__":
    print(table(measure()))
