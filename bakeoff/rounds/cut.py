"""A cut through the rig between two phases: every counter of the audit and every CPU clock, read
while no request is in flight."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from bakeoff.hosts.host import Host
from bakeoff.measure.background import split
from bakeoff.measure.records import Audit
from bakeoff.rig.payment_stub import PaymentStub
from bakeoff.rig.postgres import ExternalPostgres, Postgres
from bakeoff.rounds.sampling import Sampling

# What marks a line of the access log, whatever else stands in it.
ACCESS_LINE = '"message":"request"'
# A line is written after its answer is sent, so the last one may come a moment later.
_LAST_LINE_DEADLINE_S = 2.0
_POLL_S = 0.02


@dataclass(frozen=True)
class Cut:
    """The counters of the audit at one moment."""

    statements: Mapping[str, int]
    stub_calls: int
    log_bytes: int | None


@dataclass(frozen=True)
class Cutter:
    """Takes cuts of one round; `log_path` is on the service's host, None where its log is not
    ours."""

    postgres: Postgres | ExternalPostgres
    database: str
    stub: PaymentStub
    service_host: Host
    log_path: str | None
    sampling: Sampling

    def cut(self) -> Cut:
        """Reads everything, the clocks of the parts first and closest together."""
        self.sampling.read_all()
        return Cut(
            statements=self.postgres.statements(self.database),
            stub_calls=self._stub_calls(),
            log_bytes=self._log_bytes(),
        )

    def audit(self, before: Cut, answered: int) -> Audit:
        """The four counts since `before`; waits a moment for the log's last line."""
        lines = self._log_lines(before, answered)
        statements, background = split(
            {
                text: count - before.statements.get(text, 0)
                for text, count in self.postgres.statements(self.database).items()
                if count != before.statements.get(text, 0)
            }
        )
        return Audit(
            answered=answered,
            log_lines=lines,
            stub_calls=self._stub_calls() - before.stub_calls,
            statements=statements,
            background=background,
            # Every request of the phase is over at both cuts.
            slack=0,
        )

    def _stub_calls(self) -> int:
        return sum(self.stub.control.counters().calls.values())

    def _log_bytes(self) -> int | None:
        return None if self.log_path is None else self.service_host.file_size(self.log_path)

    def _log_lines(self, before: Cut, answered: int) -> int | None:
        if self.log_path is None or before.log_bytes is None:
            return None
        deadline = time.monotonic() + _LAST_LINE_DEADLINE_S
        while True:
            end = self.service_host.file_size(self.log_path)
            lines = self.service_host.count_lines(self.log_path, ACCESS_LINE, before.log_bytes, end)
            if lines >= answered or time.monotonic() > deadline:
                return lines
            time.sleep(_POLL_S)
