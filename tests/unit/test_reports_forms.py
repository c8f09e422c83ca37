"""Markdown, JUnit and HTML: the same facts, each form in its own golden file, names inert."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from bakeoff.measure import histograms
from reports.html import html
from reports.junit import junit
from reports.markdown import markdown
from reports.markup import escape
from tests.unit import fake_faults, golden
from tests.unit.fake_run import FakeRun, data_of, fake_run

RUNS = [
    ("finished", fake_run),
    ("one_round", fake_faults.one_round),
    ("no_round", fake_faults.no_round),
    ("all_voided", fake_faults.all_voided),
    ("second_without_figures", fake_faults.second_without_figures),
    ("hostile", fake_faults.hostile),
    ("null_test", fake_faults.null_test),
]
VOID_ELEMENTS = {"meta", "img", "br"}

each_run = pytest.mark.parametrize(("name", "make"), RUNS)


class Page(HTMLParser):
    """A page's elements, attributes, visible text, and the table rows by metric."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self.rows: dict[str, list[list[str]]] = {}
        self._cells: list[str] | None = None
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(key, value or "") for key, value in attrs]
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)
        if tag == "tr":
            name = dict(attrs).get("data-metric")
            self._cells = [] if name else None
            if name and self._cells is not None:
                self.rows.setdefault(name, []).append(self._cells)
        elif tag in ("th", "td") and self._cells is not None:
            self._cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if not text or self._open[-1] == "style":
            return
        self.lines.append(text)
        if self._cells:
            self._cells[-1] += f"{text}\n"


@each_run
def test_markdown_is_as_it_was_looked_over(
    name: str, make: Callable[[], FakeRun], update_golden: bool
) -> None:
    run = make()
    golden.check(f"summary_{name}.md", markdown(run.document, run.records), update_golden)


@each_run
def test_the_pages_text_is_as_it_was_looked_over(
    name: str, make: Callable[[], FakeRun], update_golden: bool
) -> None:
    page = Page(html(data_of(make()), []))
    assert "script" not in page.tags
    assert [key for key, _ in page.attributes if key.startswith("on")] == []
    assert [value for key, value in page.attributes if key in ("src", "href")] == []
    golden.check(f"report_{name}.txt", "\n".join(page.lines) + "\n", update_golden)


@each_run
def test_junit_has_a_case_for_each_check_and_one_for_validity(
    name: str, make: Callable[[], FakeRun]
) -> None:
    document = make().document
    suite = ElementTree.fromstring(junit(document))
    names = [case.get("name") or "" for case in suite.findall("testcase")]
    assert len(names) == len(document.checks) + 1
    assert names[-1] == "validity"
    failures = len(suite.findall("testcase/failure"))
    assert suite.get("tests") == str(len(names))
    assert suite.get("failures") == str(failures)


def test_junit_fails_whatever_did_not_pass() -> None:
    suite = ElementTree.fromstring(junit(fake_run().document))
    passed, no_data, valid = suite.findall("testcase")
    assert passed.find("failure") is None
    failure = no_data.find("failure")
    assert failure is not None
    assert failure.get("type") == "no data"
    assert "no capacity search" in (failure.get("message") or "")
    assert valid.find("failure") is None


def test_junit_fails_a_run_without_any_figure_that_stands() -> None:
    suite = ElementTree.fromstring(junit(fake_faults.all_voided().document))
    failure = suite.findall("testcase")[-1].find("failure")
    assert failure is not None
    assert failure.get("type") == "invalid"


def test_each_percentile_stands_under_its_own_name_in_the_page() -> None:
    run = fake_run()
    rows = Page(html(data_of(run), [])).rows
    for column, label in enumerate(("go", "rust"), 1):
        for name, percentile in (("p50_ms", 50), ("p90_ms", 90), ("p95_ms", 95), ("p99_ms", 99)):
            logs = []
            for record, intervals in zip(run.records, run.intervals, strict=True):
                if record.label == label:
                    merged = histograms.merge(
                        histograms.decode(one.histogram)
                        for one in intervals
                        if one.tag == "fixed.latency"
                    )
                    value = histograms.percentiles_ms(merged, [percentile])[percentile]
                    assert value is not None
                    logs.append(math.log(value))
            expected = math.exp(math.fsum(logs) / len(logs))
            for cells in rows[name]:
                assert cells[0].lower().startswith(f"p{percentile} latency")
                shown = float(cells[column].splitlines()[0].removesuffix(" ms"))
                assert shown == pytest.approx(expected, rel=0.006)


def test_a_voided_figure_is_struck_out_and_one_that_is_not_had_says_why() -> None:
    voided = html(data_of(fake_faults.all_voided()), [])
    assert "<s><b>1.92 ms</b>" in voided
    assert 'class="mark bad">voided: samples lost<' in voided
    rows = Page(html(data_of(fake_faults.second_without_figures()), [])).rows
    for cells in rows["p50_ms"]:
        assert cells[2].startswith("-\nthe service runs elsewhere")


def test_the_posts_figures_are_named_as_the_posts() -> None:
    page = Page(html(data_of(fake_run()), []))
    throughput = page.rows["throughput_rps"][0]
    assert [cell.strip() for cell in throughput[4:]] == ["18,400 req/s", "27,800 req/s", "1.51"]
    text = " ".join(page.lines)
    assert "the post says: Go" in text
    assert "of one that is 65 and 38 us a request, of four that is 260 and 152" in text


def test_a_reversed_pair_turns_the_posts_ratio_too() -> None:
    page = Page(html(data_of(fake_run(("rust", "go"))), []))
    assert page.rows["throughput_rps"][0][-1].strip() == "0.66"


@pytest.mark.parametrize("character", list("\\`*_[]|~<>$#&"))
def test_markdown_has_no_character_left_that_means_something(character: str) -> None:
    escaped = escape(f"a{character}b")
    assert escaped in (f"a\\{character}b", "a&lt;b", "a&gt;b", "a&amp;b")
    assert "\n" not in escape("a\nb")
