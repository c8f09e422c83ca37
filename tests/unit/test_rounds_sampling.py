"""The moment of a cut lies before the readings that are made at it."""

import time
from types import SimpleNamespace
from typing import Any, cast

from bakeoff.rounds.sampling import Sampling


class _Watch:
    """Says when it was read."""

    def __init__(self) -> None:
        self.read_s: list[float] = []

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read_now(self, part: str) -> Any:
        self.read_s.append(time.monotonic())
        return part


def test_the_readings_of_a_cut_are_not_before_its_moment() -> None:
    watch = _Watch()
    host = SimpleNamespace(
        name="local", clock_offset_s=lambda: 0.0, watch=lambda parts, interval_s: watch
    )
    parts = {"local": {"service": [1], "generator": [2]}}
    rig = SimpleNamespace(parts=lambda service, swarm: parts, hosts={"local": host})
    service = SimpleNamespace(host=host)
    sampling = Sampling(cast(Any, rig), cast(Any, service), cast(Any, None), zero_s=100.0)
    with sampling:
        moment_s = sampling.read_all()
    assert len(watch.read_s) == 2
    assert all(moment_s <= sampling.on_round_clock(read_s) for read_s in watch.read_s)
