"""The equal-work audit and the CPU of every part, row by row from the rounds' books."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bakeoff.measure.audit import remainders
from bakeoff.measure.records import Audit, PhaseRecord, RoundRecord

MEASURED = ("fixed", "closed")


@dataclass(frozen=True)
class AuditRow:
    """Four counts of the same requests in one measured phase; None where one was not counted.

    `declared_statements` and `declared_calls` are what the workload says that they cost;
    `balances` is the validity rules' own word.
    """

    round_number: int
    label: str
    phase: str
    answered: int
    log_lines: int | None
    stub_calls: int | None
    statements: tuple[tuple[str, int], ...] | None
    declared_statements: int
    declared_calls: int
    slack: int
    response_bytes: int
    balances: bool

    @property
    def complete(self) -> bool:
        """Whether every count is there."""
        return None not in (self.log_lines, self.stub_calls, self.statements)

    @property
    def statement_calls(self) -> int | None:
        """All statements together."""
        return None if self.statements is None else sum(calls for _, calls in self.statements)

    @property
    def verdict(self) -> str:
        """The last column: of a service that runs elsewhere nothing is counted."""
        if (self.log_lines, self.stub_calls, self.statements) == (None, None, None):
            return "not counted"
        return "yes" if self.balances else "no"


@dataclass(frozen=True)
class UseRow:
    """What a part of the rig used in a phase: medians over the rounds of one label.

    `share` is of one core; `cpu_us_per_request` is over the answered requests.
    """

    label: str
    phase: str
    rate_rps: float | None
    part: str
    cpu_us_per_request: float | None
    share: float
    run_queue_share: float


def measured_phases(records: Iterable[RoundRecord]) -> Iterable[tuple[RoundRecord, PhaseRecord]]:
    """The measured phases of all rounds, in order."""
    for record in records:
        for phase in record.phases:
            if phase.name in MEASURED:
                yield record, phase


def audit_rows(records: Iterable[RoundRecord]) -> list[AuditRow]:
    """A row for each audited phase."""
    return [
        _audit_row(record, phase, phase.audit)
        for record, phase in measured_phases(records)
        if phase.audit is not None
    ]


def use_rows(records: Sequence[RoundRecord]) -> list[UseRow]:
    """CPU of each part by label, phase and rate, in the order they are first seen."""
    groups: dict[tuple[str, str, float | None, str], list[PhaseRecord]] = {}
    for record, phase in measured_phases(records):
        for part in phase.parts:
            key = (record.label, phase.name, phase.rate_rps, part)
            groups.setdefault(key, []).append(phase)
    return [_use_row(*key, phases) for key, phases in groups.items()]


def _audit_row(record: RoundRecord, phase: PhaseRecord, audit: Audit) -> AuditRow:
    return AuditRow(
        round_number=record.number,
        label=record.label,
        phase=phase.name,
        answered=audit.answered,
        log_lines=audit.log_lines,
        stub_calls=audit.stub_calls,
        statements=None if audit.statements is None else tuple(audit.statements.items()),
        declared_statements=audit.declared.statements,
        declared_calls=audit.declared.stub_calls,
        slack=audit.slack,
        response_bytes=phase.response_bytes,
        balances=not remainders(phase),
    )


def _use_row(
    label: str, name: str, rate_rps: float | None, part: str, phases: Sequence[PhaseRecord]
) -> UseRow:
    uses = [phase.parts[part] for phase in phases]
    requests = [phase.counts.answered for phase in phases]
    costs = [use.cpu_us / count for use, count in zip(uses, requests, strict=True) if count]
    walls_us = [max(use.wall_s, 1e-9) * 1e6 for use in uses]
    return UseRow(
        label=label,
        phase=name,
        rate_rps=rate_rps,
        part=part,
        cpu_us_per_request=statistics.median(costs) if costs else None,
        share=statistics.median(u.cpu_us / w for u, w in zip(uses, walls_us, strict=True)),
        run_queue_share=statistics.median(
            u.run_queue_us / w for u, w in zip(uses, walls_us, strict=True)
        ),
    )
