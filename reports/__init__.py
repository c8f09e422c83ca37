"""The report: from a results folder to text, Markdown, JUnit, plots and one HTML page."""

from rich.text import Text

from bakeoff.store import ResultsFolder
from reports import terminal

__all__ = ["terminal_summary"]


def terminal_summary(results: ResultsFolder) -> Text:
    """The summary of a run for a terminal; raises ResultsError where there is no run.json."""
    return terminal.summary(results.read_run(), results.path)
