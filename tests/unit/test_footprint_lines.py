"""Lines by concern: as counted by hand, and as another counter has them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bakeoff.errors import RigError, UsageError
from bakeoff.experiment import SERVICES
from bakeoff.footprint.lines import count_lines, counter, files_by_concern
from bakeoff.footprint.workspace import source_files
from bakeoff.manifest import load_manifest
from bakeoff.measure.footprint import LineCount
from bakeoff.measure.footprintsummary import lines_total

TOY = Path(__file__).parents[1] / "fakes" / "toy"
DEADLINE_S = 60.0
_MANIFEST = """
name = "one"
title = "One file"
[build]
command = ["true"]
artifact = "out"
toolchain = ["true"]
[run]
command = ["true"]
[sources]
{sources}
"""

# Whoever changes one of these files counts it again, by hand.
BY_HAND = [
    ("go/internal/billing/page.go", 13, 2, 4),
    ("go/internal/billing/billing.go", 6, 4, 2),
    ("go/cmd/billing/healthcheck.go", 12, 1, 2),
    ("rust/src/billing/page.rs", 18, 3, 3),
    ("rust/src/lib.rs", 7, 5, 1),
    ("rust/src/billing/subscription.rs", 58, 10, 7),
]


def _service(folder: Path, sources: str, files: dict[str, str]) -> Path:
    """The folder of all services, with one service in it."""
    home = folder / "one"
    home.mkdir()
    (home / "service.toml").write_text(_MANIFEST.format(sources=sources))
    for name, text in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The folder of all services, with the toy in it."""
    shutil.copytree(TOY, tmp_path / "toy")
    return tmp_path


@pytest.mark.parametrize(("file", "code", "comments", "blanks"), BY_HAND)
def test_a_file_is_counted_as_by_hand(
    file: str, code: int, comments: int, blanks: int, tmp_path: Path
) -> None:
    text = (SERVICES / file).read_text()
    name = Path(file).name
    services = _service(tmp_path, f'boot = ["{name}"]', {name: text})
    found = count_lines(load_manifest("one", services)).concerns["boot"]
    assert found == LineCount(files=1, code=code, comments=comments, blanks=blanks)
    assert code + comments + blanks == len(text.splitlines())


@pytest.mark.parametrize("service", ["go", "rust"])
def test_another_counter_agrees(service: str) -> None:
    cloc = shutil.which("cloc")
    if cloc is None:
        pytest.skip("cloc is not installed: apt-get install cloc")
    manifest = load_manifest(service)
    ours = count_lines(manifest)
    for concern, paths in files_by_concern(manifest).items():
        files = sorted(str(manifest.folder / path) for path in paths)
        command = [cloc, "--json", "--skip-uniqueness", *files]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=DEADLINE_S
        )
        theirs = json.loads(done.stdout)["SUM"]
        found = ours.concerns[concern]
        assert theirs["nFiles"] == found.files
        assert found.code == pytest.approx(theirs["code"], rel=0.02), concern
        assert found.comments == pytest.approx(theirs["comment"], rel=0.02), concern


def test_concerns_and_what_is_apart_from_them(toy: Path) -> None:
    (toy / "toy" / "schema.sql").write_text("CREATE TABLE t (\n  id int\n);\n\n-- done\n")
    (toy / "toy" / "tool.c").write_text("int tool(void);\n")
    (toy / "toy" / "README.md").write_text("no program\n")
    (toy / "toy" / "out").mkdir()
    (toy / "toy" / "out" / "made.c").write_text("int made(void);\n" * 100)
    found = count_lines(load_manifest("toy", toy))
    # By hand.
    assert found.concerns == {
        "boot": LineCount(files=1, code=6, comments=0, blanks=2),
        "handlers": LineCount(files=1, code=9, comments=1, blanks=2),
        "domain": LineCount(files=2, code=13, comments=3, blanks=4),
        "tests": LineCount(files=1, code=5, comments=0, blanks=2),
    }
    assert found.apart == {
        "generated": LineCount(files=1, code=2, comments=0, blanks=1),
        "locks": LineCount(files=1, code=1, comments=0, blanks=0),
        "sql": LineCount(files=1, code=3, comments=1, blanks=1),
        "elsewhere": LineCount(files=1, code=1, comments=0, blanks=0),
    }
    assert lines_total(found) == 33
    # They are in a handler, and stay there.
    assert found.inline_tests == LineCount(files=1, code=3, comments=1, blanks=0)


