"""The results folder: what is written is read back, and a stop in the middle loses only that."""

import gzip
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from bakeoff.errors import ResultsError
from bakeoff.measure.document import RunDocument
from bakeoff.measure.footprintsummary import footprint_document
from bakeoff.measure.histogramlog import logged_intervals, parse_log
from bakeoff.measure.measurement import (
    LATENCY_DIGITS,
    LATENCY_MAXIMUM_US,
    LATENCY_MINIMUM_US,
    Interval,
)
from bakeoff.store import ResultsFolder, run_schema
from tests.unit.fake_footprint import fake_footprint
from tests.unit.fake_run import FakeRun, encoded, fake_run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCHEMA = Path(__file__).parents[2] / "docs" / "run.schema.json"


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return fake_run(blocks=1)


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder.create(tmp_path / "results", "payment_status", NOW)


def test_the_folder_is_named_by_time_and_workload_and_latest_points_to_it(
    tmp_path: Path, run: FakeRun
) -> None:
    root = tmp_path / "results"
    first = ResultsFolder.create(root, "payment_status", NOW)
    second = ResultsFolder.create(root, "payment_status", NOW)
    assert first.path.name == "2026-01-02T03-04-05-payment_status"
    assert second.path.name == "2026-01-02T03-04-05-payment_status-2"
    first.write_run(run.document)
    # The second has measured nothing yet.
    assert (root / "latest").readlink() == Path(first.path.name)
    second.write_run(run.document)
    assert (root / "latest").readlink() == Path(second.path.name)
    assert ResultsFolder.open(root / "latest").path == second.path.resolve()


def test_a_round_comes_back_as_it_was_written(folder: ResultsFolder, run: FakeRun) -> None:
    for record, intervals, samples in reversed(
        list(zip(run.records, run.intervals, run.samples, strict=True))
    ):
        path = folder.write_round(record, intervals, samples, b"a line\n")
        assert gzip.decompress((path / "service.log.gz").read_bytes()) == b"a line\n"
    assert [path.name for path in sorted((folder.path / "rounds").iterdir())] == [
        "01-go",
        "02-rust",
    ]
    again = ResultsFolder.open(folder.path)
    assert again.read_rounds() == run.records
    assert again.read_samples(run.records[1]) == run.samples[1]
    assert again.read_intervals(run.records[0]) == run.intervals[0]


def test_samples_have_exactly_the_documented_columns(folder: ResultsFolder, run: FakeRun) -> None:
    path = folder.write_round(run.records[0], [], run.samples[0], None)
    with (path / "samples.csv").open() as file:
        header = file.readline()
    assert header == (
        "t_s,part,processes,rss_bytes,peak_rss_bytes,cpu_us,run_queue_us,"
        "threads,open_files,context_switches\n"
    )


def test_memory_that_is_not_sampled_stays_none(folder: ResultsFolder, run: FakeRun) -> None:
    sample = msgspec.structs.replace(run.samples[0][0], rss_bytes=None, peak_rss_bytes=None)
    folder.write_round(run.records[0], [], [sample], None)
    assert folder.read_samples(run.records[0]) == [sample]


def test_the_histogram_log_is_read_by_hdrhistograms_own_reader(
    folder: ResultsFolder, run: FakeRun
) -> None:
    path = folder.write_round(run.records[0], run.intervals[0], [], None)
    reference = HdrHistogram(LATENCY_MINIMUM_US, LATENCY_MAXIMUM_US, LATENCY_DIGITS)
    reader = HistogramLogReader(str(path / "latency.hlog"), reference)
    found = []
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found.append(histogram)
    reader.close()
    assert [histogram.get_tag() for histogram in found] == [i.tag for i in run.intervals[0]]
    counts = [HdrHistogram.decode(i.histogram.encode()).total_count for i in run.intervals[0]]
    assert [histogram.total_count for histogram in found] == counts
    started_s = datetime.fromisoformat(run.records[0].started_at).timestamp()
    assert found[0].get_start_time_stamp() / 1000 == pytest.approx(
        started_s + run.intervals[0][0].start_s, abs=0.002
    )


def test_intervals_of_a_phase_are_moved_to_the_rounds_clock() -> None:
    interval = Interval(start_s=2.0, completed=1, latency=encoded([5]), lateness=encoded([1]))
    lines = logged_intervals("fixed", 10.0, [interval])
    assert [(line.tag, line.start_s) for line in lines] == [
        ("fixed.latency", 12.0),
        ("fixed.lateness", 12.0),
    ]


@pytest.mark.parametrize("line", ["1,2,3,4", "Tag=a,x,1,1,HIST", "Tag=a,1"])
def test_a_damaged_histogram_log_names_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_log(f"#comment\n{line}\n")


def test_the_log_of_a_round_is_kept_compressed(folder: ResultsFolder, run: FakeRun) -> None:
    path = folder.write_round(run.records[0], [], [], b"one\ntwo\n")
    assert gzip.decompress((path / "service.log.gz").read_bytes()) == b"one\ntwo\n"


def test_a_finished_round_is_never_written_over(folder: ResultsFolder, run: FakeRun) -> None:
    folder.write_round(run.records[0], [], [], None)
    with pytest.raises(ResultsError, match="never written over"):
        folder.write_round(run.records[0], [], [], None)


def test_a_partial_round_is_passed_over_and_replaced(folder: ResultsFolder, run: FakeRun) -> None:
    left = folder.path / "rounds" / ".01-go.partial"
    left.mkdir()
    (left / "phases.json").write_text("{")
    assert folder.read_rounds() == []
    folder.write_round(run.records[0], [], [], None)
    assert folder.read_rounds() == [run.records[0]]
    assert not left.exists()


