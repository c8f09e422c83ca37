"""A stock Locust file for a master to compare with: one JSON line says where it listens."""

from locust import HttpUser, events, task

import json
from typing import Any

import gevent


class Stock(HttpUser):
    """The workers are simulated; this is only what they would run."""

    @task
    def get(self) -> None:
        self.client.get("/")


@events.init.add_listener  # type: ignore[untyped-decorator]
def announce(environment: Any, **_: Any) -> None:
    """Locust: the process is set up, but its page is not bound yet."""
    gevent.spawn(_announce, environment)


def _announce(environment: Any) -> None:
    web_ui = environment.web_ui
    while web_ui.server is None or not web_ui.server.started:
        gevent.sleep(0.01)
    ports = {"master_port": environment.runner.server.port, "web_port": web_ui.server.server_port}
    print(json.dumps(ports), flush=True)
