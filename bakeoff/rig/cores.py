"""Which cores the service gets and which the rest of the rig."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CorePlan:
    """Core numbers; None where nothing is pinned."""

    service: frozenset[int] | None
    rig: frozenset[int] | None
    all: frozenset[int]

    @property
    def usable(self) -> int:
        """How many cores there are to share."""
        return len(self.all)

    @property
    def workers(self) -> int:
        """Locust workers that the rig's cores carry beside Postgres and the stub."""
        cores = len(self.rig) if self.rig is not None else self.usable
        return max(1, cores // 2)

    @property
    def service_threads(self) -> int:
        """Worker threads of a service: one a core that it may use."""
        return len(self.service) if self.service is not None else self.usable


def plan_cores(usable: Sequence[int], service_cores: int | None, pin: bool) -> CorePlan:
    """Splits the usable cores: the highest ones to the service, since interrupts tend to land on
    the lowest, and at least one is left to the rig. One core alone cannot be split."""
    cores = sorted(usable)
    if not pin or len(cores) < 2:
        return CorePlan(service=None, rig=None, all=frozenset(cores))
    wanted = len(cores) // 2 if service_cores is None else service_cores
    count = max(1, min(wanted, len(cores) - 1))
    return CorePlan(
        service=frozenset(cores[-count:]), rig=frozenset(cores[:-count]), all=frozenset(cores)
    )
