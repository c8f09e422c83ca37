"""A report from a results folder alone: what is written, and what its plots are drawn from.

Whatever draws is imported by its test: matplotlib takes a second, in each process that collects.
"""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

import reports
from bakeoff.errors import ResultsError
from bakeoff.measure import histograms
from bakeoff.measure.document import BlockDocument
from bakeoff.measure.marks import RIG_LIMITED, UNEQUAL_WORK
from bakeoff.measure.records import Declared
from bakeoff.measure.samples import Sample
from bakeoff.store import ResultsFolder
from reports.claims import block_logs, claims, memory_against_throughput
from reports.data import distribution, load
from reports.markdown import markdown
from reports.work import audit_rows, use_rows
from tests.unit import fake_faults
from tests.unit.fake_run import RATE_RPS, FakeRun, data_of, fake_run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def stored(run: FakeRun, root: Path) -> ResultsFolder:
    folder = ResultsFolder.create(root, "payment_status", NOW)
    for record, intervals, samples in zip(run.records, run.intervals, run.samples, strict=True):
        folder.write_round(record, intervals, samples, None)
    folder.write_run(run.document)
    return folder


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return fake_run(blocks=3)


@pytest.fixture
def folder(run: FakeRun, tmp_path: Path) -> ResultsFolder:
    return stored(run, tmp_path / "results")


def test_a_folder_alone_makes_the_whole_report_and_the_same_again(folder: ResultsFolder) -> None:
    reports.build(folder)
    written = {
        str(path.relative_to(folder.path)): path.read_bytes()
        for path in sorted(folder.path.rglob("*"))
        if path.is_file() and "rounds" not in path.parts
    }
    assert set(written) == {
        "run.json",
        "report.html",
        "summary.md",
        "junit.xml",
        "plots/blocks.png",
        "plots/percentiles.png",
        "plots/density.png",
        "plots/traffic.png",
        "plots/resources.png",
    }
    page = written["report.html"].decode()
    assert page.count('src="data:image/svg+xml;base64,') == 5
    assert "http" not in page.replace("http-equiv", "")
    reports.build(ResultsFolder.open(folder.path))
    for name, content in written.items():
        assert (folder.path / name).read_bytes() == content


def test_the_terminal_summary_names_the_report(folder: ResultsFolder) -> None:
    assert str(folder.path / "report.html") in reports.terminal_summary(folder).plain


def test_names_of_any_kind_can_be_drawn() -> None:
    from reports.plots import all_plots

    run = fake_faults.hostile()
    rounds = [record.label for record in run.records]
    assert all("<script>" in label and "$" in label for label in rounds)
    plots = all_plots(data_of(run))
    assert len(plots) == 5
    assert all(b"<script" not in plot.svg for plot in plots)


def test_a_run_interrupted_after_one_round_still_has_a_report(tmp_path: Path) -> None:
    folder = stored(fake_faults.one_round(), tmp_path)
    reports.build(folder)
    page = (folder.path / "report.html").read_text()
    assert "did not come to its end: it has 1 round" in page
    assert not (folder.path / "plots" / "blocks.png").exists()


def test_a_damaged_histogram_is_named(folder: ResultsFolder) -> None:
    path = folder.path / "rounds" / "01-go" / "latency.hlog"
    path.write_text("Tag=fixed.latency,9,1,1,AAAA\n")
    with pytest.raises(ResultsError, match="damaged"):
        reports.build(folder)


def test_a_round_without_its_extra_files_still_counts(folder: ResultsFolder) -> None:
    for name in ("latency.hlog", "samples.csv"):
        (folder.path / "rounds" / "01-go" / name).unlink()
    reports.build(folder)
    shutil.rmtree(folder.path / "rounds")
    reports.build(folder)


def test_the_distribution_is_that_of_the_fixed_phase_of_all_rounds(
    folder: ResultsFolder, run: FakeRun
) -> None:
    from reports.plots import percentile_line, percentile_ms

    data = load(folder)
    found = distribution(data.of("go"))
    expected = histograms.merge(
        histograms.decode(one.histogram)
        for record, intervals in zip(run.records, run.intervals, strict=True)
        for one in intervals
        if record.label == "go" and one.tag == "fixed.latency"
    )
    assert found.total == histograms.count(expected)
    for percentile in (50.0, 90.0, 99.0):
        assert percentile_ms(found, percentile) == pytest.approx(
            histograms.percentiles_ms(expected, [percentile])[percentile], rel=0.002
        )
    x, y = percentile_line(found)
    assert x[-1] == pytest.approx(found.total / 10)
    assert np.all(np.diff(y) >= 0)


def test_a_block_that_was_run_again_is_not_drawn(folder: ResultsFolder, run: FakeRun) -> None:
    blocks = [*run.document.blocks[:2]]
    blocks.append(BlockDocument(order=["go", "rust"], rerun_of=1, rounds=[5, 6]))
    folder.write_run(msgspec.structs.replace(run.document, blocks=blocks))
    assert [data.record.block for data in load(folder).rounds] == [2, 2, 3, 3]


