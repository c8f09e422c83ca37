"""Files that are there whole or not at all, and errors that name them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bakeoff.errors import ResultsError

_T = TypeVar("_T")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system refuses while it lasts is a ResultsError that names the file and the way
    out."""
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"cannot write {error.filename or path}: {error.strerror}; "
            "free space or rights there, or choose another place with --results"
        ) from error


def make_new_folder(root: Path, stem: str) -> Path:
    """Makes `root/stem`, or with a number behind it where that is taken; its path."""
    suffix = 1
    while True:
        path = root / (stem if suffix == 1 else f"{stem}-{suffix}")
        try:
            path.mkdir()
        except FileExistsError:
            suffix += 1
        else:
            return path


def write(path: Path, content: bytes) -> None:
    """Writes a file whose content is on the disk when this returns; its name is, after `sync`."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all, also when the machine stops."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial, content)
    partial.replace(path)
    sync(path.parent)


def point_latest(root: Path, name: str) -> None:
    """Turns `root/latest` to a folder beside it, in one step."""
    partial = root / f".latest-{name}.partial"
    partial.unlink(missing_ok=True)
    partial.symlink_to(name)
    partial.replace(root / "latest")
    sync(root)


def sync(folder: Path) -> None:
    """What was made or renamed in a folder is on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes:
    """A file's bytes. Raises ResultsError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror}") from error


def decode(path: Path, kind: type[_T]) -> _T:
    """A file's JSON as a struct. Raises ResultsError."""
    try:
        return msgspec.json.decode(read(path), type=kind)
    except msgspec.MsgspecError as error:
        raise ResultsError(f"{path} is damaged or from another version: {error}") from error


def decode_document(path: Path, schema: str, kind: type[_T]) -> _T:
    """A document that says its schema. Raises ResultsError, also where that is another."""
    found = decode(path, dict[str, Any]).get("schema")
    if found != schema:
        raise ResultsError(
            f"{path} has the schema {found!r}; this version of bakeoff reads {schema!r}"
        )
    return decode(path, kind)


def pretty(struct: msgspec.Struct) -> bytes:
    """JSON for people."""
    return msgspec.json.format(msgspec.json.encode(struct), indent=2) + b"\n"
