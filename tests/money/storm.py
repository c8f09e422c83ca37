"""Callers, sweepers, a provider that loses answers, and killed sessions, all at once on a real
Postgres: what comes of it as a history."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from random import Random
from typing import TypeVar
from uuid import uuid4

import psycopg

from tests.money.books import PENDING, stored
from tests.money.clients import BODY, OTHER_BODY
from tests.money.history import FINAL, Call, History
from tests.money.payer import AMOUNT_CENTS, CURRENCY, Payer, Provider
from tests.money.statements import Executioner, KilledError, Session

CALLERS, SWEEPERS = 12, 2
# Six callers an invoice, with three keys, and one who takes the first for another body; the last
# invoice of each few has one caller alone, so that the sweeper comes first.
KEYS_OF_CALLERS = (0, 0, 0, 1, 1, 2)
# Of so many invoices one is asked for at a time, so that callers meet.
WINDOW = 4
PERIL = 0.012
DEADLINE_S = 120.0
SWEEP_S = 0.02
# How long a caller waits at most where another is at it, and where it was told nothing.
BUSY_S, UNKNOWN_S = 0.03, 0.5
Result = TypeVar("Result")
MakePayer = Callable[[str, Session, Provider], Payer]
Job = tuple[str, str, bytes]


@dataclass(frozen=True)
class Outcome:
    """What came of a storm; `events` counts kills, deadlocks and the like."""

    history: History
    events: Counter[str]
    provider_calls: int


class Storm:
    """One storm over new invoices of a new account."""

    def __init__(
        self, database_url: str, count: int, make: MakePayer, chance: Random, late: float
    ) -> None:
        self._url = database_url
        self._make = make
        self._chance = chance
        self._account, invoices = _new_invoices(database_url, count)
        self._jobs = _jobs(invoices, chance)
        self._provider = Provider(Random(chance.getrandbits(64)), late)
        self._calls: list[Call] = []
        self._events = Counter[str]()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def run(self) -> Outcome:
        """Until every job has its answer and nothing is pending. An attempt that is left pending
        after a deadline is in the history."""
        with closing(Executioner(self._url)) as executioner:
            sweepers = [self._thread(self._sweep, executioner) for _ in range(SWEEPERS)]
            callers = [self._thread(self._call, executioner) for _ in range(CALLERS)]
            for thread in callers:
                thread.join()
            self._provider.at_rest()
            self._settle()
            self._over.set()
            for thread in sweepers:
                thread.join()
        if self._errors:
            raise self._errors[0]
        invoices, attempts, keys = stored(self._url, self._account)
        ledger = (self._provider.charges(), self._provider.declined())
        history = History(self._calls, *ledger, invoices, attempts, keys)
        return Outcome(history, self._events, self._provider.calls)

    def _thread(
        self, work: Callable[[Payer, Random], None], executioner: Executioner
    ) -> threading.Thread:
        chance = Random(self._chance.getrandbits(64))

        def run() -> None:
            try:
                with closing(Session(self._url, executioner, chance, PERIL)) as session:
                    work(self._make(self._account, session, self._provider), chance)
                    self._count("kills", session.kills)
            except BaseException as error:  # noqa: BLE001
                self._errors.append(error)
                self._jobs.clear()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def _call(self, payer: Payer, chance: Random) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while job := self._next_job():
            while not _is_last(call := self._pay(payer, job)) or chance.random() < 0.5:
                assert time.monotonic() < end_s, f"{job} has no end: {call}"
                unknown = call.status in (None, 504)
                time.sleep(chance.uniform(0, UNKNOWN_S if unknown else BUSY_S))

    def _pay(self, payer: Payer, job: Job) -> Call:
        began_s = time.monotonic()
        said = self._guarded(payer, lambda: payer.pay(*job))
        call = Call(*job, began_s, time.monotonic(), None)
        if said is not None:
            call = call._replace(status=said.status, content=said.content, replayed=said.replayed)
        with self._lock:
            self._calls.append(call)
        return call

    def _sweep(self, payer: Payer, _: Random) -> None:
        while not self._over.is_set():
            if not self._guarded(payer, payer.sweep):
                self._over.wait(SWEEP_S)

    def _guarded(self, payer: Payer, work: Callable[[], Result]) -> Result | None:
        """None where the session ended, or the database undid what was under way."""
        try:
            return work()
        except KilledError:
            pass
        except psycopg.errors.DeadlockDetected:
            self._count("deadlocks")
        except psycopg.errors.UniqueViolation:
            self._count("unique violations")
        payer.session.renew()
        return None

    def _settle(self) -> None:
        end_s = time.monotonic() + DEADLINE_S
        with psycopg.connect(self._url, autocommit=True) as connection:
            while connection.execute(PENDING, [self._account]).fetchone() != (0,):
                if time.monotonic() > end_s or self._errors:
                    return
                time.sleep(SWEEP_S)

    def _next_job(self) -> Job | None:
        with self._lock:
            return self._jobs.pop() if self._jobs else None

    def _count(self, event: str, times: int = 1) -> None:
        with self._lock:
            self._events[event] += times


def _is_last(call: Call) -> bool:
    """Whether there is nothing more to ask for."""
    return call.status in (*FINAL, 422, 500) or call.problem == "already_paid"


def _jobs(invoices: list[str], chance: Random) -> list[Job]:
    jobs: list[Job] = []
    for start in range(0, len(invoices), WINDOW):
        some: list[Job] = []
        *crowded, alone = invoices[start : start + WINDOW]
        some.append((alone, str(uuid4()), BODY))
        for invoice in crowded:
            keys = [str(uuid4()) for _ in range(3)]
            some += [(invoice, keys[number], BODY) for number in KEYS_OF_CALLERS]
            some.append((invoice, keys[0], OTHER_BODY))
        chance.shuffle(some)
        jobs += some
    return jobs


def _new_invoices(database_url: str, count: int) -> tuple[str, list[str]]:
    account, subscription = str(uuid4()), str(uuid4())
    invoices = [str(uuid4()) for _ in range(count)]
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO accounts (id, number, name) SELECT %s, max(number) + 1, 'storm'"
            " FROM accounts",
            [account],
        )
        connection.execute(
            "INSERT INTO subscriptions (id, account_id, plan, status, price_cents, currency)"
            " VALUES (%s, %s, 'team', 'active', %s, %s)",
            [subscription, account, AMOUNT_CENTS, CURRENCY],
        )
        connection.cursor().executemany(
            "INSERT INTO invoices (id, subscription_id, account_id, status, amount_cents, currency)"
            " VALUES (%s, %s, %s, 'open', %s, %s)",
            [[invoice, subscription, account, AMOUNT_CENTS, CURRENCY] for invoice in invoices],
        )
    return account, invoices