def test_cpu_is_what_was_used_between_two_samples() -> None:
    from reports.timelines import cpu_line

    def sample(t_s: float, cpu_us: int) -> Sample:
        return Sample(
            t_s=t_s,
            part="service",
            processes=1,
            rss_bytes=None,
            peak_rss_bytes=None,
            cpu_us=cpu_us,
            run_queue_us=0,
            threads=1,
            open_files=1,
            context_switches=0,
        )

    line = cpu_line([sample(1, 0), sample(1.5, 250_000), sample(2, 100), sample(3, 1_000_100)])
    assert line == [(1.5, 50.0), (3, 100.0)]


def test_a_window_that_does_not_balance_is_seen(run: FakeRun) -> None:
    assert all(row.balances and row.complete for row in audit_rows(run.records))
    record = run.records[0]
    fixed = record.phases[1]
    assert fixed.audit is not None
    for change in ({"log_lines": 1}, {"stub_calls": fixed.audit.answered + 3}):
        audit = msgspec.structs.replace(fixed.audit, **change)
        phase = msgspec.structs.replace(fixed, audit=audit)
        broken = msgspec.structs.replace(record, phases=[phase])
        assert [row.balances for row in audit_rows([broken])] == [False]


def test_a_mix_balances_by_what_it_declares(run: FakeRun) -> None:
    record = run.records[0]
    fixed = record.phases[1]
    counted = fixed.audit
    assert counted is not None

    def verdict(**changes: object) -> str:
        audit = msgspec.structs.replace(counted, **changes)
        phase = msgspec.structs.replace(fixed, audit=audit)
        (row,) = audit_rows([msgspec.structs.replace(record, phases=[phase])])
        return row.verdict

    declared = Declared(
        statements=700, stub_calls=30, most_statements=13, most_stub_calls=1, rarest=30
    )
    counts = {"declared": declared, "stub_calls": 30, "statements": {"a": 650, "b": 50}}
    assert verdict(**counts) == "yes"
    assert verdict(**{**counts, "statements": {"a": 650, "b": 77}}) == "no"
    assert verdict(**{**counts, "stub_calls": 33}) == "no"
    assert verdict(**{**counts, "stub_calls": None, "statements": None}) == "yes"
    assert verdict(log_lines=None, stub_calls=None, statements=None) == "not counted"


def test_rounds_of_a_block_that_was_run_again_are_in_no_audit(
    folder: ResultsFolder, run: FakeRun
) -> None:
    from reports.html import html

    # Once more, and once more since that was no good either.
    again = [BlockDocument(order=["go", "rust"], rerun_of=1, rounds=[n, n + 1]) for n in (3, 5)]
    blocks = [run.document.blocks[0], *again]
    folder.write_run(msgspec.structs.replace(run.document, blocks=blocks))
    data = load(folder)
    assert {one.record.number for one in data.rounds} == {5, 6}
    table = markdown(data.document, data.records).partition("## Equal work")[2]
    shown = re.findall(r"^\| (\d+) \|", table.partition("##")[0], re.MULTILINE)
    assert shown == ["5", "5", "6", "6"]
    page = html(data, []).partition('id="equal-work"')[2]
    rows = re.findall(r"<tr><td>(\d+)</td>", page.partition("</section>")[0])
    assert rows == ["5", "5", "6", "6"]


def test_use_is_the_median_over_the_rounds(run: FakeRun) -> None:
    rows = [
        row
        for row in use_rows(run.records)
        if (row.label, row.phase, row.part) == ("go", "fixed", "postgres")
    ]
    assert len(rows) == 1
    assert rows[0].rate_rps == RATE_RPS
    assert rows[0].cpu_us_per_request == pytest.approx(330, rel=0.01)
    assert rows[0].share == pytest.approx(330e-6 * RATE_RPS, rel=0.05)


def test_claim_2_compares_the_two_ratios_block_by_block(run: FakeRun) -> None:
    document = run.document
    memory = block_logs(document, "rss_steady_bytes")
    throughput = block_logs(document, "throughput_rps")
    gains = [-m - t for m, t in zip(memory, throughput, strict=True) if m and t]
    answer = memory_against_throughput(document)
    assert answer.startswith("larger: ")
    assert f"is {np.exp(np.mean(gains)):.2f} times" in answer
    assert "voided" in memory_against_throughput(fake_faults.all_voided().document)
    assert "not measured" in memory_against_throughput(
        fake_faults.second_without_figures().document
    )


@pytest.mark.parametrize("mark", [UNEQUAL_WORK, RIG_LIMITED])
def test_no_claim_is_answered_where_a_ratio_carries_no_verdict(run: FakeRun, mark: str) -> None:
    marked = {
        name: msgspec.structs.replace(ratio, marks=[*ratio.marks, mark])
        for name, ratio in run.document.ratios.items()
    }
    document = msgspec.structs.replace(run.document, ratios=marked)
    unmarked = {claim.number: claim.answer for claim in claims(run.document, [])}
    answers = {claim.number: claim.answer for claim in claims(document, [])}
    for number in (2, 6):
        assert mark in answers[number]
        assert mark not in unmarked[number]
