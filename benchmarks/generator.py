"""What a request costs the generator, beside wrk and Locust's FastHttpUser.

Each in turn gets `/` from the null server over 64 connections, as fast as it can and paced.
Counted is the CPU of the whole generator: ours with master, worker and engine.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks import windows
from benchmarks.figures import interleaved
from benchmarks.processes import ROOT, null_server
from benchmarks.windows import WINDOW_S, Aim

CONNECTIONS = 64
PACES_RPS = (1000, 4000)
PACED = ROOT / "benchmarks" / "paced.py"


def measure(repeats: int) -> dict[str, list[float]]:
    """Microseconds of CPU a request, by key. wrk is left out where it is not installed; it has no
    paced mode."""
    with null_server() as url, null_server("--request-ids") as url_with_ids:
        contestants: dict[str, Callable[[], float]] = {
            "generator_us_per_request": partial(ours, url),
            "fasthttpuser_us_per_request": partial(fast_http_user, url),
            "generator_us_per_request_with_ids": partial(ours, url_with_ids),
        }
        if shutil.which("wrk"):
            contestants["wrk_us_per_request"] = partial(wrk, url)
            contestants["wrk_us_per_request_with_ids"] = partial(wrk, url_with_ids)
        for pace in PACES_RPS:
            contestants[f"generator_us_per_request_at_{pace}"] = partial(ours, url, pace)
            contestants[f"fasthttpuser_us_per_request_at_{pace}"] = partial(
                fast_http_user, url, pace
            )
        return interleaved(contestants, repeats)


def ours(url: str, rate_rps: float | None = None) -> float:
    """Master, one worker and its engine; without a rate in the closed model."""
    return windows.ours(Aim(url, connections=CONNECTIONS, rate_rps=rate_rps)).us_per_request()


def fast_http_user(url: str, rate_rps: float | None = None) -> float:
    """Locust's own fast client, in one local process; a rate is shared by its users."""
    aim = Aim(url, connections=CONNECTIONS)
    if rate_rps is not None:
        environment = {"BENCH_USER_RPS": str(rate_rps / CONNECTIONS)}
        aim = replace(aim, locustfile=PACED, environment=environment)
    return windows.stock(aim).us_per_request()


def wrk(url: str) -> float:
    """wrk with one thread."""
    ran = subprocess.Popen(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{WINDOW_S}s", f"{url}/"], stdout=subprocess.PIPE
    )
    assert ran.stdout is not None
    said = ran.stdout.read().decode()
    _, status, usage = os.wait4(ran.pid, 0)
    ran.returncode = os.waitstatus_to_exitcode(status)
    requests = re.search(r"(\d+) requests in", said)
    assert ran.returncode == 0 and requests, said
    return (usage.ru_utime + usage.ru_stime) * 1e6 / int(requests[1])
