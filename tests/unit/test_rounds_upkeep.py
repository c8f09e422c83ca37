"""A rig that is brought up again once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import cast

import pytest

from bakeoff.errors import PartDiedError
from bakeoff.measure.records import Finding
from bakeoff.rig.rig import Rig
from bakeoff.rounds.upkeep import Upkeep


class Works:
    """Makes rigs, each a number here, and remembers which were up and went down."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._made = 0

    def bring_up(self, stack: ExitStack) -> Rig:
        self._made += 1
        stack.enter_context(self._rig(self._made))
        return cast(Rig, self._made)

    @contextmanager
    def _rig(self, number: int) -> Iterator[None]:
        self.events.append(f"up {number}")
        try:
            yield
        finally:
            self.events.append(f"down {number}")


def dies(times: int) -> list[PartDiedError]:
    return [PartDiedError("postgres", f"death {number}") for number in range(times)]


def test_what_died_is_brought_up_again_and_the_work_done_again() -> None:
    works, findings, deaths = Works(), list[Finding](), dies(1)

    def work(rig: Rig) -> Rig:
        if deaths:
            raise deaths.pop()
        return rig

    with Upkeep(works.bring_up, findings) as upkeep:
        assert upkeep.attempt("the pilot", work) is upkeep.rig
        assert works.events == ["up 1", "down 1", "up 2"]
    assert works.events == ["up 1", "down 1", "up 2", "down 2"]
    assert [(finding.where, finding.found) for finding in findings] == [
        ("the pilot", "postgres: death 0")
    ]


def test_a_second_death_is_the_end_wherever_the_first_was() -> None:
    works, findings = Works(), list[Finding]()
    first, second = dies(2)
    with (
        pytest.raises(PartDiedError, match=str(second)),
        Upkeep(works.bring_up, findings) as upkeep,
    ):
        upkeep.mend(first, "the floor")
        upkeep.mend(second, "block 1")
    assert works.events == ["up 1", "down 1", "up 2", "down 2"]
    assert len(findings) == 1


def test_a_rig_that_does_not_come_up_leaves_nothing() -> None:
    works = Works()

    def fails(stack: ExitStack) -> Rig:
        works.bring_up(stack)
        raise PartDiedError("stub", "at its start")

    with pytest.raises(PartDiedError), Upkeep(fails, []):
        pytest.fail("it is not up")
    assert works.events == ["up 1", "down 1"]
