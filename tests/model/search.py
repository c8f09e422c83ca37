"""Visits every state that a protocol can reach, and stops at the first that must not be."""

from collections import deque
from typing import NamedTuple

from tests.model.protocol import UNPAID, Protocol, State


class Finding(NamedTuple):
    """How many states there are, and what was found wrong, with the shortest way there."""

    states: int
    wrong: str | None
    way: tuple[str, ...]


def search(protocol: Protocol) -> Finding:
    """Breadth first, so that a way to a wrong state is a shortest one."""
    first = protocol.first()
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        for label, after in protocol.steps(state):
            if after in came_from:
                continue
            came_from[after] = (state, label)
            if wrong := what_is_wrong(protocol, after):
                return Finding(len(came_from), wrong, _way(came_from, after))
            queue.append(after)
    return Finding(len(came_from), None, ())


def what_is_wrong(protocol: Protocol, state: State) -> str | None:
    """What must never be so, in this state."""
    charged = sum(outcome == "succeeded" for _, outcome in state.ledger)
    if charged > 1:
        return "charged twice"
    if state.paid != UNPAID and not charged:
        return "paid without a charge"
    if charged and state.paid == UNPAID and _nobody_will_find_out(state):
        return "a lost charge"
    if any(
        key.status == 0 and state.attempts[key.attempt].state != "pending" for key in state.keys
    ):
        return "an open key without a live attempt"
    return _what_is_said_wrongly(protocol, state)


def _nobody_will_find_out(state: State) -> bool:
    under_way = any(actor.at in ("send", "wait", "got") for actor in state.actors)
    return state.pending() is None and not under_way


def _what_is_said_wrongly(protocol: Protocol, state: State) -> str | None:
    for actor in state.actors:
        if actor.at != "done" or actor.status not in (200, 402):
            continue
        if actor.status == 200 and state.paid == UNPAID:
            return "said to be paid, and is not"
        caller = protocol.caller(actor.name)
        key = state.key(caller.key)
        if key is None:
            continue
        if key.fingerprint != caller.fingerprint:
            return "the answer to another request"
        if actor.status == 402 and key.attempt == state.paid:
            return "said to be declined, and is charged"
    return None


def _way(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    labels: list[str] = []
    while (step := came_from[state]) is not None:
        state, label = step
        labels.append(label)
    return tuple(reversed(labels))
