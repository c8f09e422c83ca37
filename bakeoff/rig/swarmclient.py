"""The way to drive a Locust master, whoever started it: Locust's own web API."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from bakeoff.errors import PartDiedError, RigError

_REQUEST_DEADLINE_S = 10.0


@dataclass(frozen=True)
class PhasePlan:
    """One run of the swarm. `rate_rps` None is the closed model; `connections` over all workers."""

    target: str
    rate_rps: float | None
    arrivals: str
    duration_s: float
    connections: int
    seed: int
    request_timeout_s: float

    def form(self) -> dict[str, str]:
        """The fields of Locust's /swarm."""
        return {
            "user_count": str(self.connections),
            "spawn_rate": str(self.connections),
            "host": self.target,
            "rate": "" if self.rate_rps is None else repr(self.rate_rps),
            "arrivals": self.arrivals,
            "seed": str(self.seed),
            "duration": repr(self.duration_s),
            "request_timeout": repr(self.request_timeout_s),
        }


@dataclass(frozen=True)
class Progress:
    """The light summary of a running phase, for a display."""

    complete: bool
    elapsed_s: float
    completed: int
    rate_rps: float | None
    p99_ms: float | None
    errors: int
    # Why the phase cannot go on, or None; and the workers that were lost in it.
    failure: str | None = None
    lost: tuple[str, ...] = ()


class SwarmClient:
    """Talks to a Locust master's web API at `base_url`."""

    def __init__(self, base_url: str, run_token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"X-Bakeoff-Run": run_token} if run_token else {}

    def start(self, plan: PhasePlan) -> None:
        """Starts a phase; RigError with Locust's own words where it refuses."""
        answer = json.loads(self._call("/swarm", plan.form()))
        if not answer.get("success"):
            raise RigError(f"Locust at {self.base_url} refused the phase: {answer.get('message')}")

    def stop(self) -> None:
        """Ends the phase, so that the next can start."""
        self._call("/stop", {})

    def progress(self) -> Progress:
        """How far the phase is."""
        answer = json.loads(self._call("/bakeoff/measurements?summary=1"))
        return Progress(
            complete=bool(answer["complete"]),
            elapsed_s=float(answer["elapsed_s"]),
            completed=int(answer["completed"]),
            rate_rps=answer.get("rate_rps"),
            p99_ms=answer.get("p99_ms"),
            errors=int(answer["errors"]),
            failure=answer.get("failure"),
            lost=tuple(answer.get("lost", ())),
        )

    def measurement(self) -> bytes:
        """The merged measurement of the phase, as JSON."""
        return self._call("/bakeoff/measurements")

    def ready_workers(self) -> int:
        """How many workers are connected and alive."""
        answer = json.loads(self._call("/stats/requests"))
        workers = answer.get("workers") or []
        return sum(1 for worker in workers if worker["state"] not in ("missing", "stopped"))

    def _call(self, path: str, form: Mapping[str, str] | None = None) -> bytes:
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.base_url + path, data=data, headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=_REQUEST_DEADLINE_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            detail = error.read(300).decode(errors="replace").strip()
            raise RigError(
                f"the Locust master at {self.base_url} answered {path} with {error.code}: {detail}"
            ) from error
        except (OSError, ValueError) as error:
            raise PartDiedError(
                "locust master",
                f"the Locust master at {self.base_url} does not answer {path}: {error}",
            ) from error
