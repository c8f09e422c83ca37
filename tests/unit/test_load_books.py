"""From samples to reports to the measurement: every count arrives once, under its own name."""

from locust.stats import RequestStats

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bakeoff.errors import UsageError
from bakeoff.load import report, wire
from bakeoff.load.collected import Collected
from bakeoff.load.locuststats import add_error, add_samples
from bakeoff.load.report import Report, SparseCounters, add_counters, digest
from bakeoff.load.settings import LoadSettings, parse_settings
from bakeoff.load.tally import Tally
from bakeoff.load.workerpart import WorkerPart
from bakeoff.measure import histograms
from bakeoff.measure.measurement import Answers, Counts
from bakeoff.measure.phase import (
    decode_measurement,
    encode_measurement,
    merged_latency,
    merged_lateness,
)

NS = 1_000_000_000
START_NS = 5 * NS
# By the index in a sample's tag; two methods may go by one name.
NAMES = ["read", "write", "read"]
SETTINGS = LoadSettings(rate_rps=100.0, arrivals="poisson", seed=3, duration_s=2.0, timeout_s=1.0)


def samples(count: int, seed: int, worker: int = 0, names: int = 1) -> NDArray[np.int64]:
    """Made-up samples over two seconds, of all outcomes and of the first of the names."""
    rng = np.random.default_rng([seed, worker])
    due = START_NS + np.sort(rng.integers(0, 2 * NS, count))
    sent = due + rng.integers(0, 2_000_000, count)
    done = sent + (rng.lognormal(14, 1, count)).astype(np.int64)
    outcome = rng.choice([200, 201, wire.UNEXPECTED + 500, wire.BROKEN, wire.TIMED_OUT], count)
    answered = (outcome > wire.TIMED_OUT) & (outcome < wire.UNEXPECTED)
    rows = np.zeros((count, wire.COLUMNS), np.int64)
    rows[:, wire.DUE], rows[:, wire.SENT], rows[:, wire.DONE] = due, sent, done
    rows[:, wire.OUTCOME] = outcome
    rows[:, wire.SIZE] = np.where(answered, rng.integers(1, 1000, count), 0)
    rows[:, wire.HASH] = np.where(answered, rng.integers(0, 2**63 - 1, count), 0)
    rows[:, wire.TAG] = rng.choice([0, wire.TAG_WAITED, wire.TAG_FOLLOWED], count)
    rows[:, wire.TAG] += wire.TAG_NAMES * rng.choice(names, count)
    return rows


def report_of(
    rows: NDArray[np.int64], *, sequence: int, recorded: int, final: bool = False, run: str = "run"
) -> Report:
    """A worker's report of some samples, after `recorded` in all."""
    summed = digest(rows, START_NS, 2 * NS)
    return Report(
        run=run,
        sequence=sequence,
        final=final,
        elapsed_s=2.0,
        counts=Counts(scheduled=recorded, sent=recorded, answered=recorded),
        recorded=recorded,
        answered_in_window=summed.answered_in_window,
        latency_us=summed.latency_us,
        lateness_us=summed.lateness_us,
        service_us=summed.service_us,
        statuses=summed.statuses,
        without_status=summed.recorded - sum(summed.statuses.values()),
        errors=summed.errors,
        requests=report.answers(rows, NAMES),
        seconds=summed.seconds,
    )


def collected(workers: int = 1) -> Collected:
    """The books of a run with these workers."""
    run = Collected("run", SETTINGS)
    run.started_ns = START_NS
    for index in range(workers):
        run.parts[f"w{index}"] = WorkerPart(f"w{index}", index, 8)
    return run


