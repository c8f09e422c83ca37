"""Every validity rule strikes on the instrument that it is for, and is silent on a healthy one."""

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest

from bakeoff.measure.audit import INSTRUMENT, UNDECLARED_WORK
from bakeoff.measure.books import (
    SAMPLES_LOST,
    UNBALANCED,
    UNKNOWN_CPU,
    WORKER_LOST,
    WORKERS_DISAGREE,
)
from bakeoff.measure.figures import RIG_SATURATED, Measured, round_figures
from bakeoff.measure.generator import (
    ARRIVALS,
    GENERATOR_BEHIND,
    GENERATOR_LATE,
    GENERATOR_STARVED,
)
from bakeoff.measure.marks import CLIENT_LIMITED
from bakeoff.measure.measurement import Counts, Sums
from bakeoff.measure.records import Audit, CoreUse, Finding
from bakeoff.measure.validity import (
    ANOTHER_PROCESS,
    PART_DIED,
    STEAL,
    STUB_SATURATED,
    STUB_SLOW,
    RigFacts,
    other_process_findings,
    part_died,
    phase_findings,
)
from tests.unit.healthy import (
    LARGE,
    REQUESTS,
    SMALL,
    STATEMENTS,
    histogram,
    latency_us,
    measured,
    part,
    phase,
    worker,
)

replace = msgspec.structs.replace
WHERE = "round 1 (go), fixed"


def cores(idle: float = 0.89, steal: float = 0.0, count: int = 8) -> list[CoreUse]:
    return [
        CoreUse(core=n, busy=0.99 - idle - steal, idle=idle, steal=steal, irq=0.01)
        for n in range(count)
    ]


def found_in(subject: Measured, facts: RigFacts = LARGE) -> dict[str, Finding]:
    findings = phase_findings(subject, facts, WHERE)
    assert all(finding.where == WHERE for finding in findings)
    return {finding.rule: finding for finding in findings}


def with_lateness(values_us: Any) -> Measured:
    return Measured(phase(), histogram(latency_us()), histogram(values_us))


def counts(**changes: int) -> Counts:
    return replace(phase().counts, **changes)


def audit(**changes: Any) -> Audit:
    whole = phase().audit
    assert whole is not None
    return replace(whole, **changes)


def parts(**changes: Any) -> dict[str, Any]:
    return {**phase().parts, **changes}


def workers(**changes: Any) -> list[Any]:
    return [worker(0), replace(worker(1), **changes)]


def test_a_healthy_phase_is_without_findings() -> None:
    assert found_in(measured()) == {}


def test_a_healthy_phase_on_a_small_machine_is_without_findings() -> None:
    quiet = measured(cores=cores(idle=0.59, count=2))
    assert found_in(quiet, SMALL) == {}


LATE = with_lateness(np.where(np.arange(REQUESTS) % 50 == 0, 2000, 60))