def test_a_copied_file_moves_its_own_row_alone(toy: Path) -> None:
    before = count_lines(load_manifest("toy", toy))
    shutil.copy(toy / "toy" / "handlers" / "pay.c", toy / "toy" / "handlers" / "refund.c")
    after = count_lines(load_manifest("toy", toy))
    added = before.concerns["handlers"]
    assert after.concerns == {**before.concerns, "handlers": added + added}
    assert after.apart == before.apart


@pytest.mark.parametrize(
    ("service", "file", "concern"),
    [
        ("go", "cmd/billing/server.go", "boot"),
        ("go", "internal/api/payments.go", "handlers"),
        ("go", "internal/billing/invoice.go", "domain"),
        ("go", "internal/postgres/keys.go", "domain"),
        ("go", "internal/api/payments_test.go", "tests"),
        ("rust", "src/api/payments.rs", "handlers"),
        ("rust", "src/billing/invoice.rs", "domain"),
        ("rust", "src/postgres/keys.rs", "domain"),
        ("rust", "tests/api/payments.rs", "tests"),
    ],
)
def test_a_copied_file_of_ours_moves_its_own_row_alone(
    service: str, file: str, concern: str, tmp_path: Path
) -> None:
    ours = load_manifest(service)
    for path in (Path("service.toml"), *source_files(ours)):
        (tmp_path / service / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ours.folder / path, tmp_path / service / path)
    copied = load_manifest(service, tmp_path)
    before = count_lines(copied)
    assert before == count_lines(ours)
    original = copied.folder / file
    shutil.copy(original, original.with_name(f"copied_{original.name}"))
    after = count_lines(copied)
    grown, found = before.concerns[concern], after.concerns[concern]
    lines = [sum((one.code, one.comments, one.blanks)) for one in (grown, found)]
    assert lines[1] - lines[0] == len(original.read_text().splitlines())
    assert (found.files, found.code > grown.code) == (grown.files + 1, True)
    assert after.concerns == {**before.concerns, concern: found}
    assert after.apart == before.apart


def test_a_test_is_in_no_other_row(tmp_path: Path) -> None:
    sources = 'handlers = ["*.c"]\ntests = ["*_test.c"]'
    files = {"a.c": "int a;\n", "a_test.c": "int b;\nint c;\n"}
    concerns = count_lines(load_manifest("one", _service(tmp_path, sources, files))).concerns
    assert [concerns[name].code for name in ("handlers", "tests")] == [1, 2]


def test_files_in_no_language_count_line_by_line_where_they_are_named(tmp_path: Path) -> None:
    files = {"a.c": "int a;\n", "made.unknown": "x\n\ny\n", "b.sql": "SELECT\0;\n\n"}
    sources = 'boot = ["a.c"]\ngenerated = ["made.unknown"]'
    services = _service(tmp_path, sources, files)
    (services / "one" / "made.unknown").write_bytes(b"\xff\n\ny\n")
    apart = count_lines(load_manifest("one", services)).apart
    assert apart["generated"] == LineCount(files=1, code=2, comments=0, blanks=1)
    # A program that counts takes it for no text.
    assert apart["sql"] == LineCount(files=1, code=1, comments=0, blanks=1)


def test_more_files_than_fit_into_a_command(tmp_path: Path) -> None:
    services = _service(tmp_path, 'boot = ["a.c"]', {"a.c": "int a;\n"})
    many = 12_000
    for number in range(many):
        (services / "one" / f"{'long' * 55}{number}.c").write_text("int a;\n")
    found = count_lines(load_manifest("one", services)).apart["elsewhere"]
    assert found == LineCount(files=many, code=many, comments=0, blanks=0)


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ('boot = ["none.c"]', "`sources.boot`.*'none.c', which is no file"),
        ('boot = ["a.c"]\ntests = ["*.c"]', "`sources.boot`.*'a.c', which is tests alone"),
        ('boot = ["a.c"]\ndomain = ["*.c"]', "a.c is counted twice: as boot and as domain"),
        ('boot = ["a.unknown"]', "a.unknown, in no language"),
    ],
)
def test_what_cannot_be_counted_is_named(tmp_path: Path, sources: str, says: str) -> None:
    services = _service(tmp_path, sources, {"a.c": "int a;\n", "a.unknown": "a\n"})
    with pytest.raises(UsageError, match=says):
        count_lines(load_manifest("one", services))


def test_the_counter_has_a_version() -> None:
    assert counter().startswith("scc ")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (subprocess.TimeoutExpired("scc", 60), "has not counted within 60 s"),
        (PermissionError(13, "Permission denied"), "cannot start .*Permission denied"),
    ],
)
def test_a_counter_that_hangs_or_does_not_start_is_named(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(RigError, match=says):
        counter()
