"""HdrHistograms of whole microseconds, filled and read with numpy.

The layout is HdrHistogram's own (https://github.com/HdrHistogram/HdrHistogram): three significant
digits, so that a value is off by at most a thousandth. `hdrh` holds and encodes them; its loops
over 23,552 counters in Python are replaced here by array operations with the same results.
"""

from collections.abc import Iterable

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from bakeoff.measure.measurement import LATENCY_DIGITS, LATENCY_MAXIMUM_US, LATENCY_MINIMUM_US

Counters = NDArray[np.int64]


def new() -> HdrHistogram:
    """An empty histogram in the layout that all of bakeoff uses."""
    return HdrHistogram(LATENCY_MINIMUM_US, LATENCY_MAXIMUM_US, LATENCY_DIGITS)


_LAYOUT = new()
_HALF_BITS: int = _LAYOUT.sub_bucket_half_count_magnitude
_HALF: int = _LAYOUT.sub_bucket_half_count
_MASK: int = _LAYOUT.sub_bucket_mask
COUNTERS: int = _LAYOUT.counts_len


def counter_indices(values_us: Counters) -> Counters:
    """The counter of each value; values outside the histogram count at its ends."""
    values = np.clip(values_us, 0, LATENCY_MAXIMUM_US)
    bits = np.frexp((values | _MASK).astype(np.float64))[1].astype(np.int64)
    bucket = bits - (_HALF_BITS + 1)
    return ((bucket + 1) << _HALF_BITS) + (values >> bucket) - _HALF


def highest_values_us(indices: Counters) -> Counters:
    """The highest value that each counter stands for: what HdrHistogram reports."""
    bucket = np.maximum((indices >> _HALF_BITS) - 1, 0)
    sub_bucket = np.where(indices < _HALF, indices, (indices & (_HALF - 1)) + _HALF)
    highest: Counters = ((sub_bucket + 1) << bucket) - 1
    return highest


def counters(histogram: HdrHistogram) -> Counters:
    """The counters of a histogram, as a view."""
    view: Counters = np.frombuffer(histogram.counts, dtype=np.int64)
    return view


def from_counters(filled: Counters) -> HdrHistogram:
    """The histogram with these counters."""
    histogram = new()
    counters(histogram)[:] = filled
    _recount(histogram)
    return histogram


def record(histogram: HdrHistogram, values_us: Counters) -> None:
    """Adds values in microseconds."""
    counters(histogram)[:] += np.bincount(counter_indices(values_us), minlength=COUNTERS)
    _recount(histogram)


def merge(histograms: Iterable[HdrHistogram]) -> HdrHistogram:
    """The histogram of all values of all histograms, in the layout of `new`."""
    total = np.zeros(COUNTERS, dtype=np.int64)
    for histogram in histograms:
        total += counters(histogram)
    return from_counters(total)


def encode(histogram: HdrHistogram) -> str:
    """HdrHistogram V2, deflated, base64."""
    encoded: bytes = histogram.encode()
    return encoded.decode("ascii")


def decode(text: str) -> HdrHistogram:
    """The histogram behind `encode`; ValueError for text that is none."""
    try:
        return HdrHistogram.decode(text.encode("ascii"))
    except Exception as error:
        # hdrh raises half a dozen unrelated types.
        raise ValueError(f"not an encoded HdrHistogram: {error!r}") from error


def count(histogram: HdrHistogram) -> int:
    """How many values it holds."""
    return int(histogram.get_total_count())


def percentiles_ms(
    histogram: HdrHistogram, percentiles: Iterable[float]
) -> dict[float, float | None]:
    """Milliseconds at each percentile (0 to 100); None where the histogram is empty."""
    return percentiles_of_ms(counters(histogram), percentiles)


def percentiles_of_ms(filled: Counters, percentiles: Iterable[float]) -> dict[float, float | None]:
    """`percentiles_ms` of the histogram with these counters, which need not be made."""
    wanted = list(percentiles)
    cumulative = np.cumsum(filled)
    total = int(cumulative[-1])
    if total == 0:
        return dict.fromkeys(wanted)
    # HdrHistogram's rank: rounded half up, at least 1.
    ranks = [max(1, int(min(percentile, 100.0) * total / 100 + 0.5)) for percentile in wanted]
    values = highest_values_us(np.searchsorted(cumulative, ranks).astype(np.int64))
    return {percentile: float(us) / 1000 for percentile, us in zip(wanted, values, strict=True)}


def _recount(histogram: HdrHistogram) -> None:
    filled = counters(histogram)
    used = np.flatnonzero(filled)
    histogram.total_count = int(filled.sum())
    if used.size:
        ends = highest_values_us(used[[0, -1]])
        histogram.min_value, histogram.max_value = int(ends[0]), int(ends[1])
