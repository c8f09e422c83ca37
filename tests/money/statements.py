"""The contract's statements, as its page has them, on a session that may be killed at any one."""

import queue
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from bakeoff.experiment import SERVICES

PAGE = SERVICES / "contract" / "README.md"
OPTIONS = "-c lock_timeout=2s -c statement_timeout=5s -c synchronous_commit=on"
CONNECT_DEADLINE_S = 10
Row = tuple[Any, ...]


class KilledError(Exception):
    """The session is gone, and so is whoever used it: it forgets everything."""


def statements(page: Path = PAGE) -> dict[str, str]:
    """The statements by their names."""
    section = page.read_text(encoding="utf-8").split("\n## Statements\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^-- (\w+)\n(.+)$", section, re.MULTILINE))


class Executioner:
    """Kills sessions: at once, or as soon as it can, which may be within a statement."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._lock = threading.Lock()
        self._due: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def kill(self, pid: int) -> None:
        """The session is told to end when this returns."""
        with self._lock:
            self._connection.execute("SELECT pg_terminate_backend(%s)", [pid])

    def kill_soon(self, pid: int) -> None:
        """The session goes on for a moment."""
        self._due.put(pid)

    def close(self) -> None:
        """Ends."""
        self._due.put(None)
        self._thread.join()
        self._connection.close()

    def _serve(self) -> None:
        while (pid := self._due.get()) is not None:
            self.kill(pid)


class Session:
    """A connection as a service has it. With chance `peril` a statement meets its end."""

    def __init__(
        self, database_url: str, executioner: Executioner, chance: Random, peril: float
    ) -> None:
        self._texts = {name: text.encode() for name, text in statements().items()}
        self._url = database_url
        self._executioner = executioner
        self._chance = chance
        self._peril = peril
        self.kills = 0
        self._connection = self._connect()

    def run(self, name: str, *parameters: object) -> list[Row]:
        """The rows of a statement of this name; of one that returns none, a row for each that it
        changed. KilledError where the session ends."""
        return self.execute(self._texts[name], parameters)

    def execute(self, text: bytes, parameters: Sequence[object] = ()) -> list[Row]:
        """The same for any text, such as BEGIN."""
        if self._chance.random() < self._peril:
            kill = self._chance.choice([self._executioner.kill, self._executioner.kill_soon])
            kill(self._connection.info.backend_pid)
        try:
            cursor = self._connection.execute(text, parameters)
            return cursor.fetchall() if cursor.description else [()] * max(cursor.rowcount, 0)
        except psycopg.OperationalError as error:
            if not self._connection.closed:
                raise
            self.kills += 1
            raise KilledError from error

    def renew(self) -> None:
        """A new connection, in place of one that may be gone."""
        self._connection.close()
        self._connection = self._connect()

    def close(self) -> None:
        """Ends it."""
        self._connection.close()

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            self._url,
            autocommit=True,
            options=OPTIONS,
            connect_timeout=CONNECT_DEADLINE_S,
            cursor_factory=psycopg.RawCursor,
        )
