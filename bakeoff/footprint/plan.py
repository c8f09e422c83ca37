"""What is done in which order, and about how long it will take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from bakeoff.measure.footprint import TimedRun
from bakeoff.measure.operations import (
    CHANGES,
    OPERATIONS,
    Changed,
    Operation,
    Repetitions,
    Work,
)


@dataclass(frozen=True)
class Step:
    """One operation of one service, the `repetition`th of `repetitions`; one that is not counted
    has the number 0, and only does the work on the unchanged sources for the others to go on from.
    """

    name: str
    service: str
    repetition: int
    repetitions: int

    @property
    def operation(self) -> Operation:
        """What is done."""
        return OPERATIONS[self.name]

    @property
    def title(self) -> str:
        """For the display: what is done."""
        return self.operation.title if self.repetition else f"{self.operation.work}, to go on from"

    @property
    def where(self) -> str:
        """For the display, such as `rust  2/5`."""
        count = f"{self.repetition}/{self.repetitions}" if self.repetition else "not counted"
        return f"{self.service}  {count}"


def plan_steps(
    able: Mapping[str, Sequence[str]], repetitions: Repetitions, skip_cold: bool
) -> list[Step]:
    """All steps in their order, of the operations that each service is `able` to.

    One file after the other: all repetitions with the leaf changed, then all with the hub changed,
    each behind uncounted runs of the same works on the unchanged sources. So whatever is timed
    finds one changed file since the same work was last done, and nothing else. Within that,
    repetition by repetition rather than operation by operation, so that what drifts on a machine
    drifts through all of them; and the services take turns, AB BA.
    """
    steps = [] if skip_cold else list(_repeat(able, repetitions, None))
    for changed in CHANGES:
        # The last cold test run began with nothing and left all else as it was.
        left_by_cold = not skip_cold and changed == CHANGES[0]
        steps += _make_ready(able, changed, ("dev build",) if left_by_cold else get_args(Work))
        steps += _repeat(able, repetitions, changed)
    return steps


def time_left_s(steps: Sequence[Step], runs: Sequence[TimedRun]) -> float:
    """About how long these steps take, in seconds."""
    return sum(expected_s(step, runs) for step in steps)


def expected_s(step: Step, runs: Sequence[TimedRun]) -> float:
    """About how long a step takes, in seconds: as long as the last of the same operation or else,
    with another file changed, of the same work; of this service or else of another; or as usual."""
    alike = [run for run in runs if _are_alike(OPERATIONS[run.operation], step.operation)]
    own = [run for run in alike if run.service == step.service]
    for found in (own, alike):
        if found:
            same = [run for run in found if run.operation == step.name]
            return (same or found)[-1].wall_s
    return step.operation.usual_s


def _are_alike(one: Operation, other: Operation) -> bool:
    return (one.work, one.cold) == (other.work, other.cold)


def _repeat(
    able: Mapping[str, Sequence[str]], repetitions: Repetitions, changed: Changed | None
) -> Iterator[Step]:
    """All that is timed with one file changed, or from nothing."""
    for repetition in range(1, max(repetitions.cold, repetitions.incremental) + 1):
        for name, operation in OPERATIONS.items():
            repeats = operation.repeats(repetitions)
            if operation.changed != changed or repetition > repeats:
                continue
            services = list(able)
            if repetition % 2 == 0:
                services.reverse()
            for service in services:
                if name in able[service]:
                    yield Step(name, service, repetition, repeats)


def _make_ready(
    able: Mapping[str, Sequence[str]], changed: Changed, works: Sequence[Work]
) -> Iterator[Step]:
    """Does once, uncounted, those of the works that are timed with this file changed."""
    for service, names in able.items():
        for name in names:
            operation = OPERATIONS[name]
            if operation.changed == changed and operation.work in works:
                yield Step(name, service, 0, 0)
