"""Samples into Locust's own statistics, in batches, so that its page and files keep working."""

from locust.stats import RequestStats, StatsEntry, StatsError

import time
from typing import Any

import numpy as np

from bakeoff.load import wire
from bakeoff.measure.histograms import Counters

_NS_IN_MS = 1e6


def add_samples(stats: RequestStats, samples: Counters, names: list[tuple[str, str]]) -> None:
    """Adds samples to the entries of their names and to the total."""
    tags = samples[:, wire.TAG] // wire.TAG_NAMES
    for tag in np.unique(tags).tolist():
        method, name = names[tag]
        mine = samples[tags == tag]
        outcome = mine[:, wire.OUTCOME]
        unexpected = outcome[outcome >= wire.UNEXPECTED] - wire.UNEXPECTED
        failures = int(len(unexpected) + (outcome <= wire.TIMED_OUT).sum())
        for entry in (stats.get(name, method), stats.total):
            _add(entry, mine, failures)
        for status, count in zip(*np.unique(unexpected, return_counts=True), strict=True):
            add_error(stats, method, name, f"unexpected status {status}", int(count))
        timed_out = int((outcome == wire.TIMED_OUT).sum())
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


def _add(entry: StatsEntry, samples: Counters, failures: int) -> None:
    now = time.time()
    second = int(now)
    if (
        entry.use_response_times_cache
        and entry.last_request_timestamp
        and second > int(entry.last_request_timestamp)
    ):
        # What StatsEntry.log does when a second is over.
        entry._cache_response_times(second - 1)
    times_ms = (samples[:, wire.DONE] - samples[:, wire.DUE]) / _NS_IN_MS
    entry.num_requests += len(samples)
    entry.num_reqs_per_sec[second] += len(samples)
    entry.num_failures += failures
    if failures:
        entry.num_fail_per_sec[second] += failures
    entry.last_request_timestamp = now
    entry.total_response_time += float(times_ms.sum())  # type: ignore[assignment]
    shortest, longest = float(times_ms.min()), float(times_ms.max())
    if entry.min_response_time is None or shortest < entry.min_response_time:
        entry.min_response_time = shortest  # type: ignore[assignment]
    entry.max_response_time = max(entry.max_response_time, longest)  # type: ignore[assignment]
    for time_ms, count in _rounded(times_ms):
        entry.response_times[time_ms] += count
    entry.total_content_length += int(samples[:, wire.SIZE].sum())


def _rounded(times_ms: "np.ndarray[Any, np.dtype[np.float64]]") -> list[tuple[int, int]]:
    """Locust's rounding: to two digits from 100 ms on."""
    scale = np.select([times_ms < 100, times_ms < 1000, times_ms < 10_000], [1, 10, 100], 1000)
    rounded = (np.rint(times_ms / scale) * scale).astype(np.int64)
    values, counts = np.unique(rounded, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
