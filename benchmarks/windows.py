"""A window of a closed-model run: the requests in it, and what they cost whom."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bakeoff.hosts.host import Host
from bakeoff.load.settings import FAST_HTTP
from bakeoff.measure.phase import decode_measurement
from bakeoff.rig.swarm import Swarm, SwarmSettings
from bakeoff.rig.swarmclient import PhasePlan
from benchmarks.processes import ROOT, cpu_s, line_of, sleep_until, tree

GENERATOR = "generator"
WINDOW_S = 5
_SETTLE_S = 1
_DEADLINE_S = 60

# Seconds of CPU that each part has used so far.
Clocks = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Aim:
    """What is sent where: a Locust file, its environment, the connections, and the cores of the
    generator (None: any). With a `rate_rps` it is the open model, or a paced closed one."""

    url: str
    locustfile: Path = ROOT / "bakeoff" / "load" / "ad_hoc.py"
    environment: Mapping[str, str] = field(default_factory=dict)
    connections: int = 64
    cores: frozenset[int] | None = None
    rate_rps: float | None = None
    # Of others whose CPU is to be counted: processes by part.
    parts: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """Requests answered in WINDOW_S seconds, and CPU seconds by part."""

    requests: int
    cpu_s: Mapping[str, float]

    @property
    def rps(self) -> float:
        """Answers a second."""
        return self.requests / WINDOW_S

    def us_per_request(self, part: str = GENERATOR) -> float:
        """Microseconds of a part's CPU for each request."""
        return self.cpu_s[part] * 1e6 / self.requests


def ours(aim: Aim) -> Window:
    """Master, one worker and its engine."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bakeoff-bench-"))
        host = stack.enter_context(Host("local", run_id=f"bench-{os.getpid()}"))
        swarm = stack.enter_context(
            Swarm(
                SwarmSettings(
                    locustfile=aim.locustfile,
                    folder=Path(folder),
                    master_host=host,
                    address="127.0.0.1",
                    worker_hosts=[host],
                    cpus=aim.cores,
                    targets={"target": aim.url},
                    environments={"local": aim.environment},
                )
            )
        )
        return _window_of(swarm, aim)


def stock(aim: Aim) -> Window:
    """Locust with its own FastHttpUser client, in one process."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(aim.locustfile), "--headless", "--json"),
        *("--client", FAST_HTTP, "--host", aim.url, "-u", str(aim.connections)),
        *("-r", str(aim.connections), "-t", f"{WINDOW_S + 3 * _SETTLE_S + 2}s"),
    ]
    if aim.cores is not None:
        command = ["taskset", "-c", ",".join(map(str, sorted(aim.cores))), *command]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **aim.environment},
        cwd=ROOT,
    ) as started:
        try:
            line_of(started, started.stderr, b"All users spawned")
            # Locust counts by whole seconds of the wall clock.
            first = int(time.time()) + 1 + _SETTLE_S
            clocks = _clocks(aim, [started.pid])
            time.sleep(max(0.0, first - time.time()))
            before = clocks()
            time.sleep(max(0.0, first + WINDOW_S - time.time()))
            after = clocks()
            said, _ = started.communicate(timeout=_DEADLINE_S)
        finally:
            started.kill()
    (entry,) = json.loads(said)
    seconds = {int(second): count for second, count in entry["num_reqs_per_sec"].items()}
    assert entry["num_failures"] == 0, entry
    requests = sum(seconds.get(first + second, 0) for second in range(WINDOW_S))
    return Window(requests, {part: after[part] - before[part] for part in before})


def _window_of(swarm: Swarm, aim: Aim) -> Window:
    plan = PhasePlan(
        target=aim.url,
        rate_rps=aim.rate_rps,
        arrivals="poisson",
        duration_s=WINDOW_S + 2 * _SETTLE_S,
        connections=aim.connections,
        seed=1,
        request_timeout_s=10,
    )
    swarm.client.start(plan)
    deadline = time.monotonic() + _DEADLINE_S
    while swarm.client.progress().elapsed_s == 0:
        assert time.monotonic() < deadline, "the run does not start"
        time.sleep(0.01)
    started_s = decode_measurement(swarm.client.measurement()).started_monotonic_s
    clocks = _clocks(aim, swarm.pids)
    # Whole seconds of the run, since its intervals are.
    sleep_until(started_s + _SETTLE_S)
    before = clocks()
    sleep_until(started_s + _SETTLE_S + WINDOW_S)
    after = clocks()
    while not swarm.client.progress().complete:
        assert time.monotonic() < deadline, "the run does not end"
        time.sleep(0.1)
    measurement = decode_measurement(swarm.client.measurement())
    assert not measurement.errors, measurement.errors
    requests = sum(
        interval.completed
        for interval in measurement.intervals
        if _SETTLE_S <= interval.start_s < _SETTLE_S + WINDOW_S
    )
    return Window(requests, {part: after[part] - before[part] for part in before})


def _clocks(aim: Aim, generator: Sequence[int]) -> Clocks:
    parts = {GENERATOR: tree(*generator), **{part: list(pids) for part, pids in aim.parts.items()}}
    return lambda: {part: cpu_s(pids) for part, pids in parts.items()}
