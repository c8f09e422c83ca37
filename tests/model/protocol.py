"""The protocol of a payment as a model: everything that can happen next, from any state.

One invoice, two callers, one sweeper, one provider. Requests to the provider may arrive at any
time, or never; answers may be lost; leases may run out under a living owner; the service may be
killed between any two steps. A mutant is the protocol with one of its rules left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

SWEEPER = "sweeper"
UNPAID = -1
Outcome = Literal["succeeded", "declined"]
OUTCOMES: tuple[Outcome, ...] = ("succeeded", "declined")


class Mutant(Enum):
    """What is done wrong."""

    NONE = "nothing"
    CLIENT_KEY = "the client's key goes to the provider, not the attempt's"
    LOOKS_FIRST = "the sweeper asks for the charge, and takes its absence for a decline"
    ONE_TRANSACTION = "nothing is stored before the call"
    FAIL_ON_ERROR = "a call that was not answered counts as declined"
    NO_FINGERPRINT = "a finished key is replayed whatever the request was"
    NO_INVOICE_LOOK = "a paid invoice is not refused"


class Attempt(NamedTuple):
    """A row of payment_attempts."""

    state: Literal["pending", "succeeded", "declined"] = "pending"
    leased: bool = True


class Key(NamedTuple):
    """A row of idempotency_keys; `status` 0 till the attempt ended."""

    name: str
    fingerprint: str
    attempt: int
    status: int = 0


class Message(NamedTuple):
    """A CreatePayment that was sent and has not arrived."""

    number: int
    provider_key: str
    attempt: int
    sender: str


class Actor(NamedTuple):
    """A caller's request or the sweeper, and how far it is. A restart forgets all of it."""

    name: str
    at: Literal["start", "send", "wait", "got", "done", "idle"]
    attempt: int = -1
    message: int = -1
    outcome: Outcome | None = None
    status: int = 0


class State(NamedTuple):
    """The database, the provider's ledger, the network, and who is where."""

    attempts: tuple[Attempt, ...]
    paid: int  # the attempt that paid the invoice
    keys: frozenset[Key]
    ledger: tuple[tuple[str, Outcome], ...]
    sent: frozenset[Message]
    actors: tuple[Actor, ...]
    sends: int = 0
    crashes: int = 0

    def key(self, name: str) -> Key | None:
        return next((key for key in self.keys if key.name == name), None)

    def pending(self) -> int | None:
        """The live attempt that has not ended."""
        found = (i for i, attempt in enumerate(self.attempts) if attempt.state == "pending")
        return next(found, None)

    def with_actor(self, actor: Actor) -> "State":
        changed = (actor if other.name == actor.name else other for other in self.actors)
        return self._replace(actors=tuple(changed))

    def with_attempt(self, index: int, attempt: Attempt) -> "State":
        before, behind = self.attempts[:index], self.attempts[index + 1 :]
        return self._replace(attempts=(*before, attempt, *behind))


class Caller(NamedTuple):
    """A client that repeats its request until it has a final answer."""

    name: str
    key: str
    fingerprint: str


class Step(NamedTuple):
    """What happens, and what is so afterwards."""

    label: str
    state: State


