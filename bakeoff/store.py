"""The results folder: every round written whole, the run's document, and reading both back.

    results/<time>-<workload>/   run.json  rounds/NN-<label>/  footprint.json  the report's files
    results/latest               a relative link to the newest

A file or folder stands under its own name only when it is complete and on the disk; until then
its name ends in `.partial`. So a killed run keeps the rounds that it had.
"""

import csv
import gzip
import io
import re
import shutil
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec

from bakeoff import files
from bakeoff.errors import ResultsError
from bakeoff.measure.document import RunDocument
from bakeoff.measure.footprint import FootprintDocument
from bakeoff.measure.histogramlog import LoggedInterval, format_log, parse_log
from bakeoff.measure.records import RoundRecord
from bakeoff.measure.samples import Sample

RUN_SCHEMA = "bakeoff.run/1"
FOOTPRINT_SCHEMA = "bakeoff.footprint/1"
_RUN = "run.json"
_FOOTPRINT = "footprint.json"
_UNFINISHED_FOOTPRINT = "footprint.unfinished.json"
_DOCUMENTS = (_RUN, _FOOTPRINT)
# Of a service's log that is longer, head and tail are kept.
LOG_LIMIT_BYTES = 5_000_000

_NAME = re.compile(r"\A[a-z0-9][a-z0-9_-]{0,62}\Z")


