"""How late the engine sends, beside a bare loop that only wakes up at the same instants.

Each in turn has a core of its own, where there are two, and the same Poisson arrivals at half of
what the engine does there; null server, master and worker with their reports share the other.
"""

from benchmarks import unpatched  # noqa: F401, I001

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from bakeoff.hosts.host import Host
from bakeoff.load import wire
from bakeoff.load.engine.schedule import NS, Part, Schedule
from bakeoff.load.workerrun import SAMPLES_VARIABLE
from bakeoff.rig.swarm import Swarm, SwarmSettings
from bakeoff.rig.swarmclient import PhasePlan
from bakeoff.timerfd import TimerFd
from benchmarks.processes import ROOT, null_server, tree

# A minute of each, in short turns, so that both have the same weather.
WINDOW_S = 5.0
WINDOWS = 12
CONNECTIONS = 64
_SEED = 1
_PERCENTILES = {"p50": 50.0, "p99": 99.0, "p999": 99.9}
_DEADLINE_S = 60.0

Lateness = NDArray[np.int64]


def measure(repeats: int) -> dict[str, list[float]]:
    """By key, a figure for each minute: half of the capacity that was found, how busy the engine's
    core was, and what `compared` says of its windows."""
    found: dict[str, list[float]] = {}
    own, others = _cores()
    with ExitStack() as stack:
        os.sched_setaffinity(0, others)
        stack.callback(os.sched_setaffinity, 0, own | others)
        generator = _Generator(stack, own, others)
        rate_rps = generator.capacity_rps() / 2
        for _ in range(repeats):
            for key, figure in _one_minute(generator, rate_rps, own).items():
                found.setdefault(key, []).append(figure)
    return found


def compared(ours: Sequence[Lateness], bare: Sequence[Lateness]) -> dict[str, float]:
    """By key, in milliseconds: percentiles over the arrivals of all windows, and how much the
    engine's are over those of the bare loop. Lateness is in nanoseconds."""
    found: dict[str, float] = {}
    own, other = np.concatenate(ours), np.concatenate(bare)
    for label, percentile in _PERCENTILES.items():
        own_ms, bare_ms = (float(np.percentile(late, percentile)) / 1e6 for late in (own, other))
        found[f"lateness_{label}_ms"] = own_ms
        found[f"bare_lateness_{label}_ms"] = bare_ms
        found[f"lateness_{label}_over_bare_ms"] = own_ms - bare_ms
    return found


def _one_minute(generator: "_Generator", rate_rps: float, own: set[int]) -> dict[str, float]:
    ours, bare, used_s = [], [], 0.0
    for _ in range(WINDOWS):
        before_s = generator.engine_cpu_s()
        ours.append(generator.lateness_ns(rate_rps))
        used_s += generator.engine_cpu_s() - before_s
        bare.append(_bare_lateness_ns(rate_rps, own))
    return {
        "lateness_rate_rps": rate_rps,
        "lateness_engine_core_percent": 100 * used_s / (WINDOWS * WINDOW_S),
        **compared(ours, bare),
    }


class _Generator:
    """A swarm of one worker whose engine has a core of its own, aimed at a null server."""

    def __init__(self, stack: ExitStack, own: set[int], others: set[int]) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bakeoff-bench-")))
        self._samples = folder / "samples"
        self._samples.mkdir()
        self._url = stack.enter_context(null_server())
        host = stack.enter_context(Host("local", run_id=f"bench-{os.getpid()}"))
        settings = SwarmSettings(
            locustfile=ROOT / "bakeoff" / "load" / "ad_hoc.py",
            folder=folder,
            master_host=host,
            address="127.0.0.1",
            worker_hosts=[host],
            cpus=frozenset(others),
            targets={"null": self._url},
            environments={"local": {SAMPLES_VARIABLE: str(self._samples)}},
        )
        self._swarm = stack.enter_context(Swarm(settings))
        (self._engine,) = (
            process
            for process in map(psutil.Process, tree(*self._swarm.pids))
            if "bakeoff.load.engine" in process.cmdline()
        )
        self._engine.cpu_affinity([*own])

    def engine_cpu_s(self) -> float:
        """What its engine has used of a processor."""
        times = self._engine.cpu_times()
        return float(times.user + times.system)

    def capacity_rps(self) -> float:
        """What the closed model does."""
        return len(self._run(None, 3.0)) / 3.0

    def lateness_ns(self, rate_rps: float) -> Lateness:
        """Sent minus intended, of each arrival that found a free connection."""
        rows = self._run(rate_rps, WINDOW_S)
        punctual = rows[:, wire.TAG] & wire.TAG_WAITED == 0
        found: Lateness = (rows[:, wire.SENT] - rows[:, wire.DUE])[punctual]
        return found

    def _run(self, rate_rps: float | None, duration_s: float) -> NDArray[np.int64]:
        plan = PhasePlan(
            target=self._url,
            rate_rps=rate_rps,
            arrivals="poisson",
            duration_s=duration_s,
            connections=CONNECTIONS,
            seed=_SEED,
            request_timeout_s=10,
        )
        self._swarm.run(plan, lambda _: None)
        (raw,) = self._samples.iterdir()
        rows = np.fromfile(raw, np.int64).reshape(-1, wire.COLUMNS)
        raw.unlink()
        return rows


def _bare_lateness_ns(rate_rps: float, own: set[int]) -> Lateness:
    """This module as a program, on the core that the engine had."""
    command = [sys.executable, "-m", "benchmarks.lateness", str(rate_rps), str(WINDOW_S)]
    ran = subprocess.run(
        ["taskset", "-c", ",".join(map(str, own)), *command],
        capture_output=True,
        timeout=WINDOW_S + _DEADLINE_S,
        check=True,
        cwd=ROOT,
    )
    return np.frombuffer(ran.stdout, np.int64)


def _wake_up(rate_rps: float, duration_s: float) -> Lateness:
    """Sleeps to each arrival, and says how late it woke up, in nanoseconds."""
    schedule = Schedule(rate_rps, "poisson", _SEED, duration_s)
    start_ns = time.monotonic_ns() + NS // 10
    late: list[int] = []
    with TimerFd() as timer, select.epoll() as waiting:
        waiting.register(timer.fileno(), select.EPOLLIN)
        for chunk in schedule.chunks(Part()):
            for due_ns in (chunk.due_ns + start_ns).tolist():
                if due_ns > time.monotonic_ns():
                    timer.arm(due_ns)
                    waiting.poll()
                late.append(time.monotonic_ns() - due_ns)
    return np.array(late)


def _cores() -> tuple[set[int], set[int]]:
    """The engine's core and the others; the same where there is one."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[-1]}, set(cores[:-1]) or {cores[-1]}


if __name__ == "__main__":
    sys.stdout.buffer.write(_wake_up(float(sys.argv[1]), float(sys.argv[2])).tobytes())
