"""The audit of equal work in the measured window: four independent counts of the same requests.

Answered requests = access-log lines; calls of the stub and of statements = what the workload
declares for these requests; all up to the requests in flight at the cuts. A small remainder means
that a counter missed something: a fault of the instrument. More than that is work that the
service really did or left out, and equality.py compares it with the other service's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bakeoff.errors import UsageError
from bakeoff.experiment import Work
from bakeoff.measure.measurement import Answers
from bakeoff.measure.records import Audit, Declared, Finding, PhaseRecord

INSTRUMENT = "instrument"
UNDECLARED_WORK = "work not as declared"
# A counter that loses or doubles more than this share is not believed to have done so by itself:
# the share is that of the rarest request, since a service may treat just that one differently.
REMAINDER_SHARE = 0.05


@dataclass(frozen=True)
class Remainder:
    """A count that is further from what it must be than the requests at the cuts explain."""

    what: str
    count: int
    expected: int
    allowed: int


def declared_work(answers: Mapping[str, Answers], work: Mapping[str, Work]) -> Declared:
    """What these answers must have cost, all together.

    UsageError for a request that the workload does not declare.
    """
    unknown = sorted(answers.keys() - work.keys())
    if unknown:
        raise UsageError(
            f"the Locust file sends {', '.join(map(repr, unknown))}, whose work is not declared "
            "under its workload in WORKLOADS (bakeoff/experiment.py)"
        )
    return Declared(
        statements=sum(one.answered * work[name].statements for name, one in answers.items()),
        stub_calls=sum(one.answered * work[name].grpc_calls for name, one in answers.items()),
        most_statements=max(one.statements for one in work.values()),
        most_stub_calls=max(one.grpc_calls for one in work.values()),
        rarest=min((one.answered for one in answers.values()), default=0),
    )


def remainders(phase: PhaseRecord) -> list[Remainder]:
    """The counts of a phase that do not add up; those that were not counted say nothing.

    Requests that failed or timed out may have done their work or not.
    """
    audit = phase.audit
    if audit is None or not audit.answered:
        return []
    unsure = phase.counts.failed + phase.counts.timed_out + audit.slack
    return [one for one in _counted(audit, unsure) if abs(one.count - one.expected) > one.allowed]


def audit_findings(phase: PhaseRecord, where: str) -> list[Finding]:
    """A finding for each remainder: the instrument's, which voids, or the service's own."""
    return [_finding(phase, one, where) for one in remainders(phase)]


def _counted(audit: Audit, unsure: int) -> Iterator[Remainder]:
    declared = audit.declared
    if audit.log_lines is not None:
        yield Remainder("log lines", audit.log_lines, audit.answered, unsure)
    if audit.stub_calls is not None:
        allowed = unsure * max(1, declared.most_stub_calls)
        yield Remainder("calls of the stub", audit.stub_calls, declared.stub_calls, allowed)
    if audit.statements is None:
        return
    main = {
        text: calls
        for text, calls in audit.statements.items()
        if calls > REMAINDER_SHARE * audit.answered
    }
    alike = declared.statements == declared.most_statements * audit.answered
    if alike and len(main) == declared.most_statements:
        # Each statement is then called once a request, which is more than their sum says.
        for text, calls in main.items():
            yield Remainder(f"calls of {text[:60]!r}", calls, audit.answered, unsure)
    else:
        total = sum(audit.statements.values())
        allowed = unsure * max(1, declared.most_statements)
        yield Remainder("statements", total, declared.statements, allowed)


def _finding(phase: PhaseRecord, remainder: Remainder, where: str) -> Finding:
    assert phase.audit is not None
    missed = abs(remainder.count - remainder.expected)
    voids = missed <= REMAINDER_SHARE * phase.audit.declared.rarest
    return Finding(
        rule=INSTRUMENT if voids else UNDECLARED_WORK,
        effect="voids" if voids else "warns",
        where=where,
        found=f"{remainder.count:,} {remainder.what} of {phase.audit.answered:,} answered requests",
        allowed=f"{remainder.expected:,} as declared, up to {remainder.allowed:,} at the cuts",
        advice="a counter of the rig missed something: nothing else may use this database, "
        "stub or log"
        if voids
        else "the service does other work than the workload declares",
        touches=["L", "C", "U", "R"] if voids else [],
    )
