"""The audit of a mix of requests: what they must have cost together, and who is to blame."""

from typing import Any

import msgspec
import pytest

from bakeoff.errors import UsageError
from bakeoff.experiment import WORKLOADS, Work
from bakeoff.measure.audit import INSTRUMENT, UNDECLARED_WORK, audit_findings, declared_work
from bakeoff.measure.generator import ARRIVALS
from bakeoff.measure.measurement import Answers, Counts
from bakeoff.measure.records import Audit, Declared, PhaseRecord
from bakeoff.measure.validity import phase_findings
from tests.unit.healthy import LARGE, REQUESTS, measured, phase

READS, WRITES = 14_000, 1_000
WORK = {
    "read": Work(statements=1),
    "write": Work(statements=4, grpc_calls=1, own_bodies=True),
    "never sent": Work(statements=99),
}
ANSWERS = {
    "read": Answers(answered=READS, response_bytes=READS, body_hash_sum=1),
    "write": Answers(answered=WRITES, response_bytes=WRITES, body_hash_sum=None),
}
STATEMENTS = {"select": READS, "update": WRITES, "BEGIN": WRITES, "COMMIT": WRITES, "lock": WRITES}


def mixed(**changes: Any) -> PhaseRecord:
    """A phase of reads and writes in which all is counted as declared, but for the changes."""
    audit = Audit(
        answered=REQUESTS,
        declared=declared_work(ANSWERS, WORK),
        log_lines=REQUESTS,
        stub_calls=WRITES,
        statements=STATEMENTS,
        slack=2,
    )
    return phase(requests=ANSWERS, audit=msgspec.structs.replace(audit, **changes))


def test_the_work_of_a_mix_is_that_of_its_answers() -> None:
    assert declared_work(ANSWERS, WORK) == Declared(
        statements=READS + 4 * WRITES,
        stub_calls=WRITES,
        most_statements=99,
        most_stub_calls=1,
        rarest=WRITES,
    )
    nothing = declared_work({}, WORK)
    assert (nothing.statements, nothing.stub_calls, nothing.rarest) == (0, 0, 0)


def test_a_request_that_is_not_declared_is_named() -> None:
    with pytest.raises(UsageError, match="'GET /other'"):
        declared_work({**ANSWERS, "GET /other": ANSWERS["read"]}, WORK)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_counts_something(workload: str) -> None:
    assert all(work.statements >= 1 for work in WORKLOADS[workload].values())


def test_a_mix_as_declared_is_without_findings() -> None:
    assert audit_findings(mixed(), "here") == []
    assert audit_findings(mixed(statements={**STATEMENTS, "sweep": 150}), "here") == []


@pytest.mark.parametrize(
    ("changes", "rule", "found"),
    [
        # Of 4 x 15,000 it is little, but it is one for every write: the service does it.
        ({"statements": {**STATEMENTS, "more": WRITES}}, UNDECLARED_WORK, "19,000 statements"),
        ({"stub_calls": 0}, UNDECLARED_WORK, "0 calls of the stub"),
        ({"stub_calls": WRITES - 40}, INSTRUMENT, "960 calls of the stub"),
        ({"log_lines": REQUESTS - 3}, INSTRUMENT, "14,997 log lines"),
    ],
)
def test_what_a_mix_does_else_is_found(changes: dict[str, Any], rule: str, found: str) -> None:
    (finding,) = audit_findings(mixed(**changes), "here")
    assert finding.rule == rule
    assert finding.effect == ("voids" if rule == INSTRUMENT else "warns")
    assert finding.found.startswith(found)


def test_what_is_not_counted_is_not_judged() -> None:
    blind = mixed(log_lines=None, stub_calls=None, statements=None)
    assert audit_findings(blind, "here") == []


def test_arrivals_are_not_the_requests_that_follow() -> None:
    """Half of them follow another one of the same arrival, as in a sequence of two."""

    def rules(followed: int) -> set[str]:
        counts = Counts(
            scheduled=2 * REQUESTS, sent=2 * REQUESTS, answered=2 * REQUESTS, followed=followed
        )
        return {one.rule for one in phase_findings(measured(counts=counts), LARGE, "here")}

    assert ARRIVALS in rules(0)
    assert ARRIVALS not in rules(REQUESTS)
