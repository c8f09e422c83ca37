"""What a folder of sources holds: as git has it, without what was built there."""

import hashlib
import os
import subprocess
from pathlib import Path

from bakeoff.experiment import ROOT

_DEADLINE_S = 60
_PROTOS = ROOT / "protos"


def kept_by_git(folder: Path) -> frozenset[Path]:
    """The files below a folder, relative to it, that git has or does not ignore: none where the
    folder is in no work tree, or git is missing."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others"]
    try:
        done = subprocess.run(
            [*command, "--exclude-standard"],
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    names = done.stdout.split(b"\0") if done.returncode == 0 else []
    found = (Path(os.fsdecode(name)) for name in names if name)
    # It also names what was deleted since, and submodules.
    return frozenset(path for path in found if (folder / path).is_file())


def sources_sha256(folder: Path) -> str | None:
    """The SHA-256 of all that is built from a folder, which is its files and the protos, by names
    and contents; None where git does not say which they are."""
    files = {place: kept_by_git(place) for place in (folder, _PROTOS)}
    if not files[folder]:
        return None
    digest = hashlib.sha256()
    for place, paths in files.items():
        for path in sorted(paths):
            content = hashlib.sha256((place / path).read_bytes()).hexdigest()
            digest.update(os.fsencode(path) + f"\0{content}\n".encode())
    return digest.hexdigest()
