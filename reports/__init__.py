"""The report: from a results folder to text, Markdown, JUnit, plots and one HTML page."""

from rich.text import Text

from bakeoff.store import ResultsFolder
from reports import terminal
from reports.data import load
from reports.junit import junit
from reports.markdown import markdown

__all__ = ["build", "terminal_summary"]


def build(results: ResultsFolder) -> None:
    """Writes report.html, plots/, summary.md and junit.xml from the folder's own data alone.

    Raises ResultsError where the folder is damaged or cannot be written.
    """
    # Matplotlib takes as long to import as all else together, and other commands draw nothing.
    from reports.html import html
    from reports.plots import all_plots

    data = load(results)
    plots = all_plots(data)
    for plot in plots:
        results.write_file(f"plots/{plot.name}.png", plot.png)
    results.write_file("report.html", html(data, plots).encode())
    results.write_file("summary.md", markdown(data.document, data.records).encode())
    results.write_file("junit.xml", junit(data.document))


def terminal_summary(results: ResultsFolder) -> Text:
    """The summary of a run for a terminal; raises ResultsError where there is no run.json."""
    return terminal.summary(results.read_run(), results.path)
