"""Figures of interleaved repeats: their median, with the lowest and the highest."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

Figures = Mapping[str, Sequence[float]]


def interleaved(
    contestants: Mapping[str, Callable[[], float]], repeats: int
) -> dict[str, list[float]]:
    """Each contestant's figures, one of each in turn, so that all have the same weather."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            found[name].append(contestant())
    return found


def summed_up(found: Figures) -> dict[str, float]:
    """By key: the median, and under KEY_low and KEY_high the range."""
    results: dict[str, float] = {}
    for key, figures in found.items():
        results[key] = statistics.median(figures)
        results[f"{key}_low"] = min(figures)
        results[f"{key}_high"] = max(figures)
    return results


def lines(results: Mapping[str, float]) -> Iterator[str]:
    """A table for people."""
    yield f"{'':<44}{'figure':>12}{'low':>12}{'high':>12}"
    for key, figure in results.items():
        if f"{key}_low" in results:
            row = (figure, results[f"{key}_low"], results[f"{key}_high"])
            yield f"{key:<44}" + "".join(f"{value:>12,.2f}" for value in row)
        elif not key.endswith(("_low", "_high")):
            yield f"{key:<44}{figure:>12,.2f}"
