"""One line of JSON on standard output once a process is ready, for whoever started it."""

import json
import os
from typing import Any

import gevent

ANNOUNCE_VARIABLE = "BAKEOFF_ANNOUNCE"
_BOUND_DEADLINE_S = 30.0


def announce(role: str, **details: Any) -> None:
    """Says that this process listens, where BAKEOFF_ANNOUNCE=1 asks for it."""
    if os.environ.get(ANNOUNCE_VARIABLE) == "1":
        line = {"message": "listening", "role": role, **details}
        print(json.dumps(line, separators=(",", ":")), flush=True)


def bound_port(web_ui: Any) -> int | None:
    """The port of Locust's page, once it is bound; None where that does not happen."""
    with gevent.Timeout(_BOUND_DEADLINE_S, False):
        while web_ui.server is None or not web_ui.server.started:
            gevent.sleep(0.01)
        return int(web_ui.server.server_port)
    return None
