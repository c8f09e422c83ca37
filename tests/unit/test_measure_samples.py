"""What samples say about a phase: differences between reads that enclose it."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.measure.samples import (
    CoreSample,
    OtherSample,
    Sample,
    core_uses,
    other_cores,
    part_use,
    part_uses,
    samples_of,
)


def sample(t_s: float, **changes: Any) -> Sample:
    """A part that uses half a core, waits a tenth of that, and grows by 1,000 bytes a second."""
    made = Sample(
        t_s=t_s,
        part="service",
        processes=1,
        rss_bytes=round(1000 * t_s),
        peak_rss_bytes=round(1000 * t_s) + 7,
        cpu_us=round(500_000 * t_s),
        run_queue_us=round(50_000 * t_s),
        threads=4,
        open_files=10,
        context_switches=round(100 * t_s),
    )
    return msgspec.structs.replace(made, **changes)


EVERY_HALF_SECOND = [sample(tick / 2) for tick in range(41)]


def test_a_part_is_read_around_the_phase() -> None:
    use = part_use(EVERY_HALF_SECOND, 5.2, 15.3)
    assert use is not None
    assert use.wall_s == pytest.approx(10.5)  # 5.0 to 15.5
    assert use.cpu_us == 5_250_000
    assert use.run_queue_us == 525_000
    assert use.context_switches == 1050
    assert use.rss_median_bytes == 10_250  # 5.5 to 15.0
    assert use.rss_peak_bytes == 15_007


def test_a_short_use_inside_the_phase_is_seen() -> None:
    samples = [*EVERY_HALF_SECOND]
    samples[20] = sample(10.0, threads=99, open_files=77, peak_rss_bytes=1_000_000)
    use = part_use(samples, 5, 15)
    assert use is not None
    assert (use.threads, use.open_files, use.rss_peak_bytes) == (99, 77, 1_000_000)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [sample(10.0)],
        [sample(t) for t in (6.0, 10.0, 15.0)],
        [sample(t) for t in (5.0, 10.0, 14.0)],
    ],
    ids=["none", "one", "begins late", "ends early"],
)
def test_reads_that_miss_an_edge_make_no_figure(samples: list[Sample]) -> None:
    assert part_use(samples, 5, 15) is None


def test_a_hundredth_may_be_missed() -> None:
    use = part_use([sample(5.09), sample(10.0), sample(14.91)], 5, 15)
    assert use is not None
    assert use.wall_s == pytest.approx(9.82)


@pytest.mark.parametrize("counter", ["cpu_us", "run_queue_us", "context_switches"])
def test_a_counter_that_ran_backwards_makes_no_figure(counter: str) -> None:
    samples = [*EVERY_HALF_SECOND[:35], sample(17.5, **{counter: 0})]
    assert part_use(samples, 5, 15) is not None
    assert part_use(samples, 5, 17.5) is None


def test_memory_that_is_not_sampled_is_none() -> None:
    bare = [sample(t, rss_bytes=None, peak_rss_bytes=None) for t in (0.0, 5.0, 10.0)]
    use = part_use(bare, 0, 10)
    assert use is not None
    assert (use.rss_median_bytes, use.rss_peak_bytes) == (None, None)


def test_parts_do_not_mix() -> None:
    other = [sample(s.t_s, part="stub", cpu_us=7 * s.cpu_us) for s in EVERY_HALF_SECOND]
    late = sample(9.0, part="late")
    mixed = sorted([*EVERY_HALF_SECOND, *other, late], key=lambda one: one.t_s)
    uses = part_uses(mixed, 5, 15)
    assert {part: use.cpu_us for part, use in uses.items()} == {
        "service": 5_000_000,
        "stub": 35_000_000,
    }


def core(t_s: float, number: int, busy: float, steal: float = 0.0) -> CoreSample:
    idle = 1 - busy - steal - 0.01
    return CoreSample(
        t_s=t_s,
        core=number,
        busy_us=round(busy * t_s * 1e6),
        idle_us=round(idle * t_s * 1e6),
        steal_us=round(steal * t_s * 1e6),
        irq_us=round(0.01 * t_s * 1e6),
    )


def test_the_shares_of_a_core() -> None:
    samples = [core(float(t), n, (0.2, 0.7)[n], (0.0, 0.1)[n]) for t in range(21) for n in (1, 0)]
    uses = core_uses(samples, 5, 15)
    assert [use.core for use in uses] == [0, 1]
    assert [use.busy for use in uses] == pytest.approx([0.2, 0.7])
    assert [use.idle for use in uses] == pytest.approx([0.79, 0.19])
    assert [use.steal for use in uses] == pytest.approx([0.0, 0.1])
    assert [use.irq for use in uses] == pytest.approx([0.01, 0.01])
    assert core_uses(samples, 15, 25) == []


@given(
    st.lists(st.integers(min_value=0, max_value=10**6), min_size=2, max_size=30),
    st.data(),
)
def test_neighbouring_windows_add_up(steps: list[int], data: st.DataObject) -> None:
    total, samples = 0, []
    for second, step in enumerate(steps):
        total += step
        samples.append(sample(float(second), cpu_us=total))
    cut = data.draw(st.integers(min_value=0, max_value=len(steps) - 1))
    whole = part_use(samples, 0, len(steps) - 1)
    left, right = part_use(samples, 0, cut), part_use(samples, cut, len(steps) - 1)
    assert whole is not None
    assert whole.cpu_us == sum(use.cpu_us for use in (left, right) if use is not None)


def test_processes_of_no_part_are_averaged_over_the_phase() -> None:
    seen = [
        OtherSample(t_s=float(t), pid=17, name="updatedb", cores=0.6) for t in (4, 6, 7, 8, 9, 10)
    ]
    assert other_cores(seen, 5, 15) == {(17, "updatedb"): pytest.approx(0.3)}


def test_rows_come_onto_the_clock_of_the_round() -> None:
    row = {"t_s": 105.5, "pid": 3, "name": "x", "cores": 0.1}
    assert samples_of([row], OtherSample, 100.0) == [
        OtherSample(t_s=5.5, pid=3, name="x", cores=0.1)
    ]
    with pytest.raises(msgspec.ValidationError):
        samples_of([{**row, "cores": "many"}], OtherSample, 0.0)
