"""`bakeoff load URL`: the generator alone, aimed at any address, as one would use oha or wrk.

It judges nothing. Anyone can hold the instrument against a server that they know.
"""

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bakeoff.errors import UsageError
from bakeoff.experiment import LOCAL, ROOT
from bakeoff.hosts.host import Host, Watch
from bakeoff.measure.generator import LATE_FLOOR_MS, LATE_SHARE
from bakeoff.measure.histograms import percentiles_ms
from bakeoff.measure.measurement import PhaseMeasurement
from bakeoff.measure.phase import decode_measurement, merged_latency, merged_lateness
from bakeoff.progress import Progress
from bakeoff.rig.swarm import Swarm, SwarmSettings
from bakeoff.rig.swarmclient import PhasePlan
from bakeoff.signals import interruptible

_LOCUSTFILE = ROOT / "bakeoff" / "load" / "ad_hoc.py"
_PART = "generator"
_SAMPLE_S = 0.25
_REQUEST_TIMEOUT_S = 10.0
_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9, "max": 100.0}


@dataclass(frozen=True)
class Aim:
    """What to send where; `rate_rps` None is the closed model."""

    url: str
    rate_rps: float | None
    arrivals: str
    duration_s: float
    connections: int
    workers: int


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Latency runs from the intended start; lateness is sent minus intended.

    `errors` are requests without a whole answer of a status under 400, timeouts among them.
    `cpu_us_per_request` is what the generator itself used: master, workers and engines.
    """

    requests: int
    errors: int
    achieved_rps: float
    mean_ms: float | None
    p50_ms: float | None
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    lateness_p99_ms: float | None
    lateness_p999_ms: float | None
    cpu_us_per_request: float | None
    warnings: list[str]


def load(aim: Aim, progress: Progress) -> LoadResult:
    """Runs the load and returns what came back; UsageError for an address that is none."""
    target, path = _split(aim.url)
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="bakeoff-load-") as scratch,
        Host(LOCAL, run_id=secrets.token_hex(8)) as host,
        Swarm(
            SwarmSettings(
                locustfile=_LOCUSTFILE,
                folder=Path(scratch),
                master_host=host,
                address="127.0.0.1",
                worker_hosts=[host] * aim.workers,
                cpus=None,
                targets={},
                arguments=("--path", path),
            )
        ) as swarm,
        host.watch({_PART: swarm.pids}, _SAMPLE_S) as watch,
    ):
        progress.phase("load", target, aim.duration_s)
        before_us = _cpu_us(watch)
        answer = swarm.run(
            PhasePlan(
                target=target,
                rate_rps=aim.rate_rps,
                arrivals=aim.arrivals,
                duration_s=aim.duration_s,
                connections=aim.connections,
                seed=secrets.randbelow(2**31),
                request_timeout_s=_REQUEST_TIMEOUT_S,
            ),
            lambda now: progress.tick(now.elapsed_s, now.rate_rps, now.p99_ms),
        )
        return _result(decode_measurement(answer), _cpu_us(watch) - before_us)


def describe(result: LoadResult) -> list[tuple[str, str]]:
    """The result as rows of a name and a value for people."""

    def ms(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f} ms"

    cost = result.cpu_us_per_request
    return [
        ("requests", f"{result.requests:,}"),
        ("errors", f"{result.errors:,}"),
        ("achieved rate", f"{result.achieved_rps:,.1f} req/s"),
        ("mean", ms(result.mean_ms)),
        ("p50", ms(result.p50_ms)),
        ("p90", ms(result.p90_ms)),
        ("p95", ms(result.p95_ms)),
        ("p99", ms(result.p99_ms)),
        ("p99.9", ms(result.p999_ms)),
        ("max", ms(result.max_ms)),
        ("lateness p99", ms(result.lateness_p99_ms)),
        ("lateness p99.9", ms(result.lateness_p999_ms)),
        ("generator's CPU", "-" if cost is None else f"{cost:.1f} us a request"),
        *(("warning", warning) for warning in result.warnings),
    ]


def _split(url: str) -> tuple[str, str]:
    """The address and the path with its query."""
    parts = urlsplit(url)
    try:
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise UsageError(f"{url!r} is no address: write http://host:port/path")
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}", (parts.path or "/") + query


def _cpu_us(watch: Watch) -> int:
    return watch.read_now(_PART)["cpu_us"]


def _result(measurement: PhaseMeasurement, cpu_us: int) -> LoadResult:
    counts, sums = measurement.counts, measurement.sums
    latency = percentiles_ms(merged_latency(measurement), tuple(_PERCENTILES.values()))
    late = percentiles_ms(merged_lateness(measurement), (99.0, 99.9))
    ended = counts.answered + counts.timed_out
    return LoadResult(
        requests=counts.answered,
        errors=counts.failed + counts.timed_out,
        achieved_rps=measurement.completed_in_window / measurement.elapsed_s,
        mean_ms=sums.latency_us / ended / 1000 if ended else None,
        **{f"{name}_ms": latency[value] for name, value in _PERCENTILES.items()},
        lateness_p99_ms=late[99.0],
        lateness_p999_ms=late[99.9],
        cpu_us_per_request=cpu_us / ended if ended else None,
        warnings=_warnings(measurement, latency[99.0], late[99.0]),
    )


def _warnings(
    measurement: PhaseMeasurement, p99_ms: float | None, late_p99_ms: float | None
) -> list[str]:
    counts = measurement.counts
    found = []
    if not counts.answered:
        found.append(f"no request was answered: {', '.join(measurement.errors) or 'see errors'}")
    if counts.waited > counts.scheduled / 100:
        found.append(f"{counts.waited:,} arrivals found no free connection: raise --connections")
    if p99_ms is not None and late_p99_ms is not None:
        allowed_ms = max(LATE_FLOOR_MS, LATE_SHARE * p99_ms)
        if measurement.model == "open" and late_p99_ms > allowed_ms:
            found.append(
                f"the generator was late: p99 {late_p99_ms:.2f} ms, allowed {allowed_ms:.2f} ms; "
                "lower --rate, raise --workers, or quiet the machine"
            )
    return found
