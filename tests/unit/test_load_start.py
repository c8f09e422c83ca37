"""The orders that start a run reach every worker before the first arrival is due."""

import time
from typing import Any

import pytest

from bakeoff.load import start
from bakeoff.load.collected import Collected
from bakeoff.load.settings import LoadSettings

SETTINGS = LoadSettings(rate_rps=100.0, arrivals="poisson", seed=3, duration_s=2.0, timeout_s=1.0)


class Heard:
    """A crew that writes down what is said to it, a tenth of a millisecond each."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def say(self, message: str, worker: str, **data: Any) -> None:
        """Takes its time, as sending does."""
        time.sleep(0.0001)
        self.said.append((worker, {**data, "heard_ns": time.monotonic_ns()}))


def started(workers: int) -> tuple[Collected, Heard]:
    """A run that has been started on so many workers."""
    run, crew = Collected("run", SETTINGS), Heard()
    names = [f"w{index}" for index in range(workers)]
    start.book(run, names, dict.fromkeys(names, 8))
    start.go(crew, run)  # type: ignore[arg-type]
    return run, crew


def test_a_thousand_workers_hear_of_the_start_before_it() -> None:
    run, crew = started(1000)
    assert [worker for worker, _ in crew.said] == list(run.parts)
    assert [data["index"] for _, data in crew.said] == list(range(1000))
    assert {data["start_ns"] for _, data in crew.said} == {run.started_ns}
    assert crew.said[-1][1]["heard_ns"] < run.started_ns
    # With a clock of its own a worker starts when the others do, but for the way here; one may be
    # held up by this machine, not all of the last hundred.
    late_ns = [data["heard_ns"] + data["delay_ns"] - run.started_ns for _, data in crew.said]
    assert min(late_ns) >= 0
    assert min(late_ns[-100:]) < 10_000_000


@pytest.mark.parametrize(("workers", "lively"), [(1, True), (250, True), (251, False)])
def test_many_workers_report_with_locust_alone(workers: int, lively: bool) -> None:
    _, crew = started(workers)
    assert {data["lively"] for _, data in crew.said} == {lively}