# One broken instrument after the other: the rule, its effect, and what it touches.
BROKEN: dict[str, tuple[Measured, str, str, str]] = {
    "late at p99": (LATE, GENERATOR_LATE, "voids", "L"),
    "waits for a core": (
        measured(parts=parts(generator=replace(part(40), run_queue_us=500 * REQUESTS))),
        GENERATOR_STARVED,
        "voids",
        "L",
    ),
    "never sent": (
        measured(counts=counts(sent=14_800, never_sent=200, answered=14_800)),
        GENERATOR_BEHIND,
        "voids",
        "LC",
    ),
    "no free connection": (measured(counts=counts(waited=151)), CLIENT_LIMITED, "warns", "LC"),
    "too few arrivals": (
        measured(counts=counts(scheduled=14_500, sent=14_500, answered=14_500)),
        ARRIVALS,
        "voids",
        "L",
    ),
    "too many arrivals": (
        measured(counts=counts(scheduled=15_500, sent=15_500, answered=15_500)),
        ARRIVALS,
        "voids",
        "L",
    ),
    "stub slow at p50": (measured(stub_excess_p50_ms=0.6), STUB_SLOW, "voids", "LC"),
    "stub slow at p99": (measured(stub_excess_p99_ms=1.6), STUB_SLOW, "voids", "LC"),
    "stub saturated": (measured(parts=parts(stub=part(710))), STUB_SATURATED, "voids", "LC"),
    "rig saturated": (measured(cores=cores(idle=0.09)), RIG_SATURATED, "warns", "C"),
    "some steal": (measured(cores=cores(steal=0.03)), STEAL, "warns", "LCUR"),
    "much steal": (measured(cores=cores(steal=0.11)), STEAL, "voids", "LCUR"),
    "values lost": (measured(workers=workers(merged=7_000)), SAMPLES_LOST, "voids", "LCUR"),
    "reports lost": (measured(workers=workers(gaps=1)), SAMPLES_LOST, "voids", "LCUR"),
    "worker gone": (measured(workers=[worker(0)]), WORKER_LOST, "voids", "LC"),
    "worker silent": (measured(workers=workers(final=False)), WORKER_LOST, "voids", "LC"),
    "worker slow": (measured(workers=workers(p99_ms=16.5)), WORKERS_DISAGREE, "warns", "L"),
    "scheduled is not sent": (
        measured(counts=counts(scheduled=REQUESTS + 1)),
        UNBALANCED,
        "voids",
        "LCU",
    ),
    "sent is not ended": (
        measured(counts=counts(answered=REQUESTS - 1)),
        UNBALANCED,
        "voids",
        "LCU",
    ),
    "times do not add up": (
        measured(sums=Sums(latency_us=67_500_000, lateness_us=1_500_000, service_us=65_900_000)),
        UNBALANCED,
        "voids",
        "LCU",
    ),
    "more statuses than requests": (
        measured(statuses={"200": REQUESTS, "500": 3}),
        UNBALANCED,
        "voids",
        "LCU",
    ),
    "workers do not add up": (
        measured(workers=workers(counts=Counts(scheduled=7500, sent=7500, answered=7499))),
        UNBALANCED,
        "voids",
        "LCU",
    ),
    "histogram is short": (
        Measured(phase(), histogram(latency_us()[:-1]), measured().lateness),
        UNBALANCED,
        "voids",
        "LCU",
    ),
    "unknown CPU": (measured(cores=cores(idle=0.5)), UNKNOWN_CPU, "warns", "LCU"),
    "log lines lost": (
        measured(audit=audit(log_lines=REQUESTS - 3)),
        INSTRUMENT,
        "voids",
        "LCUR",
    ),
    "calls doubled": (
        measured(audit=audit(stub_calls=REQUESTS + 3)),
        INSTRUMENT,
        "voids",
        "LCUR",
    ),
    "one statement short": (
        measured(audit=audit(statements={**STATEMENTS, "select invoice": REQUESTS - 3})),
        INSTRUMENT,
        "voids",
        "LCUR",
    ),
    "a third statement": (
        measured(audit=audit(statements={**STATEMENTS, "select now()": REQUESTS})),
        UNDECLARED_WORK,
        "warns",
        "",
    ),
    "half of the calls": (
        measured(audit=audit(stub_calls=REQUESTS // 2)),
        UNDECLARED_WORK,
        "warns",
        "",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_instrument_is_named(fault: str) -> None:
    subject, rule, effect, touches = BROKEN[fault]
    found = found_in(subject)
    assert rule in found, found
    assert found[rule].effect == effect
    assert "".join(found[rule].touches) == touches
    assert found[rule].found
    assert found[rule].allowed
    assert found[rule].advice


def test_every_rule_is_provoked_by_a_test() -> None:
    provoked = {rule for _, rule, _, _ in BROKEN.values()} | {ANOTHER_PROCESS, PART_DIED}
    assert provoked == {
        "generator late",
        "generator starved",
        "generator fell behind",
        "client-limited",
        "arrivals not as planned",
        "stub slow",
        "stub saturated",
        "rig's cores saturated",
        "steal",
        "samples lost",
        "a worker was lost",
        "workers disagree",
        "books do not balance",
        "CPU not accounted for",
        "instrument",
        "work not as declared",
        "another process",
        "a part died",
    }


def edge(**changes: Any) -> Measured:
    return measured(**changes)


WITHIN = {
    "lateness at a tenth of p99": with_lateness(np.where(np.arange(REQUESTS) % 50 == 0, 1200, 60)),
    "arrivals within 4 sigma": edge(
        counts=counts(scheduled=14_520, sent=14_520, answered=14_520),
        sums=Sums(),
        audit=None,
        statuses={"200": 14_520},
        workers=[
            replace(
                worker(n),
                counts=Counts(scheduled=7260, sent=7260, answered=7260),
            )
            for n in range(2)
        ],
    ),
    "one in a hundred waited": edge(
        counts=counts(waited=150),
        workers=[replace(worker(n), counts=replace(worker(n).counts, waited=75)) for n in range(2)],
    ),
    "stub at its limits": edge(stub_excess_p50_ms=0.5, stub_excess_p99_ms=1.2),
    "steal of 2 %": edge(cores=cores(steal=0.02)),
    "rig idle 10 % of the time": edge(cores=cores(idle=0.1001), parts={}),
    "counts within the cuts": edge(audit=audit(log_lines=REQUESTS - 2, stub_calls=REQUESTS + 2)),
    "a sweeper's statement": edge(audit=audit(statements={**STATEMENTS, "sweep": 40})),
    "workers 20 % apart": edge(workers=workers(p99_ms=10.5)),
}


@pytest.mark.parametrize("case", WITHIN)
def test_what_is_allowed_is_not_named(case: str) -> None:
    subject = WITHIN[case]
    found = found_in(subject)
    # A changed count of arrivals also changes how many latencies there should be.
    found.pop(UNBALANCED, None) if case == "arrivals within 4 sigma" else None
    assert found == {}


@pytest.mark.parametrize("fault", ["late at p99", "waits for a core", "stub slow at p50"])
def test_under_four_cores_these_rows_warn(fault: str) -> None:
    subject, rule, _, _ = BROKEN[fault]
    finding = found_in(subject, SMALL)[rule]
    assert finding.effect == "warns"
    assert "shared machine" in finding.advice


def test_under_four_cores_a_saturated_rig_says_so() -> None:
    finding = found_in(measured(cores=cores(idle=0.05, count=2)), SMALL)[RIG_SATURATED]
    assert finding.effect == "warns"
    assert "shared machine" in finding.advice


def test_under_four_cores_p50_is_void_where_the_lateness_is_a_tenth_of_it() -> None:
    late = with_lateness(np.full(REQUESTS, 450))
    (finding,) = [f for f in phase_findings(late, SMALL, WHERE) if f.rule == GENERATOR_LATE]
    assert (finding.effect, finding.metrics) == ("voids", ["p50_ms"])
    figures = round_figures({"fixed": late}, [finding], shared=True)
    voided = {name for name, figure in figures.items() if figure.voided_by}
    assert voided == {"p50_ms"}
    assert figures["p50_ms"].value == pytest.approx(4.0, rel=0.002)
    # Where there are cores enough, half a millisecond at p99 is within the rule.
    assert found_in(late, LARGE) == {}


def test_a_slow_service_is_a_result_and_no_fault_of_the_generator() -> None:
    """Its requests hang until they time out: sent, and not answered."""
    subject = measured(counts=counts(answered=10_000, timed_out=4_900, in_flight=100))
    found = found_in(subject)
    assert GENERATOR_BEHIND not in found
    assert ARRIVALS not in found


def test_a_request_that_never_ends_unbalances_the_books() -> None:
    def lost(count: int) -> bool:
        """Whether the books notice so many sent requests that have no end."""
        found = measured(counts=counts(answered=15_000 - count, in_flight=count))
        return any("never ended" in f.found for f in phase_findings(found, LARGE, WHERE))

    assert lost(1)
    assert not lost(0)


def test_parts_that_share_cores_say_so_on_any_machine() -> None:
    assert not LARGE.parts_share_cores
    assert SMALL.parts_share_cores
    unpinned = dataclasses.replace(LARGE, rig_cores=LARGE.service_cores | LARGE.rig_cores)
    assert unpinned.parts_share_cores
    # The rules stay as strict as they are with cores enough.
    assert not unpinned.shared


def test_failed_requests_may_have_done_their_work_or_not() -> None:
    lame = measured(
        counts=counts(answered=14_000, failed=1_000),
        audit=audit(answered=14_000, stub_calls=14_300, log_lines=15_000),
    )
    assert not {INSTRUMENT, UNDECLARED_WORK} & set(found_in(lame))


def test_a_closed_model_has_no_schedule_to_keep() -> None:
    closed = Measured(
        phase(name="closed", model="closed", rate_rps=None, offered_rps=None),
        LATE.latency,
        LATE.lateness,
    )
    assert found_in(closed) == {}


def test_a_finding_of_one_phase_leaves_the_other_alone() -> None:
    fixed = measured()
    closed = measured(name="closed", model="closed", workers=[worker(0)])
    findings = phase_findings(closed, LARGE, WHERE)
    figures = round_figures({"fixed": fixed, "closed": closed}, findings, shared=False)
    voided = {name for name, figure in figures.items() if figure.voided_by}
    assert voided == {"throughput_rps"}


def test_lost_samples_void_everything_measured_in_the_phase() -> None:
    lost = measured(workers=workers(merged=7_000))
    figures = round_figures({"fixed": lost}, phase_findings(lost, LARGE, WHERE), shared=False)
    assert all(
        figure.voided_by == [SAMPLES_LOST]
        for figure in figures.values()
        if figure.value is not None
    )
    assert figures["cpu_us_per_request"].value == pytest.approx(400)


def test_another_process_is_named() -> None:
    used = {(17, "updatedb"): 0.3, (18, "cron"): 0.01}
    (finding,) = other_process_findings(used, "fixed", WHERE)
    assert finding.rule == ANOTHER_PROCESS
    assert finding.found == "updatedb (process 17) used 30 % of a core"


def test_a_dead_part_voids_the_round() -> None:
    finding = part_died("postgres", "signal 9", "round 1 (go)")
    figures = round_figures({"fixed": measured()}, [finding], shared=False)
    assert finding.rule == PART_DIED
    assert all(f.voided_by == [PART_DIED] for f in figures.values() if f.value is not None)


@pytest.mark.parametrize("stolen", [LARGE.service_cores, LARGE.rig_cores])
def test_steal_counts_where_it_happens(stolen: frozenset[int]) -> None:
    """Half of the cores lose 12 %: 6 % of the machine, and yet too much for who runs there."""
    used = [
        CoreUse(core=n, busy=0.05, idle=0.82 if n in stolen else 0.94, steal=steal, irq=0.01)
        for n in range(8)
        for steal in [0.12 if n in stolen else 0.0]
    ]
    assert found_in(measured(cores=used))[STEAL].effect == "voids"
