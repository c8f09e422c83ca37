"""The audit of equal work in the measured window: four independent counts of the same requests.

Answered requests = access-log lines = calls of the stub = calls of each statement, times what
the workload declares, up to the requests in flight at the cuts. A small remainder means that a
counter missed something: a fault of the instrument. More than that is work that the service
really did or left out, and equality.py compares it with the other service's.
"""

from collections.abc import Iterator

from bakeoff.measure.records import Audit, Finding, PhaseRecord

INSTRUMENT = "instrument"
UNDECLARED_WORK = "work not as declared"
# A counter that loses or doubles more than this share is not believed to have done so by itself.
REMAINDER_SHARE = 0.05


def audit_findings(
    phase: PhaseRecord, statements: float, grpc_calls: float, where: str
) -> list[Finding]:
    """Counts of a phase that do not add up to the answered requests.

    `statements` and `grpc_calls` are what the workload declares for one request. Requests that
    failed or timed out may have done their work or not.
    """
    audit = phase.audit
    if audit is None or not audit.answered:
        return []
    unsure = phase.counts.failed + phase.counts.timed_out + audit.slack
    findings = []
    for what, count, declared in _counted(audit, statements, grpc_calls):
        remainder = count - declared * audit.answered
        if abs(remainder) <= unsure * max(1.0, declared):
            continue
        lost = abs(remainder) <= REMAINDER_SHARE * max(1.0, declared) * audit.answered
        found = f"{count:,} {what} of {audit.answered:,} answered requests"
        allowed = f"{declared:g} a request, up to {unsure:,} requests at the cuts"
        findings.append(
            _finding(phase, INSTRUMENT if lost else UNDECLARED_WORK, where, found, allowed)
        )
    return findings


def _counted(
    audit: Audit, statements: float, grpc_calls: float
) -> Iterator[tuple[str, int, float]]:
    if audit.log_lines is not None:
        yield "log lines", audit.log_lines, 1.0
    if audit.stub_calls is not None:
        yield "calls of the stub", audit.stub_calls, grpc_calls
    if audit.statements is None:
        return
    main = {
        text: calls
        for text, calls in audit.statements.items()
        if calls > REMAINDER_SHARE * audit.answered
    }
    if len(main) == statements:
        # Each statement is then called once a request, which is more than their sum says.
        for text, calls in main.items():
            yield f"calls of {text[:60]!r}", calls, 1.0
    else:
        yield "statements", sum(audit.statements.values()), statements


def _finding(phase: PhaseRecord, rule: str, where: str, found: str, allowed: str) -> Finding:
    voids = rule == INSTRUMENT
    return Finding(
        rule=rule,
        effect="voids" if voids else "warns",
        where=where,
        found=found,
        allowed=allowed,
        advice="a counter of the rig missed something: nothing else may use this database, "
        "stub or log"
        if voids
        else "the service does other work than the workload declares",
        touches=["L", "C", "U", "R"] if voids else [],
    )
