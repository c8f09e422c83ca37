"""Private copies: equal to the checkout, changed and emptied without touching it."""

import shutil
from pathlib import Path

import msgspec
import pytest

from bakeoff.errors import RigError, UsageError
from bakeoff.footprint.workspace import (
    Kind,
    Workspace,
    alone_in,
    changed,
    check_changes,
    source_files,
)
from bakeoff.manifest import ChangeSection, ServiceManifest, load_manifest
from tests.unit.gitfolder import repository

TOY = Path(__file__).parents[1] / "fakes" / "toy"


@pytest.fixture
def manifest(tmp_path: Path) -> ServiceManifest:
    services = tmp_path / "checkout" / "services"
    shutil.copytree(TOY, services / "toy")
    (services / "db").mkdir()
    (services / "db" / "seed.sql").touch()
    return load_manifest("toy", services)


@pytest.fixture
def workspace(manifest: ServiceManifest, tmp_path: Path) -> Workspace:
    assert manifest.footprint is not None
    return Workspace(tmp_path / "private", manifest, manifest.footprint)


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_copy_is_equal_and_has_what_services_share(
    workspace: Workspace, manifest: ServiceManifest, tmp_path: Path
) -> None:
    workspace.refresh()
    assert _contents(workspace.folder) == _contents(manifest.folder)
    assert (tmp_path / "private" / "services" / "db" / "seed.sql").is_file()
    assert load_manifest("toy", tmp_path / "private" / "services").title == manifest.title


def test_what_is_equal_keeps_its_time_and_the_rest_is_put_right(
    workspace: Workspace, manifest: ServiceManifest
) -> None:
    workspace.refresh()
    times = {path: path.stat().st_mtime_ns for path in workspace.folder.rglob("*.c")}
    (workspace.folder / "stray.c").touch()
    (workspace.folder / "main.c").write_text("broken")
    (manifest.folder / "domain.c").unlink()
    workspace.refresh()
    assert _contents(workspace.folder) == _contents(manifest.folder)
    kept = {path for path in times if path.exists() and path.stat().st_mtime_ns == times[path]}
    assert {path.name for path in times.keys() - kept} == {"main.c", "domain.c"}


def test_a_change_is_new_each_time_and_never_in_the_checkout(
    workspace: Workspace, manifest: ServiceManifest
) -> None:
    assert manifest.footprint is not None and manifest.footprint.leaf is not None
    before = _contents(manifest.folder)
    workspace.refresh()
    seen = set()
    for _ in range(3):
        workspace.change(manifest.footprint.leaf)
        text = (workspace.folder / "handlers" / "pay.c").read_text()
        assert len(text.splitlines()) == len(before["handlers/pay.c"].splitlines()) + 1
        seen.add(text)
    assert len(seen) == 3
    assert _contents(manifest.folder) == before
    # Who works on in the checkout meanwhile changes nothing of it.
    (manifest.folder / "handlers" / "pay.c").write_text("int half_typed(")
    workspace.change(manifest.footprint.leaf)
    assert "half_typed" not in (workspace.folder / "handlers" / "pay.c").read_text()
    workspace.restore()
    assert _contents(workspace.folder) == before


def test_two_copies_do_not_make_the_same_changes(
    workspace: Workspace, manifest: ServiceManifest, tmp_path: Path
) -> None:
    # What a compiler keeps outlives a run, and would know them.
    assert manifest.footprint is not None and manifest.footprint.leaf is not None
    texts = []
    for _ in range(2):
        one = Workspace(tmp_path / "private", manifest, manifest.footprint)
        one.refresh()
        one.change(manifest.footprint.leaf)
        texts.append((one.folder / "handlers" / "pay.c").read_text())
    assert texts[0] != texts[1]


def test_cold_empties_one_kind_and_leaves_the_sources(
    workspace: Workspace, manifest: ServiceManifest
) -> None:
    assert manifest.build is not None and manifest.footprint is not None
    assert manifest.footprint.dev is not None
    workspace.refresh()
    made = {}
    for kind, named in (
        (Kind.RELEASE, manifest.build.artifact),
        (Kind.DEV, manifest.footprint.dev.artifact),
    ):
        cache = Path(workspace.environment(kind)["OUT"])
        assert cache.is_dir()
        made[kind] = workspace.artifact(kind, named)
        assert made[kind].is_relative_to(cache)
        made[kind].parent.mkdir(parents=True)
        made[kind].touch()
    workspace.make_cold(Kind.RELEASE)
    assert [path.exists() for path in made.values()] == [False, True]
    assert _contents(workspace.folder) == _contents(manifest.folder)


