"""HdrHistogram's log format V1.3: one line an interval, with a tag, readable by its own tools.

The format: https://github.com/HdrHistogram/HdrHistogram, class HistogramLogWriter. Values are
microseconds; the column Interval_Max is in milliseconds, as its readers expect.
"""

from collections.abc import Iterable

import msgspec

from bakeoff.measure import histograms
from bakeoff.measure.measurement import Interval

INTERVAL_S = 1.0


class LoggedInterval(msgspec.Struct, frozen=True, kw_only=True):
    """A line of latency.hlog: one interval's histogram (V2, base64, microseconds).

    `tag` is phase and kind, such as `fixed.latency`; times are seconds on the round's clock.
    """

    tag: str
    start_s: float
    length_s: float
    histogram: str


def logged_intervals(
    phase: str, phase_start_s: float, intervals: Iterable[Interval]
) -> list[LoggedInterval]:
    """The lines for a phase that began at `phase_start_s` on the round's clock."""
    return [
        LoggedInterval(
            tag=f"{phase}.{kind}",
            start_s=phase_start_s + interval.start_s,
            length_s=INTERVAL_S,
            histogram=histogram,
        )
        for interval in intervals
        for kind, histogram in (("latency", interval.latency), ("lateness", interval.lateness))
    ]


def format_log(started_unix_s: float, started_at: str, intervals: Iterable[LoggedInterval]) -> str:
    """The text of a log whose times count from `started_unix_s`."""
    lines = [
        "#[Histogram log format version 1.3]",
        "#[values in microseconds, Interval_Max in milliseconds]",
        f"#[StartTime: {started_unix_s:.3f} (seconds since epoch), {started_at}]",
        f"#[BaseTime: {started_unix_s:.3f} (seconds since epoch)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]
    lines.extend(
        f"Tag={interval.tag},{interval.start_s:.3f},{interval.length_s:.3f},"
        f"{_maximum_ms(interval.histogram):.3f},{interval.histogram}"
        for interval in intervals
    )
    return "\n".join(lines) + "\n"


def parse_log(text: str) -> list[LoggedInterval]:
    """The intervals of a log, in its order. Raises ValueError with the number of a bad line."""
    intervals = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line[0] in '#"':
            continue
        fields = line.split(",")
        if len(fields) != 5 or not fields[0].startswith("Tag="):
            raise ValueError(f"line {number} is no tagged interval")
        try:
            start_s, length_s = float(fields[1]), float(fields[2])
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        intervals.append(
            LoggedInterval(
                tag=fields[0].removeprefix("Tag="),
                start_s=start_s,
                length_s=length_s,
                histogram=fields[4],
            )
        )
    return intervals


def _maximum_ms(histogram: str) -> float:
    decoded = histograms.decode(histogram)
    return float(decoded.get_max_value()) / 1000 if histograms.count(decoded) else 0.0
