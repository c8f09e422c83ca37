"""The anchors that are programs: ghz as a caller, and a stub on grpc-go. Both are built here."""

import os
import subprocess
from pathlib import Path

from bakeoff import toolchains
from bakeoff.experiment import SERVICES
from benchmarks.processes import ROOT

GHZ = "github.com/bojand/ghz/cmd/ghz@v0.93.0"
_FOLDER = ROOT / ".toolchains" / "bench"
_BUILD_DEADLINE_S = 900


def ghz() -> Path:
    """The ghz program."""
    program = _FOLDER / "ghz"
    if not program.exists():
        _go("install", GHZ, folder=ROOT, GOBIN=str(_FOLDER))
    return program


def go_stub() -> Path:
    """A payment stub on grpc-go that answers at once."""
    program = _FOLDER / "gostub"
    _go("build", "-o", str(program), "./internal/testkit/stub", folder=SERVICES / "go")
    return program


def _go(*arguments: str, folder: Path, **environment: str) -> None:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [str(toolchains.find("go")), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        timeout=_BUILD_DEADLINE_S,
        check=True,
    )
