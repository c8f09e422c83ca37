"""`footprint.json`: what a service costs those who write it, as `reports` and others read it."""

from typing import Any, Literal

import msgspec

from bakeoff.measure.operations import Repetitions

CONCERNS = ("boot", "handlers", "domain", "tests")


class LineCount(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of some files. `code` is all that is neither blank nor comment alone."""

    files: int
    code: int
    comments: int
    blanks: int

    def __add__(self, other: "LineCount") -> "LineCount":
        return LineCount(
            files=self.files + other.files,
            code=self.code + other.code,
            comments=self.comments + other.comments,
            blanks=self.blanks + other.blanks,
        )


class LinesDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Lines by concern, and apart from them: generated code, lock files, SQL, and whatever else a
    program is written in that no concern names.

    `inline_tests` are lines that belong to a concern and are tests all the same: they are counted
    where they stand, and said here once more.
    """

    concerns: dict[str, LineCount]
    apart: dict[str, LineCount]
    inline_tests: LineCount


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """A number of things or bytes, or the reason why there is none."""

    value: int | None
    reason: str | None = None


class ImageBuild(msgspec.Struct, frozen=True, kw_only=True):
    """The build that an image's size is of: when it was, in UTC, with which builder on which bases,
    and whether of the sources that were counted. What is not known is None."""

    built_at: str | None
    built_with: str
    same_sources: bool | None


class TimedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work as it was done. `cpu_s` and `peak_rss_bytes` are those of its whole tree of
    processes; the peak is from samples, and None where the work was over before the first.
    `other_cores` were busy with something else meanwhile: in a test run, Postgres among it; never
    what took these figures.
    """

    operation: str
    service: str
    repetition: int
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int | None
    other_cores: float


class TimesDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An operation of one service: the wall times in their order, median and range, the median
    of the CPU time and the highest peak; or the reason why it was not done."""

    runs_s: list[float]
    median_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    cpu_median_s: float | None = None
    peak_rss_bytes: int | None = None
    command: list[str] = []
    reason: str | None = None


class FootprintRatio(msgspec.Struct, frozen=True, kw_only=True):
    """The second service over the first. Times: geometric mean of the ratios of the repetitions,
    which pair up, with the 95 % t interval on their logs from three `pairs` on. Counts and sizes:
    the plain ratio, which has no interval."""

    of: str
    over: str
    value: float | None
    low: float | None
    high: float | None
    pairs: int
    reason: str | None = None


class FootprintService(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `sizes` has direct_dependencies, all_dependencies, binary_bytes, image_bytes.
    `changes` says what one file is: the leaf and the hub. `image` is None where none was built."""

    title: str
    lines: LinesDocument
    sizes: dict[str, Amount]
    times: dict[str, TimesDocument]
    toolchain: str | None
    linker: str | None
    changes: dict[str, str]
    image: ImageBuild | None = None


class FootprintDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`footprint.json`, schema `bakeoff.footprint/1`. `runs` has every run in its order."""

    schema: Literal["bakeoff.footprint/1"]
    created_at: str
    finished: bool
    environment: dict[str, Any]
    repetitions: Repetitions
    skipped: list[str]
    counter: str
    post_says: dict[str, Any]
    services: dict[str, FootprintService]
    ratios: dict[str, FootprintRatio]
    runs: list[TimedRun]