@dataclass(frozen=True)
class Protocol:
    """The callers, the mutant, and how much may happen."""

    callers: tuple[Caller, ...]
    mutant: Mutant = Mutant.NONE
    max_sends: int = 4
    max_crashes: int = 1
    max_attempts: int = 2

    def first(self) -> State:
        """An open invoice, nothing tried."""
        actors = (*(Actor(caller.name, "start") for caller in self.callers), _IDLE)
        return State((), UNPAID, frozenset(), (), frozenset(), actors)

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that can happen next."""
        yield from self._arrivals(state)
        for actor in state.actors:
            yield from self._acts(state, actor)
        for index, attempt in enumerate(state.attempts):
            if attempt.state == "pending" and attempt.leased:
                expired = state.with_attempt(index, attempt._replace(leased=False))
                yield Step(f"the lease of attempt {index} runs out", expired)
        yield from self._crash(state)

    def caller(self, name: str) -> Caller:
        return next(caller for caller in self.callers if caller.name == name)

    def _acts(self, state: State, actor: Actor) -> Iterator[Step]:
        match actor.at:
            case "start":
                yield from self._begin(state, self.caller(actor.name))
            case "send":
                yield from self._send(state, actor)
            case "wait":
                yield self._unknown(state, actor)
            case "got":
                yield self._finish(state, actor)
            case "idle":
                yield from self._sweep(state)
            case "done" if actor.status in (409, 504):
                again = state.with_actor(Actor(actor.name, "start"))
                yield Step(f"{actor.name} asks again", again)

    def _begin(self, state: State, caller: Caller) -> Iterator[Step]:
        """The first transaction, the look at the key before it included."""
        key = state.key(caller.key)
        finished = key is not None and key.status != 0
        blind = self.mutant is Mutant.NO_FINGERPRINT and finished
        live = state.pending()
        busy = live is not None and state.attempts[live].leased
        paid = state.paid != UNPAID and self.mutant is not Mutant.NO_INVOICE_LOOK
        if key is not None and key.fingerprint != caller.fingerprint and not blind:
            yield self._answer(state, caller.name, 422)
        elif key is not None and finished:
            yield self._answer(state, caller.name, key.status)
        elif paid or busy:
            yield self._answer(state, caller.name, 409)
        elif self.mutant is Mutant.ONE_TRANSACTION:
            yield Step(f"{caller.name} looks", state.with_actor(Actor(caller.name, "send", 0)))
        elif live is not None or len(state.attempts) < self.max_attempts:
            yield self._take(state, caller, live)

    def _take(self, state: State, caller: Caller, live: int | None) -> Step:
        if live is None:
            live = len(state.attempts)
            state = state._replace(attempts=(*state.attempts, Attempt()))
        else:
            state = state.with_attempt(live, Attempt())
        if state.key(caller.key) is None:
            key = Key(caller.key, caller.fingerprint, live)
            state = state._replace(keys=state.keys | {key})
        taken = state.with_actor(Actor(caller.name, "send", live))
        return Step(f"{caller.name} takes attempt {live}", taken)

    def _send(self, state: State, actor: Actor) -> Iterator[Step]:
        if state.sends == self.max_sends:
            return
        name = self._provider_key(state, actor)
        message = Message(state.sends, name, actor.attempt, actor.name)
        waiting = actor._replace(at="wait", message=message.number)
        sent = state._replace(sent=state.sent | {message}, sends=state.sends + 1)
        yield Step(f"{actor.name} sends {name}", sent.with_actor(waiting))

    def _provider_key(self, state: State, actor: Actor) -> str:
        if self.mutant is not Mutant.CLIENT_KEY:
            return f"att-{actor.attempt}"
        if actor.name != SWEEPER:
            return self.caller(actor.name).key
        return min(key.name for key in state.keys if key.attempt == actor.attempt)

    def _arrivals(self, state: State) -> Iterator[Step]:
        for message in state.sent:
            known = dict(state.ledger).get(message.provider_key)
            for outcome in (known,) if known else OUTCOMES:
                entry = (message.provider_key, outcome)
                ledger = state.ledger if known else (*state.ledger, entry)
                arrived = state._replace(ledger=ledger, sent=state.sent - {message})
                what = f"{message.provider_key} {outcome}"
                yield Step(f"{what}, answer lost", arrived)
                for actor in state.actors:
                    if actor.at == "wait" and actor.message == message.number:
                        got = Actor(actor.name, "got", actor.attempt, outcome=outcome)
                        yield Step(f"{what}, answered", arrived.with_actor(got))

    def _unknown(self, state: State, actor: Actor) -> Step:
        if self.mutant is Mutant.FAIL_ON_ERROR:
            return self._finish(state, actor._replace(outcome="declined"))
        if self.mutant is not Mutant.ONE_TRANSACTION:
            attempt = state.attempts[actor.attempt]
            if attempt.state == "pending":
                state = state.with_attempt(actor.attempt, attempt._replace(leased=False))
        if actor.name == SWEEPER:
            return Step("the sweeper's call fails", state.with_actor(_IDLE))
        return self._answer(state, actor.name, 504)

    def _finish(self, state: State, actor: Actor) -> Step:
        """The second transaction."""
        assert actor.outcome is not None
        if self.mutant is Mutant.ONE_TRANSACTION:
            paid = 0 if actor.outcome == "succeeded" else UNPAID
            state = state._replace(attempts=(Attempt(actor.outcome, False),), paid=paid)
        else:
            state = _ended(state, actor.attempt, actor.outcome)
        if actor.name == SWEEPER:
            label = f"the sweeper ends attempt {actor.attempt} as {actor.outcome}"
            return Step(label, state.with_actor(_IDLE))
        really = state.attempts[actor.attempt].state
        return self._answer(state, actor.name, 200 if really == "succeeded" else 402)

    def _sweep(self, state: State) -> Iterator[Step]:
        live = state.pending()
        if live is None or state.attempts[live].leased:
            return
        if self.mutant is Mutant.LOOKS_FIRST and f"att-{live}" not in dict(state.ledger):
            yield Step("the sweeper finds no charge", _ended(state, live, "declined"))
            return
        taken = state.with_attempt(live, Attempt()).with_actor(Actor(SWEEPER, "send", live))
        yield Step(f"the sweeper takes attempt {live}", taken)

    def _crash(self, state: State) -> Iterator[Step]:
        if state.crashes == self.max_crashes:
            return
        actors = tuple(
            _IDLE
            if actor.name == SWEEPER
            else actor
            if actor.at == "done"
            else Actor(actor.name, "done", status=504)
            for actor in state.actors
        )
        if actors != state.actors:
            yield Step("kill -9", state._replace(actors=actors, crashes=state.crashes + 1))

    def _answer(self, state: State, name: str, status: int) -> Step:
        answered = state.with_actor(Actor(name, "done", status=status))
        return Step(f"{name} is answered {status}", answered)


def _ended(state: State, index: int, outcome: Outcome) -> State:
    """An attempt's end with its invoice and its keys; nothing where it had ended before."""
    if state.attempts[index].state != "pending":
        return state
    status = 200 if outcome == "succeeded" else 402
    keys = frozenset(
        key._replace(status=status) if key.attempt == index and key.status == 0 else key
        for key in state.keys
    )
    paid = index if outcome == "succeeded" else state.paid
    return state.with_attempt(index, Attempt(outcome, False))._replace(keys=keys, paid=paid)


_IDLE = Actor(SWEEPER, "idle")
