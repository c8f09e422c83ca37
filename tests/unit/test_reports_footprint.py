"""A footprint in every form of the report, alone and beside a comparison."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import reports
from bakeoff.errors import ResultsError
from bakeoff.measure.footprint import Amount, FootprintDocument, FootprintRatio, ImageBuild
from bakeoff.measure.footprintsummary import footprint_document
from bakeoff.store import ResultsFolder
from reports import footprint, footprintclaims
from reports.footprintmarkdown import footprint_markdown
from reports.footprintterminal import footprint_terminal
from reports.html import footprint_html
from tests.unit import golden
from tests.unit.fake_footprint import fake_footprint
from tests.unit.fake_run import fake_run
from tests.unit.test_reports_forms import Page

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = ("<script>$x", "b|`c`")


def finished() -> FootprintDocument:
    return footprint_document(fake_footprint(), finished=True)


def skipped() -> FootprintDocument:
    return footprint_document(fake_footprint(skipped=True), finished=True)


def interrupted() -> FootprintDocument:
    facts = fake_footprint()
    del facts.runs[9:]
    return footprint_document(facts, finished=False)


def hostile() -> FootprintDocument:
    return footprint_document(fake_footprint(HOSTILE), finished=True)


def alone() -> FootprintDocument:
    return footprint_document(fake_footprint(("rust",)), finished=True)


FORMS = [
    ("finished", finished),
    ("skipped", skipped),
    ("interrupted", interrupted),
    ("hostile", hostile),
    ("alone", alone),
]
each_form = pytest.mark.parametrize(("name", "make"), FORMS)


@each_form
def test_the_terminal_is_as_it_was_looked_over(
    name: str, make: Callable[[], FootprintDocument], update_golden: bool
) -> None:
    text = footprint_terminal(make(), Path("results/x")).plain
    assert all(len(line) <= 80 and line.isascii() for line in text.splitlines())
    golden.check(f"footprint_{name}.txt", text + "\n", update_golden)


@each_form
def test_markdown_is_as_it_was_looked_over(
    name: str, make: Callable[[], FootprintDocument], update_golden: bool
) -> None:
    golden.check(f"footprint_{name}.md", footprint_markdown(make()), update_golden)


@each_form
def test_the_pages_text_is_as_it_was_looked_over(
    name: str, make: Callable[[], FootprintDocument], update_golden: bool
) -> None:
    page = Page(footprint_html(make(), []))
    assert "script" not in page.tags
    assert [value for key, value in page.attributes if key in ("src", "href")] == []
    golden.check(f"footprint_page_{name}.txt", "\n".join(page.lines) + "\n", update_golden)


def test_each_row_stands_beside_what_the_post_says() -> None:
    rows = Page(footprint_html(finished(), [])).rows
    lines = [cell.strip() for cell in rows["lines_total"][0]]
    assert lines == ["Total", "4,300", "4,730", "1.10", "1,680", "1,530", "0.91"]
    (cold,) = rows["cold_release_build"]
    assert [cell.splitlines()[0] for cell in cold] == [
        *("Cold release build", "20.0 s", "204 s", "10.20", "12 s", "240 s", "20.00")
    ]
    (leaf,) = rows["leaf_dev_build"]
    assert leaf[-1].strip() == "7.50"
    assert rows["cold_check"][0][-3:] == ["-\n"] * 3


def test_a_reversed_pair_turns_the_posts_ratio_too() -> None:
    document = footprint_document(fake_footprint(("rust", "go")), finished=True)
    rows = Page(footprint_html(document, [])).rows
    assert rows["cold_release_build"][0][-1].strip() == "0.05"
    assert not footprintclaims.is_of_the_post(document)


@pytest.mark.parametrize(
    ("built_at", "same_sources", "says"),
    [
        ("2026-01-02", True, "of these sources, built 2026-01-02 by buildah 1; a made base"),
        ("2026-01-02", False, "of an older build, built 2026-01-02 by buildah 1; a made base"),
        (None, None, "of sources not known, built at a time not known by buildah 1; a made base"),
    ],
)
def test_an_image_has_beside_its_size_what_it_was_built_of(
    built_at: str | None, same_sources: bool | None, says: str
) -> None:
    facts = fake_footprint()
    facts.services["go"].sizes["image_bytes"] = Amount(value=18_000_000)
    facts.services["go"].image = ImageBuild(
        built_at=built_at, built_with="buildah 1; a made base", same_sources=same_sources
    )
    document = footprint_document(facts, finished=True)
    (row,) = [row for row in footprint.line_rows(document) if row.name == "image_bytes"]
    assert [(cell.text, cell.remarks) for cell in row.cells] == [
        ("18.0 MB", (says,)),
        ("-", ("no image was built",)),
    ]
    assert says in Page(footprint_html(document, [])).rows["image_bytes"][0][1]
    assert says in footprint_markdown(document)
    terminal = footprint_terminal(document, Path("results/x")).plain
    assert f"a: {says}" in " ".join(terminal.split())


def _with_cold(low: float | None, value: float, high: float | None) -> FootprintDocument:
    ratio = FootprintRatio(
        of="rust", over="go", value=value, low=low, high=high, pairs=3, reason="few"
    )
    document = finished()
    return msgspec.structs.replace(
        document, ratios={**document.ratios, "cold_release_build": ratio}
    )


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (9.0, 11.0, "10.00 times (95 % interval 9.00 to 11.00, 3 pairs), below the post's nearly"),
        (21.0, 30.0, "above the post's nearly 20"),
        (15.0, 30.0, "not told from the post's nearly 20"),
        (None, None, "10.00 times (no interval: few)"),
    ],
)
def test_claim_4_is_answered_by_the_interval(
    low: float | None, high: float | None, says: str
) -> None:
    assert f"{says}" in footprintclaims.claim_4(_with_cold(low, 10.0, high))


def test_claim_4_of_the_incremental_builds_has_a_range() -> None:
    assert "dev build, leaf changed 5.10 times" in footprintclaims.claim_4(finished())
    assert footprintclaims.claim_4(finished()).count("below the post's 6 to 8") == 2
    facts = fake_footprint()
    for index, run in enumerate(facts.runs):
        if run.service == "rust":
            longer = msgspec.structs.replace(run, wall_s=1.4 * run.wall_s)
            facts.runs[index] = longer
    answer = footprintclaims.claim_4(footprint_document(facts, finished=True))
    assert answer.count("as the post's 6 to 8") == 2
    assert "not measured (skipped with --skip cold)" in footprintclaims.claim_4(skipped())


def test_a_machine_that_was_not_quiet_is_named() -> None:
    document = finished()
    assert not [note for note in footprint.notes(document) if "not quiet" in note]
    busy = [msgspec.structs.replace(run, other_cores=0.7) for run in document.runs]
    (note,) = (
        note
        for note in footprint.notes(msgspec.structs.replace(document, runs=busy))
        if "not quiet" in note
    )
    assert "0.700 cores" in note
    # Postgres is busy during the tests, and belongs to them.
    tests = [
        msgspec.structs.replace(run, other_cores=0.7 if "test" in run.operation else 0.01)
        for run in document.runs
    ]
    quiet = msgspec.structs.replace(document, runs=tests)
    assert not [note for note in footprint.notes(quiet) if "not quiet" in note]


def test_claim_5_names_both_counts() -> None:
    answer = footprintclaims.claim_5(finished())
    assert answer.startswith("Rust has 1.10 times the lines of code of Go, 4,730 against 4,300")
    assert answer.endswith("the post has 0.91")


def test_a_folder_with_a_footprint_alone_has_its_report(tmp_path: Path) -> None:
    folder = ResultsFolder.create(tmp_path, "footprint", NOW, rounds=False)
    folder.write_footprint(finished())
    assert (tmp_path / "latest").readlink() == Path(folder.path.name)
    again = ResultsFolder.open(tmp_path / "latest")
    reports.build(again)
    assert {str(path.relative_to(again.path)) for path in again.path.rglob("*.*")} == {
        *("footprint.json", "report.html", "summary.md"),
        *("plots/lines.png", "plots/compile_times.png"),
    }
    page = (again.path / "report.html").read_text()
    assert page.count('src="data:image/svg+xml;base64,') == 2
    (summary,) = reports.summaries(again)
    assert str(again.path / "report.html") in summary.plain


def test_beside_a_comparison_it_is_in_the_same_report(tmp_path: Path) -> None:
    run = fake_run(blocks=3)
    folder = ResultsFolder.create(tmp_path, "payment_status", NOW)
    for record, intervals, samples in zip(run.records, run.intervals, run.samples, strict=True):
        folder.write_round(record, intervals, samples, None)
    folder.write_run(run.document)
    reports.build(folder)
    without = (folder.path / "summary.md").read_text()
    assert "bakeoff footprint --into" in without.replace("\\", "")
    folder.write_footprint(finished())
    reports.build(folder)
    page = Page((folder.path / "report.html").read_text())
    assert {"throughput_rps", "lines_total", "cold_release_build"} <= page.rows.keys()
    summary = (folder.path / "summary.md").read_text()
    for text in ("\n".join(page.lines), summary):
        assert "below the post's nearly 20" in text
        assert "Rust has 1.10 times the lines of code" in text
    assert (folder.path / "plots" / "compile_times.png").is_file()
    assert len(reports.summaries(folder)) == 2


def test_names_of_any_kind_can_be_drawn() -> None:
    from reports.footprintplots import footprint_plots

    for document in (hostile(), alone(), interrupted()):
        plots = footprint_plots(document)
        assert [plot.name for plot in plots] == ["lines", "compile_times"]
        assert all(b"<script" not in plot.svg for plot in plots)
    nothing = footprint_document(fake_footprint(), finished=False)
    bare = msgspec.structs.replace(
        nothing,
        services={
            name: msgspec.structs.replace(
                one,
                times={key: msgspec.structs.replace(t, runs_s=[]) for key, t in one.times.items()},
            )
            for name, one in nothing.services.items()
        },
    )
    assert [plot.name for plot in footprint_plots(bare)] == ["lines"]


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ({"affinity": [0, 1], "cpu_quota": None}, "2 cores"),
        ({"affinity": [0], "cpu_quota": None}, "1 of 2 cores"),
        ({"affinity": [0, 1], "cpu_quota": 1.5}, "1.5 of 2 cores"),
        ({"affinity": [0], "cpu_quota": 1.5}, "1 of 2 cores"),
        ({"affinity": [0, 1], "cpu_quota": 4.0}, "2 cores"),
        ({}, "2 cores"),
    ],
)
def test_the_cores_are_those_that_the_builds_could_use(host: dict[str, Any], says: str) -> None:
    facts = fake_footprint()
    facts.environment["hosts"]["local"] |= host
    document = footprint_document(facts, finished=True)
    line = f"local: Example CPU @ 2.00GHz, {says}, 8.00 GB, Linux 6.1.0"
    assert line in footprint.setup(document)
    for text in (
        footprint_terminal(document, Path("results/x")).plain,
        footprint_markdown(document),
        "\n".join(Page(footprint_html(document, [])).lines),
    ):
        assert line in text


def test_a_folder_without_a_report_is_refused_before_there_is_more_in_it(tmp_path: Path) -> None:
    folder = ResultsFolder.create(tmp_path, "payment_status", NOW)
    with pytest.raises(ResultsError, match=r"run\.json"):
        reports.check_readable(folder)
    run = fake_run(blocks=1)
    folder.write_run(run.document)
    reports.check_readable(folder)
    (folder.path / "footprint.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"footprint\.json"):
        reports.check_readable(folder)
