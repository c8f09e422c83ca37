"""Lines of a service by concern, counted by scc (https://github.com/boyter/scc)."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import reduce
from pathlib import Path

import msgspec

from bakeoff.errors import MissingToolError, RigError, UsageError
from bakeoff.footprint.workspace import source_files
from bakeoff.manifest import ServiceManifest
from bakeoff.measure.footprint import CONCERNS, LineCount, LinesDocument

_DEADLINE_S = 60
# Files of one call of scc. The kernel takes some 2 MB of arguments, and 4 KiB for each path.
_AT_ONCE = 200
_NONE = LineCount(files=0, code=0, comments=0, blanks=0)


class _File(msgspec.Struct, rename="pascal"):
    location: str
    language: str
    code: int
    comment: int
    blank: int

    @property
    def lines(self) -> LineCount:
        return LineCount(files=1, code=self.code, comments=self.comment, blanks=self.blank)


class _Language(msgspec.Struct, rename="pascal"):
    files: list[_File]


def counter() -> str:
    """The counter and its version."""
    return _scc(["--version"]).replace(" version", "").strip()


def count_lines(manifest: ServiceManifest) -> LinesDocument:
    """Counts a service's sources where they are.

    Raises UsageError for a glob that finds nothing, a file that two concerns claim, and one in an
    unknown language.
    """
    folder = manifest.folder
    claims = files_by_concern(manifest)
    claimed = set().union(*claims.values())
    files = claimed.union(source_files(manifest))
    counted = _count([folder / path for path in sorted(files)])
    if unknown := sorted(str(path) for path in claimed if folder / path not in counted):
        raise UsageError(
            f"[sources] of {manifest.path} has {', '.join(unknown)}, in no language that scc knows"
        )
    concerns = {concern: _sum(counted, folder, paths) for concern, paths in claims.items()}
    own = {counted[folder / path].language for path in claimed}
    rest = files - claimed
    generated = _found(manifest, "generated") & rest
    locks = _found(manifest, "locks")
    rest -= generated | locks
    elsewhere = {
        path for path in rest if folder / path in counted and counted[folder / path].language in own
    }
    apart = {
        "generated": _sum(counted, folder, generated),
        "locks": reduce(LineCount.__add__, (_plain(folder / path) for path in locks), _NONE),
        "sql": _sum(counted, folder, {path for path in rest if path.suffix == ".sql"}),
        # In the same languages, and of no concern: what builds the service, say.
        "elsewhere": _sum(counted, folder, elsewhere),
    }
    return LinesDocument(
        concerns=concerns, apart=apart, inline_tests=_inline_tests(manifest, claims, counted)
    )


def files_by_concern(manifest: ServiceManifest) -> dict[str, set[Path]]:
    """The files of each concern, relative to the service's folder. What `tests` finds is a test,
    whichever other concern's glob finds it, too: Go keeps both in one folder.

    Raises UsageError for a glob that finds nothing, or tests alone where it is not theirs, and for
    a file that two other concerns claim.
    """
    tests = _found(manifest, "tests")
    others = {one: _found(manifest, one, tests) for one in CONCERNS if one != "tests"}
    _check_disjoint(manifest, others)
    return {concern: others.get(concern, tests) for concern in CONCERNS}


def _found(manifest: ServiceManifest, key: str, but: Set[Path] = frozenset()) -> set[Path]:
    globs: list[str] = getattr(manifest.sources, key)
    folder = manifest.folder
    found: set[Path] = set()
    for glob in globs:
        files = {path.relative_to(folder) for path in folder.glob(glob) if path.is_file()}
        if not files - but:
            what = "which is tests alone" if files else "which is no file"
            raise UsageError(f"`sources.{key}` in {manifest.path} has {glob!r}, {what}")
        found |= files - but
    return found


def _check_disjoint(manifest: ServiceManifest, claims: Mapping[str, set[Path]]) -> None:
    owner: dict[Path, str] = {}
    for concern, paths in claims.items():
        for path in paths:
            if path in owner:
                raise UsageError(
                    f"{path} is counted twice: as {owner[path]} and as {concern} in "
                    f"[sources] of {manifest.path}"
                )
            owner[path] = concern


def _inline_tests(
    manifest: ServiceManifest, claims: Mapping[str, set[Path]], counted: Mapping[Path, _File]
) -> LineCount:
    """Tests in files that are not only tests, from the line that they begin with to the end: what
    the whole has over the part before that line."""
    marker = manifest.sources.inline_tests
    if marker is None:
        return _NONE
    with tempfile.TemporaryDirectory(prefix="bakeoff-lines-") as scratch:
        parts: dict[Path, Path] = {}
        for path in sorted(set().union(*(claims[one] for one in CONCERNS if one != "tests"))):
            lines = (manifest.folder / path).read_text(encoding="utf-8").splitlines(keepends=True)
            stripped = [line.strip() for line in lines]
            if marker.strip() in stripped:
                part = Path(scratch) / f"{len(parts)}{path.suffix}"
                part.write_text("".join(lines[: stripped.index(marker.strip())]), encoding="utf-8")
                parts[manifest.folder / path] = part
        before = _count(list(parts.values()))
    return reduce(
        LineCount.__add__,
        (_less(counted[whole].lines, before[part].lines) for whole, part in parts.items()),
        _NONE,
    )


def _less(whole: LineCount, part: LineCount) -> LineCount:
    return LineCount(
        files=1,
        code=whole.code - part.code,
        comments=whole.comments - part.comments,
        blanks=whole.blanks - part.blanks,
    )


def _plain(file: Path) -> LineCount:
    """The lines of a file that is in no language."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    code = sum(bool(line.strip()) for line in lines)
    return LineCount(files=1, code=code, comments=0, blanks=len(lines) - code)


def _sum(counted: Mapping[Path, _File], folder: Path, paths: Iterable[Path]) -> LineCount:
    """The lines of files in all; those of a file that is in no language count as code."""
    known = ((folder / path, counted.get(folder / path)) for path in paths)
    return reduce(
        LineCount.__add__,
        (_plain(file) if one is None else one.lines for file, one in known),
        _NONE,
    )


def _count(files: Sequence[Path]) -> dict[Path, _File]:
    """Each file that is in a language; the others are left out."""
    counted: dict[Path, _File] = {}
    for first in range(0, len(files), _AT_ONCE):
        some = map(str, files[first : first + _AT_ONCE])
        text = _scc(["--by-file", "--format", "json", *some])
        languages = msgspec.json.decode(text, type=list[_Language])
        counted |= {Path(one.location): one for language in languages for one in language.files}
    return counted


def _scc(arguments: list[str]) -> str:
    program = shutil.which("scc", path=str(Path(sys.executable).parent)) or shutil.which("scc")
    if program is None:
        raise MissingToolError("scc, which counts lines, is missing: run `make setup`")
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{program} has not counted within {_DEADLINE_S} s") from error
    except OSError as error:
        raise RigError(f"cannot start {program}, which counts lines: {error.strerror}") from error
    if done.returncode != 0:
        raise RigError(f"scc cannot count: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
