"""What a worker's report costs the master of a swarm, beside stock Locust's master.

Real masters in processes of their own, with their page, as in real use; the workers are simulated
(`benchmarks.simulated`). Counted is all CPU of the master's process, heartbeats and what the
harness asks it during a run included, over the reports that came with samples.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import msgspec

from bakeoff.hosts.host import Host
from bakeoff.measure.measurement import PhaseMeasurement
from bakeoff.measure.phase import decode_measurement
from bakeoff.rig.swarm import Swarm, SwarmSettings
from bakeoff.rig.swarmclient import PhasePlan, SwarmClient
from benchmarks.figures import interleaved
from benchmarks.processes import ROOT, announced, line_of
from benchmarks.simulation import Outcome, Plan

WORKERS = 1000
SAMPLES = 1000
_SETTLE_S = 2.0
# A multiple of every interval, so that all workers report equally often in it.
_WINDOW_S = 6.0
_DEADLINE_S = 60.0
_WIDTH = 10
_COLUMNS = (
    *("workers", "samples", "every s", "us/report", "cores", "MiB", "B/report", "kB/s"),
    *("lag p50ms", "lag max", "connect s", "last ack", "behind s"),
)
# As often as the harness looks at a run.
_PROGRESS_S = 0.5


class Centre(msgspec.Struct, frozen=True):
    """A master that listens: its process, where its workers connect, and its page."""

    pid: int
    port: int
    client: SwarmClient
    stock: bool


def measure(repeats: int) -> dict[str, list[float]]:
    """Microseconds of the master's CPU a worker's report, ours and stock Locust's, with 1,000
    workers, by key."""

    def cost(*, stock: bool) -> float:
        return simulate(WORKERS, SAMPLES, stock=stock).master_us_per_report

    return interleaved(
        {
            "master_us_per_worker_report": partial(cost, stock=False),
            "stock_master_us_per_worker_report": partial(cost, stock=True),
        },
        repeats,
    )


def simulate(workers: int, samples: int, *, stock: bool = False) -> Outcome:
    """One run of a master with so many workers; AssertionError where a report is lost."""
    with stock_master() if stock else our_master() as centre:
        outcome, measurement = run(centre, workers, samples)
    if measurement is not None:
        check(outcome, measurement)
    return outcome


def run(centre: Centre, workers: int, samples: int) -> tuple[Outcome, PhaseMeasurement | None]:
    """One run of a master, and what it measured (None: it is stock)."""
    duration_s = _SETTLE_S + _WINDOW_S + 1
    plan = Plan(
        port=centre.port,
        master_pid=centre.pid,
        workers=workers,
        samples=samples,
        stock=centre.stock,
        duration_s=duration_s,
        settle_s=_SETTLE_S,
        window_s=_WINDOW_S,
    )
    phase = PhasePlan(
        target="http://127.0.0.1:9",
        rate_rps=float(samples * workers),
        arrivals="poisson",
        duration_s=duration_s,
        connections=workers,
        seed=1,
        request_timeout_s=10,
    )
    longest_s = duration_s + _DEADLINE_S
    command = [sys.executable, "-m", "benchmarks.simulated", msgspec.json.encode(plan).decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as simulated:
        try:
            said = partial(line_of, simulated, simulated.stdout, b"{")
            said()
            centre.client.start(phase)
            if centre.stock:
                return msgspec.json.decode(said(longest_s), type=Outcome), None
            deadline = time.monotonic() + longest_s
            while not centre.client.progress().complete:
                assert time.monotonic() < deadline, "the run does not end"
                time.sleep(_PROGRESS_S)
            outcome = msgspec.json.decode(said(longest_s), type=Outcome)
            return outcome, decode_measurement(centre.client.measurement())
        finally:
            simulated.kill()


def check(outcome: Outcome, measurement: PhaseMeasurement) -> None:
    """AssertionError unless all that was sent was merged, and nothing twice."""
    workers = measurement.workers
    assert measurement.complete
    assert all(one.gaps == 0 and one.reports == one.last_sequence for one in workers)
    assert all(one.merged == one.recorded for one in workers)
    assert sum(one.reports for one in workers) == outcome.sent_reports
    assert sum(one.merged for one in workers) == outcome.sent_samples
    assert measurement.counts.answered == outcome.sent_samples


@contextmanager
def our_master() -> Iterator[Centre]:
    """A master as `bakeoff compare` starts it."""
    with (
        tempfile.TemporaryDirectory(prefix="bakeoff-bench-") as scratch,
        Host("local", run_id=f"bench-{os.getpid()}") as local,
        Swarm(
            SwarmSettings(
                locustfile=ROOT / "bakeoff" / "load" / "ad_hoc.py",
                folder=Path(scratch),
                master_host=local,
                address="127.0.0.1",
                worker_hosts=[],
                cpus=None,
                targets={},
            )
        ) as swarm,
    ):
        said = json.loads(swarm.master.wait_for_line('"role":"master"', _DEADLINE_S))
        yield Centre(swarm.master.pid, said["master_port"], swarm.client, stock=False)


@contextmanager
def stock_master() -> Iterator[Centre]:
    """Locust's master without anything of ours."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "stockmaster.py")),
        *("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", "0"),
        *("--web-host", "127.0.0.1", "--web-port", "0"),
    ]
    with announced(command, stderr=subprocess.DEVNULL) as (pid, said):
        client = SwarmClient(f"http://127.0.0.1:{said['web_port']}")
        yield Centre(pid, said["master_port"], client, stock=True)


@click.command()
@click.option("--workers", default="10,100,1000", help="How many, separated by commas.")
@click.option("--samples", default="1000,10", help="In a report, separated by commas.")
@click.option("--repeats", type=click.IntRange(min=1), default=1, help="Of each, interleaved.")
def main(workers: str, samples: str, repeats: int) -> None:
    """Measures masters with several numbers of workers."""
    click.echo(f"{'':<8}" + "".join(f"{name:>{_WIDTH}}" for name in _COLUMNS))
    for _ in range(repeats):
        for count in map(int, workers.split(",")):
            for size in map(int, samples.split(",")):
                for stock in (False, True):
                    outcome = simulate(count, size, stock=stock)
                    figures = (count, size, *_row(outcome))
                    name = "stock" if stock else "ours"
                    click.echo(f"{name:<8}" + "".join(f"{one:>{_WIDTH}.4g}" for one in figures))


def _row(outcome: Outcome) -> tuple[float, ...]:
    return (
        outcome.interval_s,
        outcome.master_us_per_report,
        outcome.master_cores,
        outcome.master_rss_bytes / 2**20,
        outcome.report_bytes,
        outcome.bytes_per_s / 1000,
        outcome.lag_p50_ms,
        outcome.lag_max_ms,
        outcome.connected_s,
        outcome.acknowledged_s,
        outcome.behind_s,
    )


if __name__ == "__main__":
    main()
