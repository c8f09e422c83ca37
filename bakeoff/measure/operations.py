"""What is timed of a service's build and tests: table 2, and what belongs to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

Work = Literal["release build", "dev build", "test", "check"]
Changed = Literal["leaf", "hub"]
CHANGES: tuple[Changed, ...] = get_args(Changed)
Repeats = Annotated[int, Meta(ge=1, le=100)]


class Repetitions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often: cold release builds and cold test runs; and dev builds, test runs and checks
    after a change to one file. Everything else is done once."""

    cold: Repeats = 3
    incremental: Repeats = 5


@dataclass(frozen=True)
class Operation:
    """One row: a piece of work from nothing, or after a change to one file.

    `usual_s` only says how much time may be left before anything of its kind was timed.
    """

    title: str
    work: Work
    changed: Changed | None
    repeated: bool
    usual_s: float

    @property
    def cold(self) -> bool:
        """Whether it begins with nothing compiled."""
        return self.changed is None

    def repeats(self, repetitions: Repetitions) -> int:
        """How often it is done."""
        if not self.repeated:
            return 1
        return repetitions.cold if self.cold else repetitions.incremental


# In the order of one repetition, of those with the same file changed. A test run is the last cold
# one: the others go on from there.
OPERATIONS: Mapping[str, Operation] = {
    "cold_release_build": Operation("cold release build", "release build", None, True, 120),
    "cold_dev_build": Operation("cold dev build", "dev build", None, False, 60),
    "cold_check": Operation("cold check", "check", None, False, 40),
    "cold_test": Operation("cold test run", "test", None, True, 120),
    "leaf_dev_build": Operation("dev build, leaf changed", "dev build", "leaf", True, 4),
    "hub_dev_build": Operation("dev build, hub changed", "dev build", "hub", True, 4),
    "leaf_check": Operation("check, leaf changed", "check", "leaf", True, 2),
    "leaf_test": Operation("test run, leaf changed", "test", "leaf", True, 20),
    "hub_test": Operation("test run, hub changed", "test", "hub", True, 20),
    "leaf_release_build": Operation(
        "release build, leaf changed", "release build", "leaf", False, 40
    ),
}
