"""Equal work, between the two services of a block: same counts a request, same answers.

A difference is a fact about the services: it withholds the verdict words and voids nothing.
"""

from bakeoff.measure.records import Finding, PhaseRecord, RoundRecord

UNEQUAL_WORK = "unequal work"
UNEQUAL_BODIES = "unequal bodies"
# With as many answers on both sides the comparison is exact; else the shares may differ by this,
# as the requests drawn are not the same ones.
SHARE_TOLERANCE = 0.01
# Statements and calls of a service's own, such as its sweeper's.
BACKGROUND_SHARE = 0.01


def block_findings(first: RoundRecord, second: RoundRecord) -> list[Finding]:
    """What differs between the measured requests of two services in one block."""
    pair = [
        next((phase for phase in record.phases if phase.name == "fixed"), None)
        for record in (first, second)
    ]
    one, other = pair
    if one is None or other is None or not one.counts.answered or not other.counts.answered:
        return []
    where = f"block {first.block}: {first.label} and {second.label}, fixed phase"
    # The same schedule, all of it answered on both sides, is the same requests.
    exact = (
        first.seed == second.seed
        and len(
            {
                one.counts.scheduled,
                one.counts.answered,
                other.counts.scheduled,
                other.counts.answered,
            }
        )
        == 1
    )
    return [*_work(one, other, where), *_answers(one, other, exact, where)]


def _work(one: PhaseRecord, other: PhaseRecord, where: str) -> list[Finding]:
    findings = []
    for what, counts in (
        ("SQL statements", [_statements(phase) for phase in (one, other)]),
        ("calls of the stub", [_a_request(phase, "stub_calls") for phase in (one, other)]),
        ("log lines", [_a_request(phase, "log_lines") for phase in (one, other)]),
    ):
        a, b = counts
        if a is None or b is None:
            continue
        if abs(a - b) > max(BACKGROUND_SHARE * max(a, b), _cut_share(one), _cut_share(other)):
            findings.append(_unequal(UNEQUAL_WORK, where, f"{what} a request: {a:.3f} and {b:.3f}"))
    return findings


def _answers(one: PhaseRecord, other: PhaseRecord, exact: bool, where: str) -> list[Finding]:
    findings = []
    statuses = sorted(set(one.statuses) | set(other.statuses))
    for status in statuses:
        a, b = (p.statuses.get(status, 0) / max(1, sum(p.statuses.values())) for p in (one, other))
        if abs(a - b) > SHARE_TOLERANCE:
            findings.append(
                _unequal(UNEQUAL_BODIES, where, f"status {status}: {a:.1%} and {b:.1%} of answers")
            )
    sizes = [phase.response_bytes / phase.counts.answered for phase in (one, other)]
    if abs(sizes[0] - sizes[1]) > (0 if exact else SHARE_TOLERANCE * max(sizes)):
        found = f"bytes a response: {sizes[0]:.2f} and {sizes[1]:.2f}"
        findings.append(_unequal(UNEQUAL_BODIES, where, found))
    elif exact and one.body_hash_sum != other.body_hash_sum:
        found = "as many bytes, but other bodies (their hashes differ)"
        findings.append(_unequal(UNEQUAL_BODIES, where, found))
    return findings


def _unequal(rule: str, where: str, found: str) -> Finding:
    return Finding(
        rule=rule,
        effect="warns",
        where=where,
        found=found,
        allowed="the same of both services",
        advice="make the services do the same work; if they differ on purpose, "
        "--allow-unequal-work gives the verdict words back",
        touches=["L", "C", "U", "R"],
    )


def _statements(phase: PhaseRecord) -> float | None:
    audit = phase.audit
    if audit is None or audit.statements is None or not audit.answered:
        return None
    return sum(audit.statements.values()) / audit.answered


def _a_request(phase: PhaseRecord, name: str) -> float | None:
    audit = phase.audit
    count = None if audit is None else getattr(audit, name)
    if audit is None or count is None or not audit.answered:
        return None
    return float(count) / audit.answered


def _cut_share(phase: PhaseRecord) -> float:
    """How far a count a request may be off through requests in flight at the cuts."""
    return 0.0 if phase.audit is None else phase.audit.slack / max(1, phase.audit.answered)
