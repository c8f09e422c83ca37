"""What reading and merging a worker's report costs, without Locust around it.

`python -m benchmarks.merging`: microseconds of CPU a report, of a hundred workers over a minute.
"""

from locust.runners import WORKER_REPORT_INTERVAL

import time

import click

from bakeoff.load import report
from bakeoff.load.collected import Collected
from bakeoff.load.settings import parse_settings
from bakeoff.load.workerpart import WorkerPart
from benchmarks.drawn import VARIANTS, draw_reports

_WORKERS = 100
_REPORTS = 20


def merge_us(samples: int) -> tuple[float, float]:
    """Microseconds to merge a report of so many samples, and its bytes."""
    drawn = draw_reports(samples, WORKER_REPORT_INTERVAL)
    run = Collected("run", parse_settings({}))
    payloads = []
    for worker in range(_WORKERS):
        run.parts[str(worker)] = WorkerPart(str(worker), worker)
    for sequence in range(1, _REPORTS + 1):
        begin_s = int((sequence - 1) * WORKER_REPORT_INTERVAL)
        for worker in range(_WORKERS):
            made = drawn[worker % VARIANTS].report(
                run="run",
                sequence=sequence,
                recorded=sequence * samples,
                begin_s=begin_s,
                elapsed_s=begin_s + WORKER_REPORT_INTERVAL,
                final=sequence == _REPORTS,
            )
            payloads.append((str(worker), report.encode(made)))
    before_s = time.process_time()
    for name, payload in payloads:
        run.merge(name, report.decode(payload))
    spent_s = time.process_time() - before_s
    assert sum(part.merged for part in run.parts.values()) == len(payloads) * samples
    size = sum(len(payload) for _, payload in payloads) / len(payloads)
    return spent_s * 1e6 / len(payloads), size


@click.command()
def main() -> None:
    """Prints microseconds and bytes a report."""
    click.echo(f"{'samples':>8}{'us':>8}{'bytes':>8}")
    for samples in (10, 100, 1000, 10_000):
        spent_us, size = merge_us(samples)
        click.echo(f"{samples:>8}{spent_us:>8.0f}{size:>8.0f}")


if __name__ == "__main__":
    main()
