"""Runs one command on a host and says what it took: wall time, CPU time, memory."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from bakeoff.errors import BuildError, HostError
from bakeoff.hosts.host import Host, ProcessSpec
from bakeoff.hosts.watch import Watch

DEADLINE_S = 3600.0
# A reading looks through all processes for new ones, which takes some milliseconds.
_READING_S = 0.2
_PART = "build"
# The readings are asked for one by one, so the watch's own clock need not tick.
_NEVER_S = DEADLINE_S


@dataclass(frozen=True)
class Spending:
    """What a command took, with all processes below it. The peak is from samples, or of its
    largest process where that is more; None where it was over before the first sample.

    `other_cores` is how many cores were busy with something else, or stolen, meanwhile: neither
    with the command nor with this process and the far end, which sample it.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int | None
    other_cores: float


def run_and_measure(
    host: Host, spec: ProcessSpec, tick: Callable[[float], None] = lambda elapsed_s: None
) -> Spending:
    """Runs a command to its end; `tick` gets the seconds so far, several times a second.

    Raises BuildError with the end of its log where it fails.
    """
    far_end = host.facts().pid
    began_s, others_s = time.monotonic(), _others_s(far_end)
    with host.start(spec) as process:
        with host.watch({_PART: [process.pid]}, _NEVER_S) as watch, _Peak(watch, tick) as peak:
            code = process.wait(DEADLINE_S)
            wall_s, others_s = time.monotonic() - began_s, _others_s(far_end) - others_s
        spent = process.spent()
    if code != 0:
        raise BuildError(
            f"{spec.name}: {' '.join(spec.argv)} in {spec.cwd} ended with exit code {code}. "
            f"The end of {spec.log}:\n{host.read_tail(spec.log)}"
        )
    peaks = [one for one in (peak.rss_bytes, spent.largest_rss_bytes) if one is not None]
    cpu_s = spent.cpu_us / 1e6
    other_cores = max(0.0, others_s - cpu_s) / wall_s
    return Spending(wall_s, cpu_s, max(peaks, default=None), other_cores)


def _others_s(far_end: int) -> float:
    """What all cores together have done so far but for this process and the far end, in seconds;
    HostError where that is gone."""
    try:
        there = psutil.Process(far_end).cpu_times()
    except psutil.Error as error:
        raise HostError(f"the far end is gone: {error}") from error
    # Of both without their children, which are timed.
    return _busy_s() - time.process_time() - there.user - there.system


def _busy_s() -> float:
    """What all cores together have done so far, but for being idle."""
    times = psutil.cpu_times()
    # Guests' time is in user and nice already.
    working = times.user + times.nice + times.system + times.irq + times.softirq
    return float(working + times.steal)


class _Peak:
    """The most memory that was seen between entry and exit, from a thread of its own."""

    def __init__(self, watch: Watch, tick: Callable[[float], None]) -> None:
        self.rss_bytes: int | None = None
        self._watch = watch
        self._tick = tick
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        began_s = time.monotonic()
        while True:
            # Refused when nothing of it is alive any more.
            with suppress(HostError):
                rss_bytes = self._watch.read_now(_PART)["rss_bytes"]
                self.rss_bytes = max(self.rss_bytes or 0, rss_bytes)
            self._tick(time.monotonic() - began_s)
            if self._over.wait(_READING_S):
                return
