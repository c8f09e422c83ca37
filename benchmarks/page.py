"""docs/benchmarks.md: the figures of a whole run, with what they were measured on."""

import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.ratios import DIFFERENCES, RATIOS

# What the instrument aims at, by ratio or difference: at most this, or for throughput at least.
AIMS = {
    "generator_over_wrk": "at most 1.4",
    "generator_over_fasthttpuser": "at most 0.125",
    "stub_wire_over_grpcio": "at most 0.1",
    "stub_wire_over_go": "at most 0.7",
    "stub_wire_over_grpcio_4_connections": "at most 0.1",
    "stub_wire_over_go_4_connections": "at most 0.7",
    "stub_wire_over_grpcio_at_1000": "at most 0.4",
    "stub_wire_over_go_at_1000": "at most 0.75",
    "stub_wire_over_grpcio_by_go_service": "at most 0.125",
    "stub_wire_over_go_by_go_service": "at most 0.5",
    "stub_wire_over_grpcio_by_rust_service": "at most 0.125",
    "stub_wire_over_go_by_rust_service": "at most 0.5",
    "end_to_end_over_stock": "at least 2.5",
    "lateness_p99_over_bare_ms": "at most 0.3",
    "lateness_p999_over_bare_ms": "at most 1",
}
_PACKAGES = ("locust", "uvloop", "httptools", "grpcio", "protobuf")
_HEADER = """# Benchmarks
The instrument beside its anchors, as `make bench` left them: a whole run overwrites this page
and `results/bench.json`. Medians of {repeats} interleaved repeats; low and high are the range.
Processor time is that of all processes of a part. Machines differ and have other work: read
ratios, not microseconds, and run it yourself.

{machine}
"""
_NOTES = """
## What is measured
- **Generator**: 64 keep-alive connections of the closed model against a uvloop server that
  answers at once; ours counts master, worker and engine; beside it wrk and Locust's
  FastHttpUser. Its answers are all the same, and ours does not parse the same head twice;
  `_with_ids`: each has a request ID of its own. `_at_1000` and `_at_4000` are the open model at
  that rate.
- **Stub**: `GetPayment` called by ghz with 64 callers on one connection and on four, and paced
  on one; `wire` and `grpcio` are the two engines, `go` is a stub on grpc-go with the same
  answers. `_by_go_service` and `_by_rust_service`: as a service calls it at its capacity.
- **End to end**: the Go service on a core of its own at its capacity, Postgres, stub and
  generator on the others. `stock` is FastHttpUser and the grpcio stub. `_rust`: the same around
  the Rust service; which of the two is faster is for `bakeoff compare` to say.
- **Lateness**: sent minus intended at half of the generator's capacity, its engine on a core of
  its own; a repeat is percentiles over a minute, in twelve windows in turn with those of `bare`,
  a loop that only wakes up at the same instants on the same core. `over` is their difference. The
  capacity is the closed model's, whose requests go out together; an arrival goes alone and wakes
  the server up, so that the core is more than half busy (`lateness_engine_core_percent`).
- **Master**: a worker's report merged by the master of a simulated swarm; see
  [scale.md](scale.md)."""


def page(found: Mapping[str, float], repeats: int) -> str:
    """The page in Markdown."""
    return "\n".join(
        [
            _HEADER.format(repeats=repeats, machine=_machine()),
            "## Ratios of medians, and differences",
            "| what | figure | aim |",
            "|---|---|---|",
            *_compared(found),
            "",
            "## Figures",
            "| key | figure | low | high |",
            "|---|---|---|---|",
            *_measured(found),
            _NOTES + "\n",
        ]
    )


def _compared(found: Mapping[str, float]) -> Iterator[str]:
    for name in (*RATIOS, *DIFFERENCES):
        if name in found:
            yield f"| {name} | {found[name]:.3g} | {AIMS.get(name, '')} |"


def _measured(found: Mapping[str, float]) -> Iterator[str]:
    for key, median in found.items():
        if key in RATIOS or key.endswith(("_low", "_high")):
            continue
        spread = (found.get(f"{key}_{end}") for end in ("low", "high"))
        shown = (f"{end:,.4g}" if end is not None else "" for end in spread)
        yield f"| {key} | {median:,.4g} | {' | '.join(shown)} |"


def _machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {len(os.sched_getaffinity(0))} cores ({_model()}), Linux"
        f" {platform.release()}, Python {platform.python_version()}, {versions}; load averages at"
        f" the end {load}."
    )


def _model() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        found = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        return next(found, platform.machine())
