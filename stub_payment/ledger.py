"""The ledger of charges and declines: one SQLite file for all processes and across restarts."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bakeoff.errors import UsageError

BUSY_TIMEOUT_S = 10.0

# Only an executed charge is in `charges`; a key is in one of the two tables, for ever.
TABLES = ("charges", "declines")
COLUMNS = "idempotency_key, invoice_id, payment_id, amount_cents, currency"


@dataclass(frozen=True)
class Charge:
    """A charge that was asked for: a row of `charges` where executed, of `declines` where not."""

    idempotency_key: str
    invoice_id: str
    payment_id: str
    amount_cents: int
    currency: str


@dataclass(frozen=True)
class Outcome:
    """How the first charge of a key ended."""

    charge: Charge
    declined: bool = False


def create_ledger(path: Path) -> None:
    """Makes the ledger's file and table, or checks those that exist.

    Raises UsageError when the path cannot be a ledger.
    """
    try:
        connection = _connect(path)
        try:
            # The mode is kept in the file, so it is set once, before anyone shares it.
            connection.execute("PRAGMA journal_mode = WAL")
            for table in TABLES:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} (idempotency_key TEXT NOT NULL UNIQUE,"
                    " invoice_id TEXT NOT NULL, payment_id TEXT NOT NULL UNIQUE,"
                    " amount_cents INTEGER NOT NULL, currency TEXT NOT NULL)"
                )
                connection.execute(f"SELECT {COLUMNS} FROM {table} LIMIT 0")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise UsageError(
            f"--ledger {path} cannot be the ledger of charges: {error}. Name a file in an"
            " existing, writable folder, or leave --ledger out for a temporary one."
        ) from error


class Ledger:
    """One connection to a ledger that exists. Not for two threads at a time.

    A commit survives the death of the process that made it, not a power cut.
    """

    def __init__(self, path: Path) -> None:
        self._connection = _connect(path)
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def charge(self, asked: Charge) -> Outcome:
        """Executes a charge unless its key has an outcome; returns the key's first outcome.

        The caller compares: the first charge may have had other fields. Raises
        sqlite3.Error when the file fails or stays locked for BUSY_TIMEOUT_S.
        """
        return self._settle(asked, "charges", "declines")

    def decline(self, asked: Charge) -> Outcome:
        """Remembers a charge as declined unless its key has an outcome; else like `charge`."""
        return self._settle(asked, "declines", "charges")

    def count(self) -> int:
        """How many charges were executed over the ledger's whole life."""
        row = self._connection.execute("SELECT count(*) FROM charges").fetchone()
        return int(row[0])

    def close(self) -> None:
        self._connection.close()

    def _settle(self, asked: Charge, table: str, other: str) -> Outcome:
        # One statement, which has the file's write lock from its beginning: nobody comes between
        # the look at the other table and the new row.
        cursor = self._connection.execute(
            f"INSERT INTO {table} SELECT ?, ?, ?, ?, ? WHERE NOT EXISTS"
            f" (SELECT 1 FROM {other} WHERE idempotency_key = ?)"
            " ON CONFLICT (idempotency_key) DO NOTHING",
            (
                asked.idempotency_key,
                asked.invoice_id,
                asked.payment_id,
                asked.amount_cents,
                asked.currency,
                asked.idempotency_key,
            ),
        )
        if cursor.rowcount == 1:
            return Outcome(asked, table == "declines")
        return self._first(asked.idempotency_key)

    def _first(self, idempotency_key: str) -> Outcome:
        row = self._connection.execute(
            f"SELECT {COLUMNS}, 0 FROM charges WHERE idempotency_key = ?1 UNION ALL"
            f" SELECT {COLUMNS}, 1 FROM declines WHERE idempotency_key = ?1",
            (idempotency_key,),
        ).fetchone()
        return Outcome(Charge(*row[:-1]), bool(row[-1]))


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,  # each statement is its own transaction
        check_same_thread=False,  # opened in one thread, used in the ledger's own
    )
