"""A folder that git keeps."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def repository(folder: Path, add: Sequence[str]) -> None:
    """Makes a folder a work tree of its own, with these files in its index; skips without git."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    # Of this repository, where a hook of git runs the tests.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    for words in (["init", "--quiet"], *([["add", "--", *add]] if add else [])):
        subprocess.run(["git", *words], cwd=folder, env=environment, check=True, timeout=60)
