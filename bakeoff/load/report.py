"""What a worker reports to the master, on Locust's own reports: counts so far, the rest as deltas.

Histograms travel as the counters that are not zero, by second of completion.
"""

from collections.abc import Mapping, Sequence
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from bakeoff.load import wire
from bakeoff.load.occurrences import counted, occurrences
from bakeoff.measure import histograms
from bakeoff.measure.histograms import Counters
from bakeoff.measure.measurement import Answers, Counts

# The key in Locust's report.
KEY = "bakeoff"
_NS = 1_000_000_000
_HASH_MASK = 2**63 - 1
_PIECE = 255


class SparseCounters(msgspec.Struct, frozen=True, array_like=True):
    """The counters of a histogram that are not zero: an index of two bytes and a count of one.

    A count that needs more stands in several pieces, each with the index.
    """

    indices: bytes
    counts: bytes

    @classmethod
    def of(cls, values_us: Counters) -> Self:
        """Counts values in microseconds."""
        indices, counts = occurrences(histograms.counter_indices(values_us))
        pieces = -(-counts // _PIECE)
        split = np.full(pieces.sum(), _PIECE, np.uint8)
        split[np.cumsum(pieces) - 1] = counts - _PIECE * (pieces - 1)
        return cls(np.repeat(indices, pieces).astype(np.uint16).tobytes(), split.tobytes())


def add_counters(counters: Counters, many: Sequence[SparseCounters]) -> None:
    """Adds them to the counters of a histogram, at once: one by one takes four times as long."""
    indices = np.frombuffer(b"".join([one.indices for one in many]), np.uint16)
    counts = np.frombuffer(b"".join([one.counts for one in many]), np.uint8)
    np.add.at(counters, indices, counts.astype(np.int64))


class Second(msgspec.Struct, frozen=True, array_like=True):
    """What was completed in one second of the run (`answered`, of it, counts as completed)."""

    second: int
    answered: int
    latency: SparseCounters
    lateness: SparseCounters


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report of one worker. `counts` and `recorded` are totals, the rest is new."""

    run: str
    sequence: int
    final: bool
    elapsed_s: float
    counts: Counts
    recorded: int
    answered_in_window: int
    latency_us: int
    lateness_us: int
    service_us: int
    # Answers by status, and how many samples have none.
    statuses: dict[str, int]
    without_status: int
    errors: dict[str, int]
    # Answers by the request's name.
    requests: dict[str, Answers]
    seconds: list[Second]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Report)


def encode(report: Report) -> bytes:
    """The report as Locust carries it."""
    return _encoder.encode(report)


def decode(data: bytes) -> Report:
    """The report behind `encode`; ValueError for anything else."""
    report = _decoder.decode(data)
    sparse = [one for second in report.seconds for one in (second.latency, second.lateness)]
    indices = np.frombuffer(b"".join([one.indices for one in sparse]), np.uint16)
    if any(len(one.indices) != 2 * len(one.counts) for one in sparse) or (
        len(indices) and np.maximum.reduce(indices) >= histograms.COUNTERS
    ):
        raise ValueError("a report's histogram does not fit")
    return report


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """Samples, summed up."""

    recorded: int
    answered: int
    failed: int
    timed_out: int
    answered_in_window: int
    latency_us: int
    lateness_us: int
    service_us: int
    statuses: dict[str, int]
    errors: dict[str, int]
    seconds: list[Second]


def digest(samples: Counters, start_ns: int, elapsed_ns: int) -> Digest:
    """Sums up samples (rows of `wire.COLUMNS`) of a run that began at `start_ns`.

    Latency and its sums are of answered and timed-out requests; lateness in the histograms is
    that of arrivals that found a free connection.
    """
    outcome, tag = samples[:, wire.OUTCOME], samples[:, wire.TAG]
    done = samples[:, wire.DONE]
    lateness_us = (samples[:, wire.SENT] - samples[:, wire.DUE]) // 1000
    service_us = (done - samples[:, wire.SENT]) // 1000
    latency_us = lateness_us + service_us
    answered = _answered(outcome)
    timed_out = outcome == wire.TIMED_OUT
    timed = answered | timed_out
    punctual = tag & (wire.TAG_WAITED | wire.TAG_FOLLOWED) == 0
    second = (done - start_ns) // _NS
    return Digest(
        recorded=len(samples),
        answered=int(answered.sum()),
        failed=int(len(samples) - timed.sum()),
        timed_out=int(timed_out.sum()),
        answered_in_window=int((answered & (done <= start_ns + elapsed_ns)).sum()),
        latency_us=int(latency_us[timed].sum()),
        lateness_us=int(lateness_us[timed].sum()),
        service_us=int(service_us[timed].sum()),
        statuses=_statuses(outcome),
        errors=_errors(outcome),
        seconds=[
            Second(
                one,
                int((answered & (second == one)).sum()),
                SparseCounters.of(latency_us[timed & (second == one)]),
                SparseCounters.of(lateness_us[punctual & (second == one)]),
            )
            for one in counted(second)
        ],
    )


def answers(samples: Counters, names: Sequence[str]) -> dict[str, Answers]:
    """The answers by name; `names` are by the index in the samples' tags."""
    found: dict[str, Answers] = {}
    right = _answered(samples[:, wire.OUTCOME])
    indices = samples[:, wire.TAG][right] // wire.TAG_NAMES
    sizes, hashes = samples[:, wire.SIZE][right], samples[:, wire.HASH][right].view(np.uint64)
    for index, count in counted(indices).items():
        mine = indices == index
        new = Answers(
            answered=count,
            response_bytes=int(sizes[mine].sum()),
            # 63 bits, so that JSON readers keep them.
            body_hash_sum=int(hashes[mine].sum()) & _HASH_MASK,
        )
        # Two methods may go by one name.
        add_answers(found, {names[index]: new})
    return found


def add_answers(totals: dict[str, Answers], news: Mapping[str, Answers]) -> None:
    """Adds answers to the totals of their names."""
    for name, new in news.items():
        old = totals.get(name, Answers(answered=0, response_bytes=0, body_hash_sum=0))
        totals[name] = Answers(
            answered=old.answered + new.answered,
            response_bytes=old.response_bytes + new.response_bytes,
            body_hash_sum=((old.body_hash_sum or 0) + (new.body_hash_sum or 0)) & _HASH_MASK,
        )


def _answered(outcome: Counters) -> NDArray[np.bool_]:
    answered: NDArray[np.bool_] = (outcome > wire.TIMED_OUT) & (outcome < wire.UNEXPECTED)
    return answered


def _statuses(outcome: Counters) -> dict[str, int]:
    with_status = outcome[outcome > wire.TIMED_OUT]
    return {str(status): count for status, count in counted(with_status % wire.UNEXPECTED).items()}


def _errors(outcome: Counters) -> dict[str, int]:
    """Errors that show in the samples; broken connections come with a reason of their own."""
    unexpected = _statuses(outcome[outcome >= wire.UNEXPECTED])
    errors = {f"unexpected status {status}": count for status, count in unexpected.items()}
    timed_out = int((outcome == wire.TIMED_OUT).sum())
    if timed_out:
        errors["timed out"] = timed_out
    return errors
