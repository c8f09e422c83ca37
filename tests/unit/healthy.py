"""A phase and a round without any fault, for tests that break one thing at a time."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import scipy
from hdrh.histogram import HdrHistogram

from bakeoff.measure import histograms
from bakeoff.measure.figures import Measured, round_figures
from bakeoff.measure.measurement import Answers, Counts, Sums, WorkerBooks
from bakeoff.measure.records import Audit, CoreUse, Declared, PartUse, PhaseRecord, RoundRecord
from bakeoff.measure.validity import RigFacts

RATE_RPS = 1000.0
SECONDS = 15.0
REQUESTS = 15_000
STATEMENTS = {"select invoice": REQUESTS, "select subscription": REQUESTS}
NAME = "GET /v1/invoices/{id}/payment"
DECLARED = Declared(
    statements=2 * REQUESTS,
    stub_calls=REQUESTS,
    most_statements=2,
    most_stub_calls=1,
    rarest=REQUESTS,
)

LARGE = RigFacts(
    cores=8,
    service_cores=frozenset({0, 1, 2, 3}),
    rig_cores=frozenset({4, 5, 6, 7}),
    workers=2,
    stub_processes=1,
)
SMALL = RigFacts(
    cores=2,
    service_cores=frozenset({0}),
    rig_cores=frozenset({1}),
    workers=2,
    stub_processes=1,
)


def histogram(values_us: Any) -> HdrHistogram:
    """A histogram of values in microseconds."""
    made = histograms.new()
    histograms.record(made, np.asarray(values_us, dtype=np.int64))
    return made


def latency_us(count: int = REQUESTS, median_ms: float = 4.0) -> Any:
    """Lognormal latencies whose quantiles are exact: no draw."""
    ranks = (np.arange(count) + 0.5) / count
    return np.round(1000 * median_ms * np.exp(0.5 * scipy.stats.norm.ppf(ranks)))


def part(cpu_us_per_request: float, rss_bytes: int | None = None) -> PartUse:
    """What a part used that answered the requests of the phase."""
    return PartUse(
        cpu_us=round(cpu_us_per_request * REQUESTS),
        wall_s=SECONDS,
        run_queue_us=REQUESTS,
        rss_median_bytes=rss_bytes,
        rss_peak_bytes=None if rss_bytes is None else 2 * rss_bytes,
        threads=8,
        open_files=40,
        context_switches=REQUESTS,
    )


def worker(index: int) -> WorkerBooks:
    """One of two workers, with half of everything."""
    half = REQUESTS // 2
    return WorkerBooks(
        worker=f"worker-{index}",
        index=index,
        reports=15,
        last_sequence=15,
        gaps=0,
        repeats=0,
        final=True,
        counts=Counts(scheduled=half, sent=half, answered=half),
        recorded=half,
        merged=half,
        p99_ms=12.8,
    )


def phase(**changes: Any) -> PhaseRecord:
    """A fixed-rate phase of 15,000 requests in which all is well, with other fields on demand."""
    whole = PhaseRecord(
        name="fixed",
        model="open",
        rate_rps=RATE_RPS,
        connections=256,
        start_s=9.0,
        end_s=9.0 + SECONDS,
        offered_rps=RATE_RPS,
        achieved_rps=RATE_RPS,
        mean_ms=4.5,
        counts=Counts(scheduled=REQUESTS, sent=REQUESTS, answered=REQUESTS),
        sums=Sums(latency_us=67_500_000, lateness_us=1_500_000, service_us=66_000_000),
        statuses={"200": REQUESTS},
        errors={},
        response_bytes=400 * REQUESTS,
        requests={
            NAME: Answers(answered=REQUESTS, response_bytes=400 * REQUESTS, body_hash_sum=12345)
        },
        workers=[worker(0), worker(1)],
        parts={
            "service": part(400, 90_000_000),
            "postgres": part(300),
            "stub": part(60),
            "generator": part(40),
        },
        cores=[CoreUse(core=n, busy=0.1, idle=0.89, steal=0.0, irq=0.01) for n in range(8)],
        audit=Audit(
            answered=REQUESTS,
            declared=DECLARED,
            log_lines=REQUESTS,
            stub_calls=REQUESTS,
            statements=STATEMENTS,
            slack=2,
        ),
        stub_excess_p50_ms=0.1,
        stub_excess_p99_ms=0.3,
    )
    return msgspec.structs.replace(whole, **changes)


def measured(**changes: Any) -> Measured:
    """The healthy phase with its histograms."""
    late_us = np.full(REQUESTS, 60)
    return Measured(phase(**changes), histogram(latency_us()), histogram(late_us))


def round_record(
    block: int,
    label: str,
    change: Callable[[PhaseRecord], PhaseRecord] = lambda phase: phase,
    **changes: Any,
) -> RoundRecord:
    """A round whose fixed phase is the healthy one, changed, with the figures of that."""
    healthy = measured()
    fixed = change(healthy.phase)
    made = RoundRecord(
        number=2 * block - (label == "go"),
        block=block,
        position=0 if label == "go" else 1,
        label=label,
        service=label.removesuffix("-a").removesuffix("-b"),
        seed=block,
        started_at="2026-01-02T03:04:05+00:00",
        phases=[fixed],
        figures=round_figures(
            {"fixed": Measured(fixed, healthy.latency, healthy.lateness)}, shared=False
        ),
        findings=[],
    )
    return msgspec.structs.replace(made, **changes)
