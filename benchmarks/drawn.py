"""What simulated workers report, drawn before: a thousand must leave the master its core."""

from locust.stats import RequestStats

from typing import Any

import msgspec
import numpy as np

from bakeoff.load import report, wire
from bakeoff.load.locuststats import add_samples
from bakeoff.load.report import Report
from bakeoff.measure.histograms import Counters
from bakeoff.measure.measurement import Answers, Counts

NAME = ("GET", "/v1/invoices/{id}/payment")
VARIANTS = 16
_NS = 1_000_000_000


class Drawn(msgspec.Struct, frozen=True):
    """What a report says, drawn before; its seconds count from the one in which it begins."""

    digest: report.Digest
    answers: dict[str, Answers]
    stats: list[Any]
    total: Any

    def report(
        self,
        *,
        run: str,
        sequence: int,
        recorded: int,
        begin_s: int,
        elapsed_s: float,
        final: bool = False,
    ) -> Report:
        """Ours, with `recorded` samples in all; it begins in the second `begin_s` of the run."""
        summed = self.digest
        return Report(
            run=run,
            sequence=sequence,
            final=final,
            elapsed_s=elapsed_s,
            counts=Counts(scheduled=recorded, sent=recorded, answered=recorded),
            recorded=recorded,
            answered_in_window=summed.answered_in_window,
            latency_us=summed.latency_us,
            lateness_us=summed.lateness_us,
            service_us=summed.service_us,
            statuses=summed.statuses,
            without_status=0,
            errors=summed.errors,
            requests=self.answers,
            seconds=[
                msgspec.structs.replace(second, second=max(0, second.second + begin_s))
                for second in summed.seconds
            ],
        )


def draw_reports(samples: int, interval_s: float) -> list[Drawn]:
    """Reports of `samples` answers, lognormal around 5 ms, that begin at different fractions of
    a second."""
    return [_draw(samples, interval_s, one) for one in range(VARIANTS)]


def _draw(samples: int, interval_s: float, number: int) -> Drawn:
    rng = np.random.default_rng([samples, number])
    rows: Counters = np.zeros((samples, wire.COLUMNS), np.int64)
    begin_ns = number * _NS // VARIANTS
    done = begin_ns + np.sort(rng.integers(0, int(interval_s * _NS), samples))
    rows[:, wire.DONE] = done
    rows[:, wire.SENT] = done - rng.lognormal(np.log(5e6), 0.5, samples).astype(np.int64)
    rows[:, wire.DUE] = rows[:, wire.SENT] - rng.lognormal(np.log(1e5), 0.5, samples).astype(int)
    rows[:, wire.OUTCOME] = 200
    rows[:, wire.SIZE] = 300
    rows[:, wire.HASH] = rng.integers(0, 2**63, samples)
    stats = RequestStats()
    add_samples(stats, rows, [NAME])
    return Drawn(
        report.digest(rows, 0, 10**18),
        report.answers(rows, [NAME[1]]),
        stats.serialize_stats(),
        stats.total.get_stripped_report(),
    )
