"""Samples into Locust's own statistics, in batches, so that its page and files keep working."""

from locust.stats import RequestStats, StatsEntry, StatsError

import time
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bakeoff.load import wire
from bakeoff.load.occurrences import counted
from bakeoff.measure.histograms import Counters

_NS_IN_MS = 1e6


def add_samples(stats: RequestStats, samples: Counters, names: list[tuple[str, str]]) -> None:
    """Adds samples to the entries of their names and to the total."""
    tags = samples[:, wire.TAG] // wire.TAG_NAMES
    latency_ms = (samples[:, wire.DONE] - samples[:, wire.DUE]) / _NS_IN_MS
    for tag in counted(tags):
        method, name = names[tag]
        mine = tags == tag
        outcome = samples[:, wire.OUTCOME][mine]
        unexpected = outcome[outcome >= wire.UNEXPECTED] - wire.UNEXPECTED
        timed_out = int((outcome == wire.TIMED_OUT).sum())
        summed = _Summed.of(
            latency_ms[mine],
            failures=int(len(unexpected) + (outcome <= wire.TIMED_OUT).sum()),
            response_bytes=int(samples[:, wire.SIZE][mine].sum()),
        )
        for entry in (stats.get(name, method), stats.total):
            _add(entry, summed)
        for status, count in counted(unexpected).items():
            add_error(stats, method, name, f"unexpected status {status}", count)
        if timed_out:
            add_error(stats, method, name, "timed out", timed_out)


def add_error(stats: RequestStats, method: str, name: str, message: str, count: int) -> None:
    """Adds a reason to Locust's list of failures (the entries count them with their samples)."""
    key = StatsError.create_key(method, name, message)
    now = time.time()
    error = stats.errors.get(key)
    if error is None:
        error = stats.errors[key] = StatsError(method, name, message, first_seen=now)
    error.occurrences += count
    error.last_seen = now


@dataclass(frozen=True)
class _Summed:
    """Samples of one name, as Locust counts them."""

    requests: int
    failures: int
    response_bytes: int
    total_ms: float
    shortest_ms: float
    longest_ms: float
    # By milliseconds, rounded.
    rounded_ms: dict[int, int]

    @classmethod
    def of(cls, latency_ms: NDArray[np.float64], failures: int, response_bytes: int) -> Self:
        return cls(
            requests=len(latency_ms),
            failures=failures,
            response_bytes=response_bytes,
            total_ms=float(latency_ms.sum()),
            shortest_ms=float(latency_ms.min()),
            longest_ms=float(latency_ms.max()),
            rounded_ms=counted(_rounded(latency_ms)),
        )


def _add(entry: StatsEntry, new: _Summed) -> None:
    now = time.time()
    second = int(now)
    if (
        entry.use_response_times_cache
        and entry.last_request_timestamp
        and second > int(entry.last_request_timestamp)
    ):
        # What StatsEntry.log does when a second is over.
        entry._cache_response_times(second - 1)
    entry.num_requests += new.requests
    entry.num_reqs_per_sec[second] += new.requests
    entry.num_failures += new.failures
    if new.failures:
        entry.num_fail_per_sec[second] += new.failures
    entry.last_request_timestamp = now
    entry.total_response_time += new.total_ms  # type: ignore[assignment]
    shortest_ms = entry.min_response_time
    if shortest_ms is None or new.shortest_ms < shortest_ms:
        entry.min_response_time = new.shortest_ms  # type: ignore[assignment]
    entry.max_response_time = max(entry.max_response_time, new.longest_ms)  # type: ignore[assignment]
    for time_ms, count in new.rounded_ms.items():
        entry.response_times[time_ms] += count
    entry.total_content_length += new.response_bytes


def _rounded(latency_ms: NDArray[np.float64]) -> Counters:
    """Locust's rounding: to two digits from 100 ms on."""
    rounded: Counters = np.rint(latency_ms).astype(np.int64)
    long = latency_ms >= 100
    if long.any():
        times_ms = latency_ms[long]
        scale = np.select([times_ms < 1000, times_ms < 10_000], [10, 100], 1000)
        rounded[long] = np.rint(times_ms / scale) * scale
    return rounded
