"""The workers of a Locust, as its master sees them; a local Locust is its own one worker."""

from locust.runners import STATE_INIT, STATE_MISSING, MasterRunner, Runner

from collections.abc import Iterable
from pathlib import Path
from typing import Any

LOCAL = "local"


class Crew:
    """The workers behind a runner, by their Locust ids."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def active(self) -> set[str]:
        """Those that are connected and alive."""
        runner = self._runner
        if not isinstance(runner, MasterRunner):
            return {LOCAL}
        return {one.id for one in runner.clients.values() if one.state != STATE_MISSING}

    def is_empty(self) -> bool:
        """Nobody is ready for a test."""
        runner = self._runner
        return isinstance(runner, MasterRunner) and not runner.clients.ready

    def are_back(self, workers: Iterable[str]) -> bool:
        """Those who worked in the last test, and all others, are ready for another."""
        runner = self._runner
        if not isinstance(runner, MasterRunner):
            return True
        idle = (STATE_INIT, STATE_MISSING)
        if any(one.state not in idle for one in runner.clients.values()):
            return False
        return all(worker in runner.clients for worker in workers)

    def index_of(self, worker: str) -> int:
        """Locust's number of a worker, in the order of their coming."""
        if not isinstance(self._runner, MasterRunner):
            return 0
        return int(self._runner.get_worker_index(worker))  # type: ignore[no-untyped-call]

    def say(self, message: str, worker: str, **data: Any) -> None:
        """Sends one worker a message."""
        client = {"client_id": worker} if isinstance(self._runner, MasterRunner) else {}
        self._runner.send_message(message, data, **client)


def clock_identity() -> str:
    """The same for all processes that read the same CLOCK_MONOTONIC."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
