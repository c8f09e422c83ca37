"""h2spec, the conformance suite of HTTP/2, against the engine for load."""

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bakeoff import toolchains
from tests.stub.process import ROOT, Stub

# The newest that the Go proxy gives; h2spec has no module of its own yet.
H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
CASES = 146
_FOLDER = ROOT / ".toolchains" / "h2spec"
_BUILD_DEADLINE_S = 900
_CASE_TIMEOUT_S = 5


def h2spec() -> Path:
    """The program, built if need be."""
    program = _FOLDER / "h2spec"
    if not program.exists():
        subprocess.run(
            [str(toolchains.find("go")), "install", H2SPEC],
            env={**toolchains.environment("go"), "GOBIN": str(_FOLDER)},
            timeout=_BUILD_DEADLINE_S,
            check=True,
        )
    return program


@pytest.mark.timeout(_BUILD_DEADLINE_S + CASES * _CASE_TIMEOUT_S)
def test_every_case_of_h2spec_passes(wire: Stub, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = subprocess.run(
        [
            *(str(h2spec()), "--strict", "--host", "127.0.0.1", "--port", str(wire.ports[0])),
            *("--timeout", str(_CASE_TIMEOUT_S), "--junit-report", str(report)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=CASES * _CASE_TIMEOUT_S,
        check=False,
    )
    cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [
        f"{case.get('package')}: {case.get('classname')}"
        for case in cases
        if case.find("failure") is not None
        or case.find("error") is not None
        or case.find("skipped") is not None
    ]
    assert not bad, (bad, done.stdout[-3000:])
    assert (len(cases), done.returncode) == (CASES, 0), done.stdout[-500:]
    print(f"h2spec: {CASES} cases, 0 failed")