class ResultsFolder:
    """One run on disk. Every method raises ResultsError, which names the file and the way out."""

    def __init__(self, path: Path, latest_in: Path | None = None) -> None:
        self.path = path
        self._latest_in = latest_in
        self._had_footprint = (path / _FOOTPRINT).is_file()

    @classmethod
    def create(cls, root: Path, workload: str, now: datetime, rounds: bool = True) -> Self:
        """Makes `root/<time>-<workload>`; `root/latest` turns to it when it has a run.json or a
        footprint.json, so that a run which never began takes nothing away.

        Two runs that start in one second get two folders. One without `rounds` compares nothing.
        """
        _check_name(workload, "workload")
        stem = f"{now:%Y-%m-%dT%H-%M-%S}-{workload}"
        with files.writing(root):
            root.mkdir(parents=True, exist_ok=True)
            path = files.make_new_folder(root, stem)
            if rounds:
                (path / "rounds").mkdir()
            files.sync(path)
        return cls(path, latest_in=root)

    @classmethod
    def open(cls, path: Path) -> Self:
        """A folder that an earlier run left, whole or interrupted."""
        if not path.is_dir():
            raise ResultsError(f"there is no results folder {path}")
        has_document = any((path / name).is_file() for name in _DOCUMENTS)
        if not (has_document or (path / "rounds").is_dir()):
            raise ResultsError(
                f"{path} is no results folder: it has neither {', '.join(_DOCUMENTS)} nor rounds/. "
                "Name the folder of one run, such as results/latest"
            )
        return cls(path.resolve())

    def write_round(
        self,
        record: RoundRecord,
        intervals: Sequence[LoggedInterval],
        samples: Iterable[Sample],
        log: bytes | None,
    ) -> Path:
        """Writes a round whole, in a folder of its own; `log` is the service's log.

        Returns the folder. A `.partial` one that a killed run left is replaced.
        """
        _check_name(record.label, "label")
        folder = self.path / "rounds" / _round_name(record)
        partial = folder.with_name(f".{folder.name}.partial")
        with files.writing(folder):
            if folder.exists():
                raise ResultsError(f"{folder} exists; a finished round is never written over")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            files.write(partial / "phases.json", files.pretty(record))
            started_unix_s = datetime.fromisoformat(record.started_at).timestamp()
            hlog = format_log(started_unix_s, record.started_at, intervals)
            files.write(partial / "latency.hlog", hlog.encode())
            files.write(partial / "samples.csv", _csv(samples))
            if log is not None:
                files.write(partial / "service.log.gz", gzip.compress(log))
            files.sync(partial)
            partial.rename(folder)
            files.sync(folder.parent)
        return folder

    def read_rounds(self) -> list[RoundRecord]:
        """All finished rounds by number; partial ones are passed over."""
        folders = [path for path in self._round_folders() if (path / "phases.json").is_file()]
        records = [files.decode(path / "phases.json", RoundRecord) for path in folders]
        return sorted(records, key=lambda record: record.number)

    def read_intervals(self, record: RoundRecord) -> list[LoggedInterval]:
        """The histograms of a round, in the order they were written; none where there is no log."""
        path = self.path / "rounds" / _round_name(record) / "latency.hlog"
        if not path.exists():
            return []
        try:
            return parse_log(files.read(path).decode())
        except ValueError as error:
            raise ResultsError(f"{path} is damaged: {error}") from error

    def read_samples(self, record: RoundRecord) -> list[Sample]:
        """The samples of a round; none where there is no file."""
        path = self.path / "rounds" / _round_name(record) / "samples.csv"
        if not path.exists():
            return []
        rows = csv.DictReader(files.read(path).decode().splitlines())
        try:
            return [_sample(row) for row in rows]
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            raise ResultsError(f"{path} is damaged: {error}") from error

    def write_run(self, document: RunDocument) -> None:
        """Replaces run.json in one step."""
        self.write_file(_RUN, files.pretty(document))
        self._become_latest()

    def read_run(self) -> RunDocument:
        """run.json; a schema that this version does not know is named."""
        return files.decode_document(self.path / _RUN, RUN_SCHEMA, RunDocument)

    @property
    def has_run(self) -> bool:
        """Whether there is a comparison in it, be it a part of one."""
        return (self.path / _RUN).is_file() or (self.path / "rounds").is_dir()

    def write_footprint(self, document: FootprintDocument) -> Path:
        """Replaces footprint.json in one step; returns the file.

        One that an earlier run left stands until this one is finished: until then it is written
        beside it, to footprint.unfinished.json.
        """
        unfinished = self.path / _UNFINISHED_FOOTPRINT
        if self._had_footprint and not document.finished:
            self.write_file(unfinished.name, files.pretty(document))
            return unfinished
        self.write_file(_FOOTPRINT, files.pretty(document))
        with files.writing(unfinished):
            unfinished.unlink(missing_ok=True)
        self._become_latest()
        return self.path / _FOOTPRINT

    def read_footprint(self) -> FootprintDocument | None:
        """footprint.json, or None where there is none."""
        path = self.path / _FOOTPRINT
        if not path.is_file():
            return None
        return files.decode_document(path, FOOTPRINT_SCHEMA, FootprintDocument)

    def write_file(self, name: str, content: bytes) -> None:
        """Replaces one file of the folder in one step; `name` may stand in a subfolder."""
        path = self.path / name
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_whole(path, content)

    def make_folder(self, name: str) -> Path:
        """Makes a subfolder where there is none yet; its path, absolute for programs that are
        started elsewhere."""
        path = self.path.resolve() / name
        with files.writing(path):
            path.mkdir(exist_ok=True)
        return path

    def _become_latest(self) -> None:
        if self._latest_in is not None:
            with files.writing(self._latest_in):
                files.point_latest(self._latest_in, self.path.name)
            self._latest_in = None

    def _round_folders(self) -> list[Path]:
        rounds = self.path / "rounds"
        try:
            return [path for path in rounds.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ResultsError(f"cannot read {rounds}: {error.strerror}") from error


def run_schema() -> bytes:
    """The JSON Schema of run.json, as docs/run.schema.json publishes it."""
    return _schema(RunDocument)


def footprint_schema() -> bytes:
    """The JSON Schema of footprint.json, as docs/footprint.schema.json publishes it."""
    return _schema(FootprintDocument)


def _schema(document: type[msgspec.Struct]) -> bytes:
    schema = msgspec.json.schema(document)
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2) + b"\n"


def _check_name(name: str, what: str) -> None:
    if not _NAME.match(name):
        raise ResultsError(f"the {what} {name!r} cannot be part of a folder's name")


def _round_name(record: RoundRecord) -> str:
    return f"{record.number:02d}-{record.label}"


def _csv(samples: Iterable[Sample]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Sample.__struct_fields__)
    writer.writerows(msgspec.structs.astuple(sample) for sample in samples)
    return text.getvalue().encode()


def _sample(row: dict[str, str]) -> Sample:
    known = {key: value if value != "" else None for key, value in row.items()}
    return msgspec.convert(known, Sample, strict=False)
