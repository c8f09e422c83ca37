"""What stands beside a figure, and the shares of requests that call for it."""

from bakeoff.measure.records import PhaseRecord

# Of the arrivals of a phase: over this share without a free connection it is "client-limited".
WAITED_SHARE = 0.01
# Of the requests sent: over this share of errors and timeouts a rate is "failed".
ERROR_SHARE = 0.001

SHARED_MACHINE = "shared machine"
INDICATIVE = "indicative"
AT_LEAST = "at least"
CLIENT_LIMITED = "client-limited"
CLOSED_MODEL = "closed model"
SHORT_WINDOW = "CPU reads under 5 s apart"
EXPLORED = "explored"
FEW_ROUNDS = "few rounds"
RIG_LIMITED = "rig-limited"
UNEQUAL_WORK = "unequal work"
# Of a service that the rig did not start.
ELSEWHERE = "runs elsewhere: not restarted, its database not reset, its work not counted"
# A ratio with one of these gets no verdict word.
NO_VERDICT = frozenset((INDICATIVE, SHORT_WINDOW, AT_LEAST, RIG_LIMITED))


def phase_marks(phase: PhaseRecord) -> list[str]:
    """What the reader of any latency or rate of this phase has to know."""
    counts = phase.counts
    marks = []
    if phase.model == "closed":
        marks.append(CLOSED_MODEL)
    elif counts.arrivals and counts.waited > WAITED_SHARE * counts.arrivals:
        marks.append(CLIENT_LIMITED)
    if counts.sent and counts.failed + counts.timed_out > ERROR_SHARE * counts.sent:
        rate = phase.rate_rps if phase.rate_rps is not None else phase.achieved_rps
        marks.append(f"failed at {rate:,.0f} req/s")
    return marks
