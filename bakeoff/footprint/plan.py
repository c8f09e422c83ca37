"""What is done in which order, and about how long it will take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bakeoff.measure.footprint import TimedRun
from bakeoff.measure.operations import OPERATIONS, Operation, Repetitions


@dataclass(frozen=True)
class Step:
    """One operation of one service, the `repetition`th of `repetitions`; one that is not counted
    has the number 0 and only makes ready for the others."""

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

    Repetition by repetition rather than operation by operation, so that what drifts on a machine
    drifts through all of them; and the services take turns, AB BA.
    """
    steps: list[Step] = []
    if not skip_cold:
        steps += _repeat(able, repetitions, cold=True)
    steps += _make_ready(able, skip_cold)
    return steps + list(_repeat(able, repetitions, cold=False))


def time_left_s(steps: Sequence[Step], runs: Sequence[TimedRun]) -> float:
    """About how long these steps take: as long as the last of its kind, of this service or else
    of another, or as usual."""
    return sum(expected_s(step, runs) for step in steps)


def expected_s(step: Step, runs: Sequence[TimedRun]) -> float:
    """About how long a step takes, in seconds."""
    of_kind = [run for run in runs if run.operation == step.name]
    own = [run for run in of_kind if run.service == step.service]
    for found in (own, of_kind):
        if found:
            return found[-1].wall_s
    return step.operation.usual_s


def _repeat(
    able: Mapping[str, Sequence[str]], repetitions: Repetitions, cold: bool
) -> Iterator[Step]:
    for repetition in range(1, max(repetitions.cold, repetitions.incremental) + 1):
        for name, operation in OPERATIONS.items():
            repeats = operation.repeats(repetitions)
            if operation.cold != cold or repetition > repeats:
                continue
            services = list(able)
            if repetition % 2 == 0:
                services.reverse()
            for service in services:
                if name in able[service]:
                    yield Step(name, service, repetition, repeats)


def _make_ready(able: Mapping[str, Sequence[str]], skip_cold: bool) -> Iterator[Step]:
    """Builds what the incremental steps go on from, where the cold ones have not left it: after
    them, only the dev build lacks, since the last cold test run began with nothing."""
    every = ("release build", "dev build", "check", "test")
    wanted = every if skip_cold else ("dev build",)
    for service, names in able.items():
        works = {OPERATIONS[name].work: name for name in names if not OPERATIONS[name].cold}
        for work in wanted:
            if work in works:
                yield Step(works[work], service, 0, 0)