def timed_us(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Latencies that belong into the histogram."""
    outcome = rows[:, wire.OUTCOME]
    mine = rows[(outcome != wire.BROKEN) & (outcome < wire.UNEXPECTED)]
    lateness = (mine[:, wire.SENT] - mine[:, wire.DUE]) // 1000
    timed: NDArray[np.int64] = lateness + (mine[:, wire.DONE] - mine[:, wire.SENT]) // 1000
    return timed


def test_two_workers_merge_to_the_histogram_of_all_samples() -> None:
    run = collected(workers=2)
    every = []
    for index in range(2):
        parts = np.array_split(samples(3000, 1, index, len(NAMES)), 5)
        recorded = 0
        for sequence, rows in enumerate(parts, 1):
            recorded += len(rows)
            sent = report_of(rows, sequence=sequence, recorded=recorded, final=sequence == 5)
            run.merge(f"w{index}", report.decode(report.encode(sent)))
            every.append(rows)
    rows = np.concatenate(every)
    measurement = decode_measurement(encode_measurement(run.measurement()))
    assert measurement.complete
    whole = histograms.new()
    histograms.record(whole, timed_us(rows))
    merged = merged_latency(measurement)
    assert (histograms.counters(merged) == histograms.counters(whole)).all()
    punctual = rows[rows[:, wire.TAG] % wire.TAG_NAMES == 0]
    late = histograms.new()
    histograms.record(late, (punctual[:, wire.SENT] - punctual[:, wire.DUE]) // 1000)
    assert (histograms.counters(merged_lateness(measurement)) == histograms.counters(late)).all()
    outcome = rows[:, wire.OUTCOME]
    assert measurement.statuses == {
        "200": (outcome == 200).sum(),
        "201": (outcome == 201).sum(),
        "500": (outcome == wire.UNEXPECTED + 500).sum(),
    }
    assert measurement.errors == {
        "unexpected status 500": (outcome == wire.UNEXPECTED + 500).sum(),
        "timed out": (outcome == wire.TIMED_OUT).sum(),
    }
    assert sum(worker.merged for worker in measurement.workers) == len(rows)
    assert all(worker.merged == worker.recorded for worker in measurement.workers)
    sums = measurement.sums
    assert sums.latency_us == timed_us(rows).sum() == sums.lateness_us + sums.service_us
    right = (outcome == 200) | (outcome == 201)
    assert (
        measurement.completed_in_window == (right & (rows[:, wire.DONE] <= START_NS + 2 * NS)).sum()
    )
    assert measurement.response_bytes == rows[right, wire.SIZE].sum()
    for name in ("read", "write"):
        named = np.array([NAMES[tag // wire.TAG_NAMES] == name for tag in rows[:, wire.TAG]])
        mine = rows[right & named]
        assert len(mine)
        assert measurement.requests[name] == Answers(
            answered=len(mine),
            response_bytes=int(mine[:, wire.SIZE].sum()),
            body_hash_sum=sum(int(one) for one in mine[:, wire.HASH]) & (2**63 - 1),
        )


def test_gaps_and_repeats_are_counted_and_a_late_report_fills_its_gap() -> None:
    rows = np.array_split(samples(400, 2), 4)
    run = collected()
    first, second, third, fourth = (
        report_of(part, sequence=number, recorded=100 * number, final=number == 4)
        for number, part in enumerate(rows, 1)
    )
    for one in (first, third, fourth, fourth):
        run.merge("w0", one)
    (worker,) = run.measurement().workers
    assert (worker.gaps, worker.repeats, worker.reports, worker.last_sequence) == (1, 1, 3, 4)
    assert (worker.recorded, worker.merged) == (400, 300)
    run.merge("w0", second)
    (worker,) = run.measurement().workers
    assert (worker.gaps, worker.repeats, worker.reports) == (0, 1, 4)
    assert (worker.recorded, worker.merged) == (400, 400)


def test_the_last_report_of_a_lost_worker_completes_nothing() -> None:
    run = collected(workers=2)
    rows = samples(10, 3)
    run.merge("w0", report_of(rows, sequence=1, recorded=10, final=True))
    run.parts["w1"].lost = True
    run.merge("w1", report_of(rows, sequence=1, recorded=10, final=True))
    measurement = run.measurement()
    assert measurement.complete is False
    assert [worker.final for worker in measurement.workers] == [True, False]
    assert sum(worker.merged for worker in measurement.workers) == 20
    assert run.waited_for() == run.lost() == ["w1 (index 1)"]


def test_reports_of_nothing_are_fine() -> None:
    run = collected()
    run.merge("w0", report_of(samples(0, 1), sequence=1, recorded=0, final=True))
    measurement = run.measurement()
    assert measurement.complete
    assert measurement.intervals == []
    assert histograms.count(merged_latency(measurement)) == 0
    assert measurement.workers[0].p99_ms is None


def test_counters_that_do_not_fit_are_refused() -> None:
    good = report_of(samples(10, 6), sequence=1, recorded=10)
    assert report.decode(report.encode(good)) == good
    second = good.seconds[0]
    counted = second.latency
    bad_index = np.full(len(counted.counts), histograms.COUNTERS, np.uint16).tobytes()
    for wrong in (
        SparseCounters(bad_index, counted.counts),
        SparseCounters(counted.indices, counted.counts[:-1]),
    ):
        bad = msgspec.structs.replace(
            good, seconds=[msgspec.structs.replace(second, latency=wrong)]
        )
        with pytest.raises(ValueError, match="does not fit"):
            report.decode(report.encode(bad))


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 2000)), max_size=20))
def test_counters_of_any_size_travel_whole(found: list[tuple[int, int]]) -> None:
    values_us = np.repeat(
        np.array([value for value, _ in found], np.int64), [count for _, count in found]
    )
    added = np.zeros(histograms.COUNTERS, np.int64)
    add_counters(added, [SparseCounters.of(values_us)] * 2)
    whole = histograms.new()
    histograms.record(whole, np.tile(values_us, 2))
    assert (added == histograms.counters(whole)).all()


def test_a_tally_is_the_sum_however_it_is_packed_and_looked_at() -> None:
    rng = np.random.default_rng(8)
    tally, whole = Tally(), histograms.new()
    for number in range(300):
        values_us = rng.integers(0, 10**6, 20)
        tally.add(SparseCounters.of(values_us))
        histograms.record(whole, values_us)
        if number % 90 == 50:
            tally.pack()
        if number % 70 == 10:
            assert (tally.counters() == histograms.counters(whole)).all()
    assert (tally.counters() == histograms.counters(whole)).all()


def test_locusts_own_statistics_agree() -> None:
    rows = samples(2000, 5)
    stats = RequestStats()
    for part in np.array_split(rows, 3):
        add_samples(stats, part, [("GET", "name")])
    entry = stats.get("name", "GET")
    outcome = rows[:, wire.OUTCOME]
    failures = int(((outcome <= wire.TIMED_OUT) | (outcome >= wire.UNEXPECTED)).sum())
    times_ms = (rows[:, wire.DONE] - rows[:, wire.DUE]) / 1e6
    for one in (entry, stats.total):
        assert one.num_requests == len(rows) == sum(one.response_times.values())
        assert one.num_failures == failures
        assert one.total_response_time == pytest.approx(times_ms.sum())
        assert one.max_response_time == pytest.approx(times_ms.max())
        assert one.min_response_time == pytest.approx(times_ms.min())
    unexpected = int((outcome >= wire.UNEXPECTED).sum())
    found = {error.error: error.occurrences for error in stats.errors.values()}
    assert found["unexpected status 500"] == unexpected
    assert found["timed out"] == (outcome == wire.TIMED_OUT).sum()


def test_errors_are_counted_once_a_reason() -> None:
    stats = RequestStats()
    add_error(stats, "GET", "name", "reset", 2)
    add_error(stats, "GET", "name", "reset", 3)
    (error,) = stats.errors.values()
    assert error.occurrences == 5


def test_frames_survive_any_cut() -> None:
    sent: list[wire.FromEngine] = [
        wire.Loaded(pid=1),
        wire.Prepared(run="a"),
        wire.Failed(reason="ü" * 500, run="b"),
    ]
    stream = b"".join(wire.encode(message) for message in sent)
    for size in (1, 3, 7, 1000):
        frames = wire.Frames()
        found = [
            wire.from_engine(body)
            for start in range(0, len(stream), size)
            for body in frames.feed(stream[start : start + size])
        ]
        assert found == sent


def test_settings_are_read_as_locust_hands_them_over() -> None:
    form = {"rate": " 100 ", "arrivals": "constant", "seed": "7", "duration": "2.5"}
    assert parse_settings({**form, "request_timeout": "3"}) == LoadSettings(
        100.0, "constant", 7, 2.5, 3.0
    )
    closed = parse_settings({"rate": "", "seed": "0"})
    assert closed.rate_rps is None
    assert closed.seed > 0
    assert (closed.duration_s, closed.timeout_s) == (0.0, 10.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate", "0"),
        ("rate", "nan"),
        ("rate", "inf"),
        ("rate", "many"),
        ("arrivals", "bursts"),
        ("seed", "-2"),
        ("duration", "-1"),
        ("request_timeout", "0"),
    ],
)
def test_settings_that_will_not_do_are_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name.replace("_", " ")):
        parse_settings({"request_timeout": "10", "duration": "1", name: value})
