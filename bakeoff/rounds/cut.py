"""A cut through the rig between two phases: every counter of the audit and every CPU clock, read
while no request is in flight."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from bakeoff.hosts.host import Host
from bakeoff.measure.background import split
from bakeoff.measure.records import Audit, Declared
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

    statements: Mapping[str, int] | None
    stub_calls: int | None
    log_bytes: int | None


@dataclass(frozen=True)
class Cutter:
    """Takes cuts of one round. Where the service is not the rig's, `postgres`, `stub` and
    `log_path`, which is on the service's host, are None: those counts cannot be had."""

    postgres: Postgres | ExternalPostgres | None
    database: str
    stub: PaymentStub | None
    service_host: Host
    log_path: str | None
    sampling: Sampling

    def cut(self) -> Cut:
        """Reads everything, the clocks of the parts first and closest together."""
        self.sampling.read_all()
        return Cut(
            statements=self._statements(),
            stub_calls=self._stub_calls(),
            log_bytes=self._log_bytes(),
        )

    def audit(self, before: Cut, answered: int, declared: Declared) -> Audit:
        """The four counts since `before`; waits a moment for the log's last line."""
        lines = self._log_lines(before, answered)
        calls, stub_calls = self._statements(), self._stub_calls()
        statements: dict[str, int] | None = None
        background: dict[str, int] = {}
        if calls is not None and before.statements is not None:
            statements, background = split(
                {
                    text: count - before.statements.get(text, 0)
                    for text, count in calls.items()
                    if count != before.statements.get(text, 0)
                }
            )
        if stub_calls is not None and before.stub_calls is not None:
            stub_calls -= before.stub_calls
        return Audit(
            answered=answered,
            declared=declared,
            log_lines=lines,
            stub_calls=stub_calls,
            statements=statements,
            background=background,
            # Every request of the phase is over at both cuts.
            slack=0,
        )

    def _statements(self) -> dict[str, int] | None:
        return None if self.postgres is None else self.postgres.statements(self.database)

    def _stub_calls(self) -> int | None:
        if self.stub is None:
            return None
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
