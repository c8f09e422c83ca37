"""The only module that prints: a live display on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 80


class Display:
    """Prints for a person on a terminal, or a line a stage for a log.

    With `quiet` (`--json`) everything but the result goes to standard error.
    """

    def __init__(self, quiet: bool = False) -> None:
        stream = sys.stderr if quiet else sys.stdout
        terminal = stream.isatty()
        self._console = Console(
            file=stream,
            width=None if terminal else _PLAIN_WIDTH,
            highlight=False,
            soft_wrap=not terminal,
        )
        self._terminal = terminal
        self._live: Live | None = None
        self._status = _Status()

    def result(self, text: str) -> None:
        """The result of a command, on standard output, as it is."""
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()

    def show(self, renderable: RenderableType) -> None:
        """A summary or a table."""
        self._console.print(renderable)

    def rows(self, rows: Iterable[Sequence[str]]) -> None:
        """Aligned columns; the last one wraps."""
        table = Table.grid(padding=(0, 2))
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table)

    def error(self, text: str) -> None:
        """Why the command ends, on standard error."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(Text(f"bakeoff: {text}"))

    @contextmanager
    def live(self) -> Iterator["Display"]:
        """The live display while a comparison runs."""
        if not self._terminal:
            yield self
            return
        with Live(
            self._status, console=self._console, refresh_per_second=4, transient=True
        ) as self._live:
            try:
                yield self
            finally:
                self._live = None

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text))

    def plan(self, total_s: float) -> None:
        """How long all that is left will take, in seconds."""
        self._status.ends_at = time.monotonic() + total_s

    def phase(self, where: str, name: str, duration_s: float) -> None:
        """A phase begins."""
        self._status.begin(where, name, duration_s)
        if not self._terminal:
            self._console.print(
                Text(f"{where:<24} {name:<8} {duration_s:4.0f} s   {self._status.time_left()}")
            )

    def tick(self, elapsed_s: float, rate_rps: float | None, p99_ms: float | None) -> None:
        """The running phase."""
        self._status.elapsed_s = elapsed_s
        self._status.rate_rps = rate_rps
        self._status.p99_ms = p99_ms


class _Status:
    """Block, phase, time left, rate and p99, as one block of a terminal."""

    def __init__(self) -> None:
        self.where = ""
        self.name = "getting ready"
        self.duration_s = 0.0
        self.elapsed_s = 0.0
        self.rate_rps: float | None = None
        self.p99_ms: float | None = None
        self.ends_at: float | None = None

    def begin(self, where: str, name: str, duration_s: float) -> None:
        self.where, self.name, self.duration_s = where, name, duration_s
        self.elapsed_s, self.rate_rps, self.p99_ms = 0.0, None, None

    def time_left(self) -> str:
        if self.ends_at is None:
            return ""
        minutes, seconds = divmod(max(0, round(self.ends_at - time.monotonic())), 60)
        return f"about {minutes}:{seconds:02d} left"

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row(
            Text(self.where or "bakeoff", style="bold"),
            Text(self.name),
            ProgressBar(
                total=max(self.duration_s, 1e-9),
                completed=min(self.elapsed_s, self.duration_s),
                width=18,
            ),
            Text(f"{self.rate_rps:,.0f}/s" if self.rate_rps is not None else ""),
            Text(f"p99 {self.p99_ms:.1f} ms" if self.p99_ms is not None else ""),
        )
        table.add_row(Text(self.time_left(), style="dim"), "", "", "", "")
        return table
