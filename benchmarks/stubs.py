"""What a call costs the payment stub: each of its engines, and a stub on grpc-go.

The caller is ghz. Counted is the CPU of all processes of the stub over a whole call of ghz, which
opens its connections in it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product

from benchmarks import anchors
from benchmarks.figures import interleaved
from benchmarks.processes import ROOT, announced, cpu_s, tree
from stub_payment.process import ENGINES

CALLERS = 64
PACES_RPS = (1000, 4000)
_WINDOW_S = 4
_DEADLINE_S = 60
_PROTO = ROOT / "protos" / "payment" / "v1" / "payment.proto"
_METHOD = "payment.v1.Payments/GetPayment"
_REQUEST = '{"invoice_id": "0190f5a0-7b7a-7000-8000-{{.RequestNumber}}"}'


def commands() -> dict[str, list[str]]:
    """How each stub is started."""
    python = [sys.executable, "-m", "stub_payment", "--port", "0", "--processes", "1", "--engine"]
    engines = {engine: [*python, engine] for engine in ENGINES}
    return {**engines, "go": [str(anchors.go_stub())]}


def measure(repeats: int) -> dict[str, list[float]]:
    """Microseconds of CPU a call, by key: saturated over one connection and over four, and paced
    over one."""
    caller = str(anchors.ghz())
    loads = {
        "": ["--connections", "1"],
        "_4_connections": ["--connections", "4"],
        **{f"_at_{pace}": ["--connections", "1", "--rps", str(pace)] for pace in PACES_RPS},
    }
    contestants: dict[str, Callable[[], float]] = {
        f"stub_{name}_us_per_call{load}": partial(us_per_call, command, [caller, *arguments])
        for (load, arguments), (name, command) in product(loads.items(), commands().items())
    }
    return interleaved(contestants, repeats)


def us_per_call(stub: Sequence[str], caller: Sequence[str]) -> float:
    """One stub under one load. AssertionError where a call fails."""
    with serving(stub) as (pids, target):
        before_s = cpu_s(pids)
        ran = subprocess.run(
            [
                *(*caller, "--insecure", "--proto", str(_PROTO), "--import-paths", str(ROOT)),
                *("--call", _METHOD, "--data", _REQUEST, "--concurrency", str(CALLERS)),
                *("--duration", f"{_WINDOW_S}s", "--duration-stop", "wait", "--format", "json"),
                target,
            ],
            capture_output=True,
            timeout=_WINDOW_S + _DEADLINE_S,
            check=True,
        )
        used_s = cpu_s(pids) - before_s
    report = json.loads(ran.stdout)
    assert set(report["statusCodeDistribution"]) == {"OK"}, report["errorDistribution"]
    return float(used_s * 1e6 / report["count"])


@contextmanager
def serving(stub: Sequence[str]) -> Iterator[tuple[list[int], str]]:
    """A stub that serves: its processes, and its first address."""
    with announced(stub) as (pid, line):
        yield tree(pid), f"127.0.0.1:{line['ports'][0]}"
