"""Lines by concern: as counted by hand, and as another counter has them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bakeoff.errors import RigError, UsageError
from bakeoff.experiment import SERVICES
from bakeoff.footprint.lines import count_lines, counter
from bakeoff.manifest import load_manifest
from bakeoff.measure.footprint import CONCERNS, LineCount
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
    for concern in CONCERNS:
        files = {
            str(path)
            for glob in getattr(manifest.sources, concern)
            for path in manifest.folder.glob(glob)
        }
        command = [cloc, "--json", "--skip-uniqueness", *sorted(files)]
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
    ("sources", "says"),
    [
        ('boot = ["none.c"]', "`sources.boot`.*'none.c'"),
        ('boot = ["a.c"]\ntests = ["*.c"]', "a.c is counted twice: as boot and as tests"),
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