def test_a_second_run_is_kept_out(tmp_path: Path) -> None:
    with (
        alone_in(tmp_path / "private"),
        pytest.raises(RigError, match="another"),
        alone_in(tmp_path / "private"),
    ):
        pass
    with alone_in(tmp_path / "private"):
        pass


def test_what_is_built_in_place_is_no_source_and_goes_with_the_cold(
    workspace: Workspace, manifest: ServiceManifest
) -> None:
    assert workspace.artifact(Kind.DEV, "bin/toy") == workspace.folder / "bin" / "toy"
    (manifest.folder / "out").mkdir()
    (manifest.folder / "out" / "toy.c").touch()
    (manifest.folder / "service.toml").touch()
    names = {str(path) for path in source_files(manifest)}
    assert not {"service.toml", "out/toy.c"} & names
    assert {"Makefile", "handlers/pay.c", "toy.lock"} <= names


def test_what_git_ignores_is_no_source(manifest: ServiceManifest) -> None:
    folder = manifest.folder
    for name in ("bin/made.c", "new.c", "-o.c", ".gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("/bin/\n")
    without_git = set(source_files(manifest))
    assert Path("bin/made.c") in without_git
    repository(folder.parent, add=["toy"])
    (folder / "new2.c").touch()
    (folder / "domain.c").unlink()
    found = set(source_files(manifest))
    assert found == without_git - {Path("bin/made.c"), Path("domain.c")} | {Path("new2.c")}
    # Of a folder that is ignored as a whole git says nothing.
    repository(folder.parent.parent, add=[])
    shutil.rmtree(folder.parent / ".git")
    (folder.parent.parent / ".gitignore").write_text("services/\n")
    assert set(source_files(manifest)) == found | {Path("bin/made.c")}


@pytest.mark.parametrize("service", ["go", "rust"])
@pytest.mark.parametrize("which", ["leaf", "hub"])
def test_our_changes_have_their_place(service: str, which: str) -> None:
    manifest = load_manifest(service)
    assert manifest.footprint is not None
    change = manifest.footprint.changes[which]
    original = (manifest.folder / change.file).read_text()
    text = changed(original, change, 4711, manifest)
    added = [line for line in text.splitlines() if line not in original.splitlines()]
    assert any("4711" in line for line in added)
    assert len(text.splitlines()) > len(original.splitlines())


def _with_leaf(manifest: ServiceManifest, change: ChangeSection) -> ServiceManifest:
    assert manifest.footprint is not None
    section = msgspec.structs.replace(manifest.footprint, leaf=change)
    return msgspec.structs.replace(manifest, footprint=section)


@pytest.mark.parametrize(("after", "times"), [("nowhere", 0), ("}", 2)])
def test_a_change_without_its_one_place_is_refused(
    manifest: ServiceManifest, after: str, times: int
) -> None:
    check_changes(manifest)
    change = ChangeSection(file="handlers/pay.c", after=after, insert="{n}")
    with pytest.raises(UsageError, match=f"stands there {times} times") as caught:
        check_changes(_with_leaf(manifest, change))
    assert str(manifest.path) in str(caught.value)
    nowhere = msgspec.structs.replace(change, file="none.c")
    with pytest.raises(UsageError, match=r"wants to change .*none\.c"):
        check_changes(_with_leaf(manifest, nowhere))


def test_a_cache_that_cannot_be_emptied_is_named(workspace: Workspace, tmp_path: Path) -> None:
    cache = tmp_path / "private" / "caches" / "toy" / "release"
    cache.parent.mkdir(parents=True)
    cache.write_text("no folder")
    with pytest.raises(RigError, match=str(cache)):
        workspace.make_cold(Kind.RELEASE)
    with pytest.raises(RigError, match=str(cache)):
        workspace.environment(Kind.RELEASE)


def test_a_copy_that_cannot_be_written_is_named(
    workspace: Workspace, manifest: ServiceManifest
) -> None:
    assert manifest.footprint is not None
    leaf = manifest.footprint.changes["leaf"]
    workspace.refresh()
    file = workspace.folder / leaf.file
    file.unlink()
    file.mkdir()
    for work in (workspace.refresh, workspace.restore, lambda: workspace.change(leaf)):
        with pytest.raises(RigError, match=str(file)):
            work()


def test_a_place_for_copies_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RigError, match=str(tmp_path / "file")), alone_in(tmp_path / "file"):
        pass
