"""The rig of a run, brought up again once where a part of it dies."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from bakeoff.errors import PartDiedError
from bakeoff.measure.records import Finding
from bakeoff.measure.validity import part_died
from bakeoff.owner import Owner
from bakeoff.rig.rig import Rig

# A part of the rig that dies twice is not started a third time.
_DEATHS_ALLOWED = 1

Result = TypeVar("Result")


class Upkeep(Owner):
    """Owns `rig`, the one that is up; what died is added to `findings`."""

    def __init__(self, bring_up: Callable[[ExitStack], Rig], findings: list[Finding]) -> None:
        self._bring_up = bring_up
        self._findings = findings
        self._deaths = 0
        self.rig: Rig

    def _begin(self, stack: ExitStack) -> None:
        self.rig = self._bring_up(stack)

    def mend(self, error: PartDiedError, where: str) -> None:
        """Ends what is left of the rig and brings another one up. Raises the error where it was
        done before."""
        self._deaths += 1
        if self._deaths > _DEATHS_ALLOWED:
            raise error
        self._findings.append(part_died(error.part, str(error), where))
        self._stack.close()
        self._begin_all()

    def attempt(self, where: str, work: Callable[[Rig], Result]) -> Result:
        """What `work` returns; it is done again where a part died in it."""
        try:
            return work(self.rig)
        except PartDiedError as error:
            self.mend(error, where)
            return work(self.rig)
