"""A stock Locust file, for comparison: FastHttpUser, and what a request of it costs this process.

After a second of running, it counts for BENCH_WINDOW_S and prints one JSON line.
"""

from locust import FastHttpUser, events, task

import json
import os
import time
from typing import Any

import gevent

_SETTLE_S = 1.0


class Stock(FastHttpUser):
    """Each user gets / again and again."""

    @task
    def get(self) -> None:
        self.client.get("/")


@events.spawning_complete.add_listener  # type: ignore[untyped-decorator]
def measure(**_: Any) -> None:
    """Locust: all users run."""
    gevent.spawn(_measure)


def _measure() -> None:
    runner = _environments[0].runner
    gevent.sleep(_SETTLE_S)
    cpu_s, requests = time.process_time(), runner.stats.num_requests
    gevent.sleep(float(os.environ["BENCH_WINDOW_S"]))
    found = {
        "cpu_us": (time.process_time() - cpu_s) * 1e6,
        "requests": runner.stats.num_requests - requests,
    }
    print(json.dumps(found), flush=True)
    runner.quit()


_environments: list[Any] = []


@events.init.add_listener  # type: ignore[untyped-decorator]
def remember(environment: Any, **_: Any) -> None:
    """Locust: `spawning_complete` does not say of which environment."""
    _environments.append(environment)
