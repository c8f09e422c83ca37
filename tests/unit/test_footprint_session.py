"""What a run leaves behind when it is refused, fails or is interrupted."""

import dataclasses
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bakeoff.errors import BakeoffError, BuildError, RigError, UsageError
from bakeoff.footprint import session
from bakeoff.footprint.workspace import alone_in
from bakeoff.measure.footprint import FootprintDocument, TimedRun
from bakeoff.measure.footprintsummary import FootprintFacts, footprint_document
from bakeoff.progress import Silent
from bakeoff.store import ResultsFolder
from tests.unit.fake_footprint import fake_footprint

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOY = Path(__file__).parents[1] / "fakes" / "toy"
RUN = TimedRun(
    operation="cold_release_build",
    service="toy",
    repetition=1,
    wall_s=1,
    cpu_s=1,
    peak_rss_bytes=None,
    other_cores=0,
)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> session.Options:
    shutil.copytree(TOY, tmp_path / "services" / "toy")
    monkeypatch.setattr(session, "SERVICES", tmp_path / "services")
    return session.Options(
        services=["toy"], results=tmp_path / "results", workspace=tmp_path / "private"
    )


def _into(options: session.Options) -> tuple[session.Options, FootprintDocument]:
    """The same into a folder that has a footprint."""
    folder = ResultsFolder.create(options.results, "footprint", NOW, rounds=False)
    document = footprint_document(fake_footprint(), finished=True)
    folder.write_footprint(document)
    return dataclasses.replace(options, into=folder.path), document


def _time(
    monkeypatch: pytest.MonkeyPatch, runs: list[TimedRun], error: BakeoffError | None
) -> None:
    """In the place of the timing: some runs, each stored, and then an error."""

    def time(facts: FootprintFacts, _manifests: Any, folder: ResultsFolder, *_: Any) -> None:
        for run in runs:
            facts.runs.append(run)
            folder.write_footprint(footprint_document(facts, finished=False))
        if error is not None:
            raise error

    monkeypatch.setattr(session, "_time", time)


def test_a_second_run_is_refused_before_it_has_a_folder(options: session.Options) -> None:
    with alone_in(options.workspace), pytest.raises(RigError, match="another"):
        session.measure(options, Silent())
    assert not options.results.exists()
    into, document = _into(options)
    with alone_in(options.workspace), pytest.raises(RigError, match="another"):
        session.measure(into, Silent())
    assert ResultsFolder.open(options.results / "latest").read_footprint() == document


def test_a_run_that_timed_nothing_takes_nothing_away(
    options: session.Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    _time(monkeypatch, [], BuildError("it does not build"))
    into, document = _into(options)
    for one in (options, into):
        with pytest.raises(BuildError, match="does not build"):
            session.measure(one, Silent())
        assert ResultsFolder.open(options.results / "latest").read_footprint() == document
    assert into.into is not None
    assert [path.name for path in into.into.iterdir()] == ["footprint.json"]


def test_what_was_timed_is_kept_and_what_was_there_too(
    options: session.Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    _time(monkeypatch, [RUN], BuildError("it does not build"))
    outcome = session.measure(options, Silent())
    assert isinstance(outcome.error, BuildError)
    kept = ResultsFolder.open(options.results / "latest").read_footprint()
    assert kept == outcome.document and kept.runs == [RUN] and not kept.finished
    into, document = _into(options)
    assert into.into is not None
    outcome = session.measure(into, Silent())
    assert outcome.folder.read_footprint() == document
    beside = into.into / "footprint.unfinished.json"
    assert msgspec.json.decode(beside.read_bytes(), type=FootprintDocument) == outcome.document
    _time(monkeypatch, [RUN], None)
    outcome = session.measure(into, Silent())
    assert outcome.error is None
    assert outcome.folder.read_footprint() == outcome.document != document
    assert not beside.exists()


def test_a_change_without_its_place_is_refused_before_anything_is_done(
    options: session.Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    _time(monkeypatch, [RUN], None)
    (options.results.parent / "services" / "toy" / "domain.h").write_text("/* another */")
    with pytest.raises(UsageError, match=r"domain\.h, which stands there 0 times"):
        session.measure(options, Silent())
    assert not options.results.exists() and not options.workspace.exists()
