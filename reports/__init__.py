"""The report: from a results folder to text, Markdown, JUnit, plots and one HTML page."""

from collections.abc import Sequence

from rich.text import Text

from bakeoff.measure.footprint import FootprintDocument
from bakeoff.store import ResultsFolder
from reports import terminal
from reports.data import load
from reports.footprintmarkdown import footprint_markdown
from reports.footprintterminal import footprint_terminal
from reports.junit import junit
from reports.markdown import markdown
from reports.plot import Plot

__all__ = ["build", "check_readable", "footprint_summary", "summaries", "terminal_summary"]


def build(results: ResultsFolder) -> None:
    """Writes report.html, plots/ and summary.md, and junit.xml of a comparison, from the folder's
    own data alone.

    Raises ResultsError where the folder is damaged or cannot be written.
    """
    # Matplotlib takes as long to import as all else together, and other commands draw nothing.
    from reports.footprintplots import footprint_plots
    from reports.html import footprint_html, html
    from reports.plots import all_plots

    sizes = results.read_footprint()
    if sizes is not None and not results.has_run:
        plots = footprint_plots(sizes)
        _write(results, plots, footprint_html(sizes, plots), footprint_markdown(sizes))
        return
    data = load(results)
    plots = all_plots(data)
    summary = markdown(data.document, data.records, data.footprint)
    _write(results, plots, html(data, plots), summary)
    results.write_file("junit.xml", junit(data.document))


def check_readable(results: ResultsFolder) -> None:
    """ResultsError for a folder that `build` could not make a report of, before there is more in
    it."""
    results.read_footprint()
    if results.has_run:
        load(results)


def summaries(results: ResultsFolder) -> list[Text]:
    """What a folder has, for a terminal: its comparison, its footprint, or both."""
    found = [terminal_summary(results)] if results.has_run else []
    sizes = results.read_footprint()
    return found + ([footprint_summary(sizes, results)] if sizes is not None else [])


def terminal_summary(results: ResultsFolder) -> Text:
    """The summary of a run for a terminal; raises ResultsError where there is no run.json."""
    return terminal.summary(results.read_run(), results.path)


def footprint_summary(document: FootprintDocument, results: ResultsFolder) -> Text:
    """The summary of a footprint for a terminal; `results` is the folder that its report is in."""
    return footprint_terminal(document, results.path)


def _write(results: ResultsFolder, plots: Sequence[Plot], page: str, summary: str) -> None:
    for plot in plots:
        results.write_file(f"plots/{plot.name}.png", plot.png)
    results.write_file("report.html", page.encode())
    results.write_file("summary.md", summary.encode())
