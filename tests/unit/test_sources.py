"""The digest of a folder's sources: it changes with them, and with nothing else."""

from pathlib import Path

from bakeoff.sources import kept_by_git, sources_sha256
from tests.unit.gitfolder import repository


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "a.c").write_text("a")
    (folder / ".gitignore").write_text("*.o")
    assert kept_by_git(folder) == frozenset()
    assert sources_sha256(folder) is None
    repository(tmp_path, add=["service/a.c"])
    assert kept_by_git(folder) == {Path("a.c"), Path(".gitignore")}
    first = sources_sha256(folder)
    assert first is not None and len(first) == 64
    (folder / "a.o").write_text("made")
    (tmp_path / "elsewhere.c").write_text("a")
    assert sources_sha256(folder) == first
    seen = {first}
    (folder / "a.c").write_text("b")
    seen.add(sources_sha256(folder) or "")
    (folder / "a.c").rename(folder / "b.c")
    seen.add(sources_sha256(folder) or "")
    (folder / "c.c").write_text("b")
    seen.add(sources_sha256(folder) or "")
    assert len(seen) == 4
    (folder / "c.c").unlink()
    (folder / "b.c").rename(folder / "a.c")
    (folder / "a.c").write_text("a")
    assert sources_sha256(folder) == first
