"""Equal work, between the two services of a block: same counts a request, same answers.

A difference is a fact about the services: it withholds the verdict words and voids nothing.
"""

from collections.abc import Iterator

from bakeoff.measure.measurement import Answers
from bakeoff.measure.records import Audit, Finding, PhaseRecord, RoundRecord

UNEQUAL_WORK = "unequal work"
UNEQUAL_BODIES = "unequal bodies"
# With as many answers on both sides the comparison is exact; else the shares may differ by this,
# as the requests drawn are not the same ones.
SHARE_TOLERANCE = 0.01
# Statements and calls of a service's own, a request, which none of the counts leaves out.
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
    """What one service does more of than the other, statements by their text."""
    a, b = one.audit, other.audit
    if a is None or b is None or not a.answered or not b.answered:
        return []
    cuts = max(a.slack / a.answered, b.slack / b.answered)
    findings = []
    for what, counts in _counts(a, b):
        if counts[0] is None or counts[1] is None:
            continue
        shares = counts[0] / a.answered, counts[1] / b.answered
        if abs(shares[0] - shares[1]) > max(BACKGROUND_SHARE * max(1.0, *shares), cuts):
            found = f"{what} a request: {shares[0]:.3f} and {shares[1]:.3f}"
            findings.append(_unequal(UNEQUAL_WORK, where, found))
    return findings


def _counts(a: Audit, b: Audit) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    yield "calls of the stub", (a.stub_calls, b.stub_calls)
    yield "log lines", (a.log_lines, b.log_lines)
    if a.statements is not None and b.statements is not None:
        for text in sorted(a.statements.keys() | b.statements.keys()):
            yield f"calls of {text[:60]!r}", (a.statements.get(text, 0), b.statements.get(text, 0))


def _answers(one: PhaseRecord, other: PhaseRecord, exact: bool, where: str) -> list[Finding]:
    findings = []
    statuses = sorted(set(one.statuses) | set(other.statuses))
    for status in statuses:
        a, b = (p.statuses.get(status, 0) / max(1, sum(p.statuses.values())) for p in (one, other))
        if abs(a - b) > SHARE_TOLERANCE:
            findings.append(
                _unequal(UNEQUAL_BODIES, where, f"status {status}: {a:.1%} and {b:.1%} of answers")
            )
    for name in sorted(one.requests.keys() | other.requests.keys()):
        found = _bodies(one.requests.get(name), other.requests.get(name), exact)
        if found is not None:
            findings.append(_unequal(UNEQUAL_BODIES, where, f"{name}: {found}"))
    return findings


def _bodies(one: Answers | None, other: Answers | None, exact: bool) -> str | None:
    """How the answers of one name differ, or None."""
    if one is None or other is None:
        # Of few requests, one service may have answered none of a kind by chance.
        return "answered by one of the two services only" if exact else None
    if exact and one.answered != other.answered:
        return f"{one.answered:,} and {other.answered:,} answers"
    sizes = [answers.response_bytes / answers.answered for answers in (one, other)]
    if abs(sizes[0] - sizes[1]) > (0 if exact else SHARE_TOLERANCE * max(sizes)):
        return f"bytes a response: {sizes[0]:.2f} and {sizes[1]:.2f}"
    if exact and one.body_hash_sum != other.body_hash_sum:
        return "as many bytes, but other bodies (their hashes differ)"
    return None


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
