"""The ledger of charges: one SQLite file for all processes and across restarts."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bakeoff.errors import UsageError

BUSY_TIMEOUT_S = 10.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS charges (
    idempotency_key TEXT NOT NULL UNIQUE,
    invoice_id      TEXT NOT NULL,
    payment_id      TEXT NOT NULL UNIQUE,
    amount_cents    INTEGER NOT NULL,
    currency        TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class Charge:
    """One executed charge: a row of the table `charges`."""

    idempotency_key: str
    invoice_id: str
    payment_id: str
    amount_cents: int
    currency: str


def create_ledger(path: Path) -> None:
    """Makes the ledger's file and table, or checks those that exist.

    Raises UsageError when the path cannot be a ledger.
    """
    try:
        connection = _connect(path)
        try:
            # The mode is kept in the file, so it is set once, before anyone shares it.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(SCHEMA)
            connection.execute(
                "SELECT idempotency_key, invoice_id, payment_id, amount_cents, currency"
                " FROM charges LIMIT 0"
            )
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

    def charge(self, charge: Charge) -> Charge:
        """Executes a charge unless its key has one; returns the key's first charge.

        The caller compares: the first charge may have had other fields. Raises
        sqlite3.Error when the file fails or stays locked for BUSY_TIMEOUT_S.
        """
        cursor = self._connection.execute(
            "INSERT INTO charges VALUES (?, ?, ?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING",
            (
                charge.idempotency_key,
                charge.invoice_id,
                charge.payment_id,
                charge.amount_cents,
                charge.currency,
            ),
        )
        if cursor.rowcount == 1:
            return charge
        row = self._connection.execute(
            "SELECT idempotency_key, invoice_id, payment_id, amount_cents, currency"
            " FROM charges WHERE idempotency_key = ?",
            (charge.idempotency_key,),
        ).fetchone()
        return Charge(*row)

    def count(self) -> int:
        """How many charges were executed over the ledger's whole life."""
        row = self._connection.execute("SELECT count(*) FROM charges").fetchone()
        return int(row[0])

    def close(self) -> None:
        self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,  # each statement is its own transaction
        check_same_thread=False,  # opened in one thread, used in the ledger's own
    )
