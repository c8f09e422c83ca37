"""What is written down of images that could not be built, and read again."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakeoff.errors import BuildError, UsageError
from bakeoff.experiment import ROOT
from bakeoff.hosts import procfs
from bakeoff.images.buildah import Buildah
from bakeoff.images.builds import build_all
from bakeoff.images.containerfile import container_files, external_bases, read_stages
from bakeoff.images.records import FILE_NAME, ImageRecord, read_records, write_records
from bakeoff.images.standins import make_stand_in
from tests.integration.checkout import DEADLINE_S, until

Programs = Callable[..., Path]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Makes PATH a folder with these scripts alone, and what they need."""

    def make(**scripts: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        setpriv = shutil.which("setpriv")
        assert setpriv is not None
        (folder / "setpriv").symlink_to(setpriv)
        for name, script in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return folder

    return make


def test_without_a_builder_each_image_has_the_line_that_installs_it(programs: Programs) -> None:
    programs(runc="")
    records = build_all(local_bases=False, progress=lambda _: None)
    assert set(records) == {"go", "rust", "stub"}
    for record in records.values():
        assert record.bytes is None and record.built_with is None
        assert record.reason == "buildah not in PATH: apt-get install buildah runc"


def test_without_what_ends_a_build_with_us_its_package_is_named(programs: Programs) -> None:
    (programs(runc="", buildah="") / "setpriv").unlink()
    reasons = {one.reason for one in build_all(False, progress=lambda _: None).values()}
    assert reasons == {"setpriv not in PATH: apt-get install util-linux"}


def test_a_build_that_fails_has_the_end_of_what_was_said(programs: Programs) -> None:
    said = (
        "[ $1 = --version ] && exec echo buildah version 1; echo pull: no such host >&2; exit 125"
    )
    programs(runc="", buildah=said)
    told: list[str] = []
    records = build_all(local_bases=False, progress=told.append)
    assert len(told) == 3
    for record in records.values():
        assert record.bytes is None and record.built_with is None
        assert record.reason == "buildah build failed with 125:\npull: no such host"


def test_the_command_ends_with_3_where_nothing_was_built(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bakeoff.images", "build", "--results", str(tmp_path)]
    environment = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done
    assert "not built" in done.stdout
    written = json.loads((tmp_path / FILE_NAME).read_text())
    assert written["go"] == {
        "bytes": None,
        "built_with": None,
        "built_at": None,
        "sources_sha256": None,
        "reason": "buildah and runc not in PATH: apt-get install buildah runc",
    }


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_what_a_build_left_mounted_goes_with_its_storage(
    programs: Programs, tmp_path: Path
) -> None:
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    assert mount is not None and unmount is not None
    programs(runc="", buildah="exit 1", umount=f'exec {unmount} "$@"')
    storage = tmp_path / "storage"
    driver = storage / "root" / "overlay"
    with Buildah(storage):
        # A container below what the driver keeps mounted, and somebody who is still in it.
        for folder in (driver, driver / "container" / "merged"):
            folder.mkdir(parents=True)
            subprocess.run([mount, "-t", "tmpfs", "tmpfs", str(folder)], check=True, timeout=60)
        held = (driver / "container" / "merged" / "held").open("wb")
    with held:
        assert not storage.exists()
    assert str(storage) not in Path("/proc/self/mounts").read_text()


# Says its process and then does nothing, as a build that takes long.
_SLEEPS = """
[ "$1" = --root ] && {mkdir} -p "$2" && shift 4
[ "$1" = --version ] && exec echo buildah version 1
echo $$ > "{told}.partial"
{mv} "{told}.partial" "{told}"
exec {sleep} 600
"""


@pytest.fixture(params=["registry", "local-bases"])
def building(
    request: pytest.FixtureRequest, programs: Programs, tmp_path: Path
) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A command whose `buildah` goes on for ever, and that one's process."""
    words = ["--local-bases"] if request.param == "local-bases" else []
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    base = external_bases(read_stages(container_files()["go"]))[0]
    if words and not base.partition("@")[0].endswith(f"-{release}"):
        pytest.skip(f"{base} is not made of what this machine has")
    told = tmp_path / "told"
    needed = {name: shutil.which(name) for name in ("mkdir", "mv", "sleep")}
    script = _SLEEPS.format(told=told, **needed)
    folder = programs(runc="", buildah=script, go=f"echo {tmp_path / 'go'}")
    command = [sys.executable, "-m", "bakeoff.images", "build", *words]
    environment = os.environ | {"PATH": str(folder), "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    with subprocess.Popen(
        [*command, "--results", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert until(lambda: told.exists() or process.poll() is not None)
            assert process.poll() is None, process.communicate()[1]
            yield process, int(told.read_text())
        finally:
            process.kill()


def _ends(pid: int) -> bool:
    def ended() -> bool:
        found = procfs.stat(pid)
        return found is None or not found.alive

    return until(ended)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_build_leaves_nothing(
    building: tuple["subprocess.Popen[str]", int], number: signal.Signals, tmp_path: Path
) -> None:
    process, buildah = building
    process.send_signal(number)
    said = process.communicate(timeout=DEADLINE_S)[1]
    assert (process.returncode, said) == (130, f"bakeoff: interrupted by {number.name}\n")
    assert _ends(buildah)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / FILE_NAME).exists()


def test_a_killed_build_leaves_no_builder(building: tuple["subprocess.Popen[str]", int]) -> None:
    process, buildah = building
    process.kill()
    assert process.wait(DEADLINE_S) == -signal.SIGKILL
    assert _ends(buildah)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_records(tmp_path) == {}
    records = {
        "go": ImageRecord(
            bytes=18_000_000,
            built_with="buildah 1.28.2",
            built_at="2026-01-02T03:04:05+00:00",
            sources_sha256="0" * 64,
        ),
        "rust": ImageRecord(bytes=None, built_with=None, reason="no compiler"),
    }
    path = write_records(tmp_path / "results", records)
    assert path == tmp_path / "results" / FILE_NAME
    assert read_records(path.parent) == records
    assert [path.name for path in path.parent.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "[]", '{"go": 1}', '{"go": {"bytes": "1"}}'])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(UsageError, match=FILE_NAME):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("nginx:1.29.1-bookworm", "there is no stand-in for nginx"),
        ("golang:1.26.8-sarge", "is made of Debian's sarge, here is"),
    ],
)
def test_a_base_is_not_made_of_what_it_is_not(
    programs: Programs, tmp_path: Path, reference: str, reason: str
) -> None:
    programs(runc="", buildah="exit 1")
    with Buildah(tmp_path / "storage") as buildah, pytest.raises(BuildError, match=reason):
        make_stand_in(buildah, reference, tmp_path / "base")


def test_a_storage_of_its_own_goes_at_the_end(programs: Programs, tmp_path: Path) -> None:
    programs(runc="", buildah=f'{shutil.which("mkdir")} -p "$2"; echo buildah version "$2" "$4"')
    storage = tmp_path / "storage"
    with Buildah(storage) as buildah:
        assert buildah.version() == f"buildah {storage / 'root'}"
        assert storage.exists()
    assert not storage.exists()
