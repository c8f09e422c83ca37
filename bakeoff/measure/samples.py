"""Samples of the parts and cores of a rig, and what they say about one phase."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from bakeoff.measure.records import CoreUse, PartUse

# The CPU reads must enclose a phase, or miss its edges by at most this share of its length:
# otherwise requests would be counted whose CPU is not.
EDGE_SHARE = 0.01


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the rig, all its processes together, at one moment (a line of samples.csv).

    `t_s` is on the round's clock. `cpu_us`, `run_queue_us` and `context_switches` count from
    some start: only their differences mean anything. `peak_rss_bytes` is the kernel's high-water
    mark of the root process since it was last reset, or `rss_bytes` where that is more, as with
    children. Memory is None where it is not sampled.
    """

    t_s: float
    part: str
    processes: int
    rss_bytes: int | None
    peak_rss_bytes: int | None
    cpu_us: int
    run_queue_us: int
    threads: int
    open_files: int
    context_switches: int


class CoreSample(msgspec.Struct, frozen=True, kw_only=True):
    """What one core has done since the machine started, at one moment."""

    t_s: float
    core: int
    busy_us: int
    idle_us: int
    steal_us: int
    irq_us: int


class OtherSample(msgspec.Struct, frozen=True, kw_only=True):
    """A process of no part: the cores that it used in the second before `t_s`."""

    t_s: float
    pid: int
    name: str
    cores: float


_Timed = TypeVar("_Timed", Sample, CoreSample, OtherSample)


def samples_of(
    rows: Iterable[Mapping[str, Any]], kind: type[_Timed], zero_s: float
) -> list[_Timed]:
    """Rows of a far end as samples on the round's clock, which began at `zero_s` of its clock.

    Raises msgspec.ValidationError for a row that is none.
    """
    return [msgspec.convert({**row, "t_s": row["t_s"] - zero_s}, kind) for row in rows]


def part_uses(samples: Sequence[Sample], start_s: float, end_s: float) -> dict[str, PartUse]:
    """What each part used from `start_s` to `end_s`; parts without enough samples are left out."""
    uses = {
        part: part_use([sample for sample in samples if sample.part == part], start_s, end_s)
        for part in dict.fromkeys(sample.part for sample in samples)
    }
    return {part: use for part, use in uses.items() if use is not None}


def part_use(samples: Sequence[Sample], start_s: float, end_s: float) -> PartUse | None:
    """What one part used between the reads around `start_s` and `end_s`.

    None where the reads do not enclose that time or a counter ran backwards, as when the part
    was started again. The memory is that of the samples inside.
    """
    ends = _around(samples, start_s, end_s)
    if ends is None:
        return None
    before, after = ends
    spent = (
        after.cpu_us - before.cpu_us,
        after.run_queue_us - before.run_queue_us,
        after.context_switches - before.context_switches,
    )
    if min(spent) < 0:
        return None
    inside = [sample for sample in samples if start_s <= sample.t_s <= end_s] or [after]
    rss = [sample.rss_bytes for sample in inside if sample.rss_bytes is not None]
    peak = [sample.peak_rss_bytes for sample in inside if sample.peak_rss_bytes is not None]
    return PartUse(
        cpu_us=spent[0],
        wall_s=after.t_s - before.t_s,
        run_queue_us=spent[1],
        rss_median_bytes=round(statistics.median(rss)) if rss else None,
        rss_peak_bytes=max(peak) if peak else None,
        threads=max(sample.threads for sample in inside),
        open_files=max(sample.open_files for sample in inside),
        context_switches=spent[2],
    )


def core_uses(samples: Sequence[CoreSample], start_s: float, end_s: float) -> list[CoreUse]:
    """The shares of each core's time from `start_s` to `end_s`, in the order of the cores."""
    uses = []
    for core in sorted({sample.core for sample in samples}):
        ends = _around([sample for sample in samples if sample.core == core], start_s, end_s)
        if ends is not None and (use := _core_use(*ends)) is not None:
            uses.append(use)
    return uses


def _core_use(before: CoreSample, after: CoreSample) -> CoreUse | None:
    busy, idle = after.busy_us - before.busy_us, after.idle_us - before.idle_us
    steal, irq = after.steal_us - before.steal_us, after.irq_us - before.irq_us
    whole = busy + idle + steal + irq
    # The kernel's idle counter can step back by a tick.
    if whole <= 0 or min(busy, steal, irq) < 0:
        return None
    return CoreUse(
        core=after.core,
        busy=busy / whole,
        idle=max(0, idle) / whole,
        steal=steal / whole,
        irq=irq / whole,
    )


def other_cores(
    samples: Sequence[OtherSample], start_s: float, end_s: float
) -> dict[tuple[int, str], float]:
    """The cores that each process of no part used on average, by process id and name.

    A sample speaks of one second.
    """
    spent: dict[tuple[int, str], float] = {}
    for sample in samples:
        if start_s < sample.t_s <= end_s:
            key = (sample.pid, sample.name)
            spent[key] = spent.get(key, 0.0) + sample.cores
    return {key: core_seconds / (end_s - start_s) for key, core_seconds in spent.items()}


def _around(
    samples: Sequence[_Timed], start_s: float, end_s: float
) -> tuple[_Timed, _Timed] | None:
    """The last sample at or before the start and the first at or after the end."""
    edge_s = EDGE_SHARE * (end_s - start_s)
    before = [sample for sample in samples if sample.t_s <= start_s]
    after = [sample for sample in samples if sample.t_s >= end_s]
    inside = [sample for sample in samples if start_s < sample.t_s < end_s]
    first = before[-1] if before else next(iter(inside), None)
    last = after[0] if after else next(reversed(inside), None)
    if first is None or last is None or first.t_s >= last.t_s:
        return None
    if first.t_s > start_s + edge_s or last.t_s < end_s - edge_s:
        return None
    return first, last
