"""A run that never was: believable numbers drawn from a fixed seed, to test what reads a run.

Every figure here is made up. Latencies are lognormal, noise between rounds is a few per cent.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from bakeoff.measure import histograms
from bakeoff.measure.checks import evaluate_all, parse_check
from bakeoff.measure.document import BlockDocument, RunDocument
from bakeoff.measure.histogramlog import LoggedInterval
from bakeoff.measure.measurement import Answers, Counts, Sums
from bakeoff.measure.post import POST_SAYS
from bakeoff.measure.records import (
    Audit,
    CoreUse,
    Declared,
    Figure,
    Finding,
    PartUse,
    PhaseRecord,
    RoundRecord,
)
from bakeoff.measure.samples import Sample
from bakeoff.measure.summary import RunFacts, run_document
from reports.data import ReportData, round_data

RATE_RPS = 900.0
WARM_UP_S, FIXED_S, CLOSED_S = 3, 12, 4
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MIB = 1024 * 1024


class FakeRun(msgspec.Struct, frozen=True):
    """What a results folder holds."""

    document: RunDocument
    records: list[RoundRecord]
    intervals: list[list[LoggedInterval]]
    samples: list[list[Sample]]


class Character(msgspec.Struct, frozen=True):
    """How a made-up service behaves."""

    median_ms: float
    sigma: float
    cpu_us: float
    postgres_cpu_us: float
    rss_mib: float
    throughput_rps: float


CHARACTERS = [
    Character(1.9, 0.55, 410, 330, 46, 1950),
    Character(1.5, 0.45, 265, 350, 17, 2480),
]


@cache
def fake_run(
    labels: tuple[str, str] = ("go", "rust"), blocks: int = 6, null: bool = False
) -> FakeRun:
    """A finished run of two services with `blocks` rounds each, alternating in order."""
    random = np.random.default_rng(20260102)
    records: list[RoundRecord] = []
    intervals: list[list[LoggedInterval]] = []
    samples: list[list[Sample]] = []
    documents: list[BlockDocument] = []
    for block in range(1, blocks + 1):
        order = [0, 1] if block % 2 else [1, 0]
        numbers = []
        for position, index in enumerate(order):
            character = CHARACTERS[0 if null else index]
            service = labels[0].removesuffix("-a") if null else labels[index]
            record, lines, rows = _round(
                random, len(records) + 1, block, position, labels[index], service, character
            )
            numbers.append(record.number)
            records.append(record)
            intervals.append(lines)
            samples.append(rows)
        documents.append(
            BlockDocument(order=[labels[i] for i in order], rerun_of=None, rounds=numbers)
        )
    document = _document(labels, records, documents, null)
    return FakeRun(document, records, intervals, samples)


def with_changes(run: FakeRun, **changes: Any) -> FakeRun:
    """The same run with other fields in its document."""
    return FakeRun(
        msgspec.structs.replace(run.document, **changes), run.records, run.intervals, run.samples
    )


def data_of(run: FakeRun) -> ReportData:
    """The run as a report reads it from its folder."""
    rounds = [
        round_data(run.document, record, intervals, samples)
        for record, intervals, samples in zip(run.records, run.intervals, run.samples, strict=True)
    ]
    return ReportData(run.document, tuple(run.records), tuple(rounds))


def checks_of(document: RunDocument) -> list[dict[str, Any]]:
    """The results of two checks of the second service."""
    second = list(document.services)[-1]
    wanted = (f"{second}.p99_ms < 25", f"{second}.capacity_rps > 100")
    return evaluate_all([parse_check(text) for text in wanted], document).checks


def encoded(values_us: Sequence[int] | NDArray[np.int64]) -> str:
    """Values in microseconds as an HdrHistogram in V2, base64."""
    histogram = histograms.new()
    histograms.record(histogram, np.asarray(values_us, dtype=np.int64))
    return histograms.encode(histogram)


def _round(
    random: np.random.Generator,
    number: int,
    block: int,
    position: int,
    label: str,
    service: str,
    character: Character,
) -> tuple[RoundRecord, list[LoggedInterval], list[Sample]]:
    noise = float(np.exp(random.normal(0, 0.03)))
    lines: list[LoggedInterval] = []
    latencies: dict[str, NDArray[np.int64]] = {}
    start_s = 1.0
    phases = []
    for name, seconds in (("warm-up", WARM_UP_S), ("fixed", FIXED_S), ("closed", CLOSED_S)):
        rate = character.throughput_rps * noise if name == "closed" else RATE_RPS
        median_ms = 64 / rate * 1000 if name == "closed" else character.median_ms * noise
        all_us = []
        for second in range(seconds):
            count = int(random.poisson(rate))
            draws_ms = median_ms * np.exp(random.normal(0, character.sigma, count))
            late_us = random.gamma(2, 15, count).astype(np.int64) + 1
            latency_us = (draws_ms * 1000).astype(np.int64) + 1
            all_us.append(latency_us)
            lines.append(_line(f"{name}.latency", start_s + second, latency_us))
            lines.append(_line(f"{name}.lateness", start_s + second, late_us))
        latencies[name] = np.concatenate(all_us)
        phases.append(_phase(name, start_s, seconds, latencies[name], character, noise))
        start_s += seconds + 1
    record = RoundRecord(
        number=number,
        block=block,
        position=position,
        label=label,
        service=service,
        seed=7000 + block,
        started_at=(STARTED + timedelta(seconds=40 * number)).isoformat(),
        phases=phases,
        figures=_figures(latencies, character, noise, random),
        findings=[],
    )
    return record, lines, _samples(random, character, start_s)


def _line(tag: str, start_s: float, values_us: NDArray[np.int64]) -> LoggedInterval:
    return LoggedInterval(tag=tag, start_s=start_s, length_s=1.0, histogram=encoded(values_us))


def _phase(
    name: str,
    start_s: float,
    seconds: int,
    latency_us: NDArray[np.int64],
    character: Character,
    noise: float,
) -> PhaseRecord:
    count = len(latency_us)
    closed = name == "closed"
    return PhaseRecord(
        name=cast(Any, name),
        model="closed" if closed else "open",
        rate_rps=None if closed else RATE_RPS,
        connections=64 if closed else 256,
        start_s=start_s,
        end_s=start_s + seconds,
        offered_rps=None if closed else count / seconds,
        achieved_rps=count / seconds,
        mean_ms=float(latency_us.mean()) / 1000,
        counts=Counts(scheduled=count, sent=count, answered=count),
        sums=Sums(latency_us=int(latency_us.sum()), lateness_us=count * 30),
        statuses={"200": count},
        errors={},
        response_bytes=count * 412,
        requests={
            "GET /v1/invoices/{id}/payment": Answers(
                answered=count, response_bytes=count * 412, body_hash_sum=count * 17
            )
        },
        workers=[],
        parts={
            "service": _use(character.cpu_us * noise * count, seconds, character.rss_mib),
            "postgres": _use(character.postgres_cpu_us * count, seconds, None),
            "stub": _use(95.0 * count, seconds, None),
            "generator": _use(120.0 * count, seconds, None),
        },
        cores=[
            CoreUse(core=0, busy=0.62, idle=0.36, steal=0.01, irq=0.01),
            CoreUse(core=1, busy=0.71, idle=0.27, steal=0.0, irq=0.02),
        ],
        audit=Audit(
            answered=count,
            declared=Declared(
                statements=2 * count,
                stub_calls=count,
                most_statements=2,
                most_stub_calls=1,
                rarest=count,
            ),
            log_lines=count,
            stub_calls=count,
            statements={"SELECT invoice": count, "SELECT subscription": count},
            slack=2,
        ),
    )


def _use(cpu_us: float, seconds: int, rss_mib: float | None) -> PartUse:
    return PartUse(
        cpu_us=int(cpu_us),
        wall_s=float(seconds),
        run_queue_us=int(cpu_us / 40),
        rss_median_bytes=None if rss_mib is None else int(rss_mib * MIB),
        rss_peak_bytes=None if rss_mib is None else int(rss_mib * 1.2 * MIB),
        threads=9,
        open_files=40,
        context_switches=1234,
    )


def _figures(
    latencies: dict[str, NDArray[np.int64]],
    character: Character,
    noise: float,
    random: np.random.Generator,
) -> dict[str, Figure]:
    fixed_ms = latencies["fixed"] / 1000
    count = len(fixed_ms)

    def wobble(value: float) -> float:
        return float(value * noise * np.exp(random.normal(0, 0.01)))

    cpu_us = wobble(character.cpu_us)
    values = {
        "offered_rps": count / FIXED_S,
        "achieved_rps": count / FIXED_S,
        "mean_ms": float(fixed_ms.mean()),
        "p50_ms": float(np.quantile(fixed_ms, 0.5)),
        "p90_ms": float(np.quantile(fixed_ms, 0.9)),
        "p95_ms": float(np.quantile(fixed_ms, 0.95)),
        "p99_ms": float(np.quantile(fixed_ms, 0.99)),
        "max_ms": float(fixed_ms.max()),
        "lateness_p99_ms": 0.1,
        "throughput_rps": len(latencies["closed"]) / CLOSED_S,
        "cpu_us_per_request": cpu_us,
        "system_cpu_us_per_request": cpu_us + character.postgres_cpu_us,
        "postgres_cpu_us_per_request": wobble(character.postgres_cpu_us),
        "stub_cpu_us_per_request": wobble(95),
        "generator_cpu_us_per_request": wobble(120),
        "cpu_percent_at_10k_rps": cpu_us * RATE_RPS / 1e6 * 100,
        "rss_steady_bytes": wobble(character.rss_mib * MIB),
        "rss_peak_bytes": wobble(character.rss_mib * 1.3 * MIB),
        "sql_statements_per_request": 2.0,
        "grpc_calls_per_request": 1.0,
        "log_lines_per_request": 1.0,
        "response_bytes_per_request": 412.0,
    }
    marks = {
        "p99_ms": ["shared machine"],
        "p50_ms": ["shared machine"],
        "throughput_rps": ["shared machine"],
        "cpu_percent_at_10k_rps": [f"at {RATE_RPS:g} req/s"],
    }
    figures = {
        name: Figure(value=value, samples=count, marks=marks.get(name, []))
        for name, value in values.items()
    }
    figures["p999_ms"] = Figure(
        value=None, reason=f"needs 100,000 requests a round, had {count:,}", samples=count
    )
    figures["capacity_rps"] = Figure(value=None, reason="this profile runs no capacity search")
    figures["rss_idle_bytes"] = Figure(value=None, reason="this profile has no idle tail")
    return figures


def _samples(random: np.random.Generator, character: Character, end_s: float) -> list[Sample]:
    rows = []
    cpu_us = dict.fromkeys(("service", "postgres", "stub", "generator"), 0)
    share = {
        "service": character.cpu_us * RATE_RPS / 1e6,
        "postgres": character.postgres_cpu_us * RATE_RPS / 1e6,
        "stub": 0.09,
        "generator": 0.12,
    }
    rss = {"service": character.rss_mib, "postgres": 160, "stub": 38, "generator": 96}
    for t_s in np.arange(0.5, end_s, 0.5):
        for part in cpu_us:
            cpu_us[part] += int(share[part] * 5e5 * (1 + random.normal(0, 0.05)))
            rss_bytes = int(rss[part] * MIB * (1 - 0.4 * np.exp(-t_s / 2)))
            rows.append(
                Sample(
                    t_s=float(t_s),
                    part=part,
                    processes=1,
                    rss_bytes=rss_bytes,
                    peak_rss_bytes=int(rss_bytes * 1.1),
                    cpu_us=cpu_us[part],
                    run_queue_us=cpu_us[part] // 40,
                    threads=9,
                    open_files=40,
                    context_switches=int(t_s * 100),
                )
            )
    return rows


def _document(
    labels: tuple[str, str],
    records: list[RoundRecord],
    blocks: list[BlockDocument],
    null: bool,
) -> RunDocument:
    service = labels[0].removesuffix("-a") if null else None
    facts = RunFacts(
        created_at=STARTED.isoformat(),
        finished=True,
        environment={
            "hosts": {
                "local": {
                    "cpu_model": "Example CPU @ 2.00GHz",
                    "cores": 2,
                    "memory_bytes": 8_000_000_000,
                    "kernel": "6.1.0",
                    "governor": None,
                }
            },
            "python": "3.11.9",
            "packages": {"locust": "2.47.0", "numpy": "2.0.0"},
            "cores": {"service": [1], "rig": [0], "usable": 2},
        },
        experiment={
            "profile": "default",
            "workload": "payment_status",
            "services": list(labels),
            "rounds": len(blocks),
            "pin": True,
            "service_cores": 1,
            "null": service,
            "warm_up_s": WARM_UP_S,
            "fixed_s": FIXED_S,
            "closed_s": CLOSED_S,
        },
        reference_rate_rps=RATE_RPS,
        rates_rps=[RATE_RPS],
        connections={"open": 256, "closed": 64},
        seed=7000,
        floor={"p50_ms": 0.21, "p99_ms": 0.74},
        post_says=POST_SAYS,
        labels=labels,
        titles={label: label.capitalize() for label in labels},
        builds={label: {"release": True, "version": "1.2.3"} for label in labels},
        cores=2,
        null=service,
        findings=[
            Finding(
                rule="parts share cores with the service",
                effect="warns",
                where="the machine",
                found="2 cores for service, Postgres, stub and generator",
                allowed="4 cores",
                advice="read latency and throughput as those of this machine, "
                "or use one with four cores or more",
                touches=["L", "C", "U"],
            )
        ],
    )
    document = run_document(records, blocks, facts)
    return msgspec.structs.replace(document, checks=checks_of(document))
