"""The start of a run, common to all workers that take part."""

import time
from collections.abc import Mapping, Sequence

from bakeoff.load.collected import Collected
from bakeoff.load.crew import Crew, clock_identity
from bakeoff.load.workerpart import WorkerPart

# From the go to the first arrival: longer than the message takes to the last of the workers.
_LEAD_NS = 100_000_000
_LEAD_PER_WORKER_NS = 500_000
# So many may report every second. More report with Locust alone, every three seconds: a thousand
# then make no more reports than these.
_LIVELY_WORKERS = 250


def book(run: Collected, workers: Sequence[str], connections: Mapping[str, int]) -> None:
    """Sets the start, and who takes part in this order."""
    lead_ns = _LEAD_NS + _LEAD_PER_WORKER_NS * len(workers)
    run.started_ns = time.monotonic_ns() + lead_ns
    run.started_unix_s = time.time() + lead_ns / 1e9
    for index, worker in enumerate(workers):
        run.parts[worker] = WorkerPart(worker, index, connections[worker])


def go(crew: Crew, run: Collected) -> None:
    """Gives each worker its part of the schedule."""
    settings = run.settings
    common = {
        "run": run.name,
        "clock": clock_identity(),
        "start_ns": run.started_ns,
        "count": len(run.parts),
        "rate_rps": settings.rate_rps,
        "arrivals": settings.arrivals,
        "seed": settings.seed,
        "duration_s": settings.duration_s,
        "lively": len(run.parts) <= _LIVELY_WORKERS,
    }
    for part in run.parts.values():
        # A worker with a clock of its own counts from the moment that it hears this.
        delay_ns = run.started_ns - time.monotonic_ns()
        crew.say("bakeoff_go", part.worker, **common, index=part.index, delay_ns=delay_ns)