@pytest.mark.parametrize("label", ["../escape", "a/b", "", ".hidden"])
def test_a_label_cannot_leave_the_folder(folder: ResultsFolder, run: FakeRun, label: str) -> None:
    record = msgspec.structs.replace(run.records[0], label=label)
    with pytest.raises(ResultsError, match="folder's name"):
        folder.write_round(record, [], [], None)


def test_the_document_comes_back_as_it_was_written(folder: ResultsFolder, run: FakeRun) -> None:
    folder.write_run(msgspec.structs.replace(run.document, finished=False))
    folder.write_run(run.document)
    assert folder.read_run() == run.document
    assert not list(folder.path.glob("*.partial"))


def test_an_unknown_schema_is_named(folder: ResultsFolder, run: FakeRun) -> None:
    folder.write_run(run.document)
    path = folder.path / "run.json"
    path.write_text(path.read_text().replace("bakeoff.run/1", "bakeoff.run/9"))
    with pytest.raises(ResultsError, match=r"bakeoff\.run/9.*reads 'bakeoff\.run/1'"):
        folder.read_run()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "bakeoff.run/1"}'])
def test_a_damaged_document_is_named(folder: ResultsFolder, content: str) -> None:
    (folder.path / "run.json").write_text(content)
    with pytest.raises(ResultsError, match=r"run\.json is damaged"):
        folder.read_run()


def test_a_damaged_round_is_named(folder: ResultsFolder, run: FakeRun) -> None:
    path = folder.write_round(run.records[0], [], [], None)
    (path / "phases.json").write_text("{}")
    (path / "samples.csv").write_text("t_s,part\nx,y\n")
    (path / "latency.hlog").write_text("nonsense\n")
    with pytest.raises(ResultsError, match=r"phases\.json is damaged"):
        folder.read_rounds()
    with pytest.raises(ResultsError, match=r"samples\.csv is damaged"):
        folder.read_samples(run.records[0])
    with pytest.raises(ResultsError, match=r"latency\.hlog is damaged: line 1"):
        folder.read_intervals(run.records[0])


def test_what_is_no_results_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there is no results folder"):
        ResultsFolder.open(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match="is no results folder"):
        ResultsFolder.open(tmp_path)
    (tmp_path / "rounds").mkdir()
    with pytest.raises(ResultsError, match=r"run\.json"):
        ResultsFolder.open(tmp_path).read_run()


def test_a_footprint_stands_until_another_is_finished(tmp_path: Path) -> None:
    first, second = (
        footprint_document(fake_footprint(repetitions=count), finished=True) for count in (3, 4)
    )
    folder = ResultsFolder.create(tmp_path, "footprint", NOW, rounds=False)
    half = msgspec.structs.replace(first, finished=False)
    assert folder.write_footprint(half) == folder.path / "footprint.json"
    assert folder.write_footprint(first) == folder.path / "footprint.json"
    again = ResultsFolder.open(folder.path)
    half = msgspec.structs.replace(second, finished=False)
    assert again.write_footprint(half) == folder.path / "footprint.unfinished.json"
    assert again.read_footprint() == first
    assert again.write_footprint(second) == folder.path / "footprint.json"
    assert [path.name for path in folder.path.iterdir()] == ["footprint.json"]
    assert again.read_footprint() == second


def test_an_unwritable_place_names_the_path_and_the_setting(tmp_path: Path, run: FakeRun) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultsError, match=r"file.*--results"):
        ResultsFolder.create(tmp_path / "file" / "results", "crud", NOW)
    folder = ResultsFolder.create(tmp_path / "results", "crud", NOW)
    (folder.path / "rounds").rmdir()
    (folder.path / "rounds").write_text("in the way")
    with pytest.raises(ResultsError, match=r"rounds.*--results"):
        folder.write_round(run.records[0], [], [], None)


def _write_for_ever(path: Path, run: FakeRun) -> None:
    folder = ResultsFolder(path)
    for number in range(1, 100):
        record = msgspec.structs.replace(run.records[0], number=number)
        folder.write_round(record, run.intervals[0], run.samples[0], None)
        folder.write_run(run.document)


@pytest.mark.parametrize("delay_ms", [1, 7, 19, 43, 80])
def test_a_writer_killed_at_any_moment_leaves_only_whole_rounds(
    folder: ResultsFolder, run: FakeRun, delay_ms: int
) -> None:
    context = multiprocessing.get_context("fork")
    writer = context.Process(target=_write_for_ever, args=(folder.path, run))
    writer.start()
    assert writer.pid is not None
    deadline_s = time.monotonic() + 60
    while not list((folder.path / "rounds").iterdir()) and time.monotonic() < deadline_s:
        time.sleep(0.001)
    time.sleep(delay_ms / 1000)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join(60)
    for record in folder.read_rounds():
        assert folder.read_intervals(record) == run.intervals[0]
        assert folder.read_samples(record) == run.samples[0]
    if (folder.path / "run.json").exists():
        assert folder.read_run() == run.document


def test_the_published_schema_is_the_types_schema(update_golden: bool) -> None:
    if update_golden:
        SCHEMA.write_bytes(run_schema())
    assert SCHEMA.read_bytes() == run_schema()
    assert set(msgspec.json.decode(run_schema())["$defs"]["RunDocument"]["properties"]) == {
        field.name for field in msgspec.structs.fields(RunDocument)
    }
