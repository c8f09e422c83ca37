"""Files at the far end: logs are read anywhere, changes are made in the far end's own folder."""

import contextlib
import fcntl
import os
import pwd
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from bakeoff.hosts.programs import Refusal, checked_file, checked_path
from bakeoff.hosts.protocol import CHUNK_BYTES, Found

_PREFIX = "bakeoff-host-"
# A folder may be that young before it is locked.
_YOUNG_S = 60.0
_POLL_S = 0.02
_BLOCK_BYTES = 1 << 20
# A line of a log that is longer is nothing to wait for.
_LINE_LIMIT_BYTES = 64 * 1024


class OwnFolder:
    """A temporary folder that goes with the far end. Others may pass through it, not list it.

    It is locked while its far end lives, so that the next one can tell what a killed one left.
    """

    def __init__(self) -> None:
        _remove_left_behind()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path.chmod(0o711)

    def make(self, name: str, user: str | None) -> str:
        """Makes a folder below it for one user alone."""
        path = self._inside(name)
        with _named_errors(path):
            path.mkdir(mode=0o700)
            _give(path, user)
        return str(path)

    def write(self, name: str, content: bytes, user: str | None, append: bool = False) -> str:
        """Writes a new file that one user alone may read, or adds to one that was begun."""
        path = self._inside(name)
        how = os.O_APPEND if append else os.O_CREAT | os.O_EXCL
        with _named_errors(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | how, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            _give(path, user)
        return str(path)

    def remove(self, name: str) -> None:
        """Removes a file or a folder below it, if it is there."""
        path = self._inside(name)
        with _named_errors(path), contextlib.suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def remove_all(self) -> None:
        """Removes it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def _inside(self, name: str) -> Path:
        # An absolute name replaces the folder, and is refused unless it leads back into it.
        path = self.path / checked_path(name)
        if path == self.path or not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise Refusal(f"{name!r} is not in the far end's own folder {self.path}")
        return path


def _remove_left_behind() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            young = time.time() - found.st_mtime < _YOUNG_S
            if young or found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(lock)


def file_size(path: str) -> int:
    """The size of a file in bytes."""
    with _opened(path) as file:
        return os.fstat(file.fileno()).st_size


def read_chunk(path: str, offset: int, size: int) -> bytes:
    """Up to `size` bytes from an offset."""
    if offset < 0 or not 0 <= size <= CHUNK_BYTES:
        raise Refusal(f"cannot read {size} bytes at {offset}; {CHUNK_BYTES} are allowed")
    with _opened(path) as file:
        file.seek(offset)
        return file.read(size)


def count_lines(path: str, needle: str, start: int, end: int) -> int:
    """How many lines that begin between two offsets have `needle` in them.

    A line without its newline by `end` is not counted: it is counted from there next time, when
    the same offset is given as the start.
    """
    wanted = needle.encode()
    if not wanted or "\n" in needle or start < 0:
        raise Refusal(f"cannot count lines with {needle!r} from {start}")
    count = 0
    with _opened(path) as file:
        if start > 0:
            # A line that `start` cuts belongs to what comes after it: its newline does.
            start = _line_start(file, start)
        file.seek(start)
        rest = b""
        left = end - start
        while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
            left -= len(block)
            whole, newline, tail = (rest + block).rpartition(b"\n")
            rest = tail
            if newline:
                count += _lines_with(whole, wanted)
    return count


def wait_for_line(
    path: str, needle: str, deadline_s: float, has_ended: Callable[[], bool]
) -> Found:
    """The first whole line of a growing file that has `needle` in it."""
    wanted = needle.encode()
    deadline = time.monotonic() + deadline_s
    with _opened(path) as file:
        rest = b""
        while True:
            # Asked before reading, so that the last words of a process are not missed.
            ended = has_ended()
            while block := file.read(_BLOCK_BYTES):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    if wanted in line:
                        return Found(line=line.decode(errors="replace"))
                rest = rest[-_LINE_LIMIT_BYTES:]
            if ended or time.monotonic() >= deadline:
                return Found(line=None, ended=ended)
            time.sleep(_POLL_S)


def _line_start(file: BinaryIO, offset: int) -> int:
    """Where the line that contains the byte at `offset` begins."""
    while offset > 0:
        begin = max(0, offset - _LINE_LIMIT_BYTES)
        file.seek(begin)
        position = file.read(offset - begin).rfind(b"\n")
        if position >= 0:
            return begin + position + 1
        offset = begin
    return 0


def _lines_with(block: bytes, wanted: bytes) -> int:
    """Lines of a block of whole lines that contain `wanted`, each counted once."""
    count = 0
    position = block.find(wanted)
    while position >= 0:
        count += 1
        newline = block.find(b"\n", position)
        if newline < 0:
            break
        position = block.find(wanted, newline)
    return count


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """A plain file, opened for reading without following a link at its end."""
    target = checked_file(path)
    with _named_errors(target):
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refusal(f"{path} is no plain file")
            yield file


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error


def _give(path: Path, user: str | None) -> None:
    if user is None or os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise Refusal(f"there is no user {user!r}") from error
    os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
