"""Private copies of services, to be changed and built where no checkout is touched.

WORKSPACE/  protos/  services/<name>/  as in the checkout
            caches/<name>/<kind>/      what compilers keep, apart for each kind of build
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path, PurePosixPath

from bakeoff.errors import RigError, UsageError
from bakeoff.experiment import ROOT
from bakeoff.manifest import FILE_NAME, ChangeSection, FootprintSection, ServiceManifest
from bakeoff.sources import kept_by_git

# Where copies stand unless told otherwise: in the checkout, ignored by git.
WORKSPACE = ROOT / ".footprint"
# What services share, beside which they expect to stand.
_SHARED = ("protos", "services/contract", "services/db")
_CHANGES = 1_000_000_000
_LEFT_OUT = frozenset({"__pycache__", ".git"})


class Kind(StrEnum):
    """What compilers keep from one kind of build is of no use to another, or would be."""

    RELEASE = "release"
    DEV = "dev"
    CHECK = "check"


class Workspace:
    """The copy of one service below `root`, which is a checkout to a host's far end. Its methods
    raise RigError, which names the path, where they cannot read, write or remove something."""

    def __init__(self, root: Path, manifest: ServiceManifest, section: FootprintSection) -> None:
        self.manifest = manifest
        self.section = section
        self.folder = root / "services" / manifest.name
        self._root = root
        self._caches = root / "caches" / manifest.name
        # A number that was used before might be found in a cache: nothing would be compiled.
        self._changes = secrets.randbelow(_CHANGES)
        # As they were copied: who works on in the checkout meanwhile changes nothing here.
        self._originals: dict[str, str] = {}

    def refresh(self) -> None:
        """Makes the copy equal to the checkout. Files that are equal are left alone, so that
        compilers find their times unchanged."""
        with _working_on(self.folder):
            _mirror(self.manifest.folder, self.folder, _made(self.manifest))
            checkout = self.manifest.folder.parent.parent
            for name in _SHARED:
                if (checkout / name).is_dir():
                    _mirror(checkout / name, self._root / name, frozenset())
        changes = self.section.changes.values()
        self._originals = {
            one.file: _text(self.folder / one.file, self.manifest) for one in changes
        }

    def restore(self) -> None:
        """Takes every change out again."""
        for name, text in self._originals.items():
            file = self.folder / name
            with _working_on(file):
                if file.read_text(encoding="utf-8") != text:
                    file.write_text(text, encoding="utf-8")

    def environment(self, kind: Kind) -> dict[str, str]:
        """What makes the compilers keep their caches of this kind here."""
        caches = self.section.caches
        places = {name: self._caches / kind / folder for name, folder in caches.items()}
        for place in places.values():
            with _working_on(place):
                place.mkdir(parents=True, exist_ok=True)
        return {**self.section.environment, **{name: str(one) for name, one in places.items()}}

    def artifact(self, kind: Kind, named: str) -> Path:
        """Where the program stands that a build of this kind makes."""
        for folder in self.section.caches.values():
            pure = PurePosixPath(named)
            if pure.is_relative_to(folder):
                return self._caches / kind / pure
        return self.folder / named

    def make_cold(self, kind: Kind) -> None:
        """Empties the caches of one kind, and removes the program that was built of it."""
        cache = self._caches / kind
        built = {Kind.RELEASE: self.manifest.build, Kind.DEV: self.section.dev}.get(kind)
        with _working_on(cache):
            if cache.exists():
                shutil.rmtree(cache)
            if built is not None:
                self.artifact(kind, built.artifact).unlink(missing_ok=True)

    def change(self, change: ChangeSection) -> None:
        """Puts a new change into its file, in the place of the one before."""
        self._changes += 1
        text = changed(self._originals[change.file], change, self._changes, self.manifest)
        file = self.folder / change.file
        with _working_on(file):
            file.write_text(text, encoding="utf-8")


@contextmanager
def alone_in(root: Path) -> Iterator[None]:
    """Keeps a second run out of the copies; RigError where there is a first one."""
    with _working_on(root):
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RigError(f"another `bakeoff footprint` is at work in {root}") from error
        yield
    finally:
        os.close(descriptor)


def check_changes(manifest: ServiceManifest) -> None:
    """UsageError where a change of a manifest has no place in the checkout, before anything is
    built."""
    section = manifest.footprint
    for change in section.changes.values() if section is not None else ():
        changed(_text(manifest.folder / change.file, manifest), change, 0, manifest)


def changed(text: str, change: ChangeSection, number: int, manifest: ServiceManifest) -> str:
    """The text of a file with a change in it; UsageError, which names the manifest, where the line
    that it goes below does not stand there once."""
    lines = text.split("\n")
    if lines.count(change.after) != 1:
        raise UsageError(
            f"{manifest.path} puts a change below the line {change.after!r} of {change.file}, "
            f"which stands there {lines.count(change.after)} times; it must stand there once"
        )
    place = lines.index(change.after) + 1
    lines[place:place] = change.insert.replace("{n}", str(number)).split("\n")
    return "\n".join(lines)


def source_files(manifest: ServiceManifest) -> list[Path]:
    """Every file that a service is made of, relative to its folder: what was built there, what
    compilers keep there, and what git ignores there, is none."""
    found = set(_files(manifest.folder, _made(manifest) | {Path(FILE_NAME)}))
    return sorted(found & kept_by_git(manifest.folder) or found)


def _text(file: Path, manifest: ServiceManifest) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{manifest.path} wants to change {file}: {error}") from error


@contextmanager
def _working_on(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RigError(
            f"cannot make a private copy ready: {error.filename or path}: {error.strerror}; "
            "free space or rights there, or remove what is in the way"
        ) from error


def _made(manifest: ServiceManifest) -> frozenset[Path]:
    """What compilers write into a service's folder."""
    named = [manifest.build.artifact] if manifest.build is not None else []
    if (section := manifest.footprint) is not None:
        named += [*section.caches.values(), *([section.dev.artifact] if section.dev else [])]
    return frozenset(map(Path, named))


def _mirror(source: Path, copy: Path, left_out: frozenset[Path]) -> None:
    wanted = set(_files(source, left_out))
    for path in wanted:
        content = (source / path).read_bytes()
        target = copy / path
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            shutil.copymode(source / path, target)
    for path in set(_files(copy, left_out)) - wanted:
        (copy / path).unlink()


def _files(folder: Path, left_out: frozenset[Path]) -> Iterator[Path]:
    """The files below a folder, relative to it; links to folders are not followed."""
    for place, folders, names in os.walk(folder):
        here = Path(place).relative_to(folder)
        folders[:] = [
            name for name in folders if name not in _LEFT_OUT and here / name not in left_out
        ]
        for name in names:
            if here / name not in left_out and (folder / here / name).is_file():
                yield here / name
