"""The two services that ship with bakeoff, compared for a moment: do they do the same work?"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bakeoff.experiment import ROOT, WORKLOADS
from tests.e2e.conftest import run_command

# A release build of both, from nothing, is part of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
_DEADLINE_S = 1700.0
_SETTINGS = (
    *("rounds=1", "seed=7", "rate_rps=60", "warm_up_s=0.5", "fixed_s=2", "fixed_requests=0"),
    *("fixed_maximum_s=2", "closed_s=0.5", "floor_s=0.5", "connections_closed=8"),
    # Several run beside each other, and pinned ones would all have their rigs on the first cores.
    "pin=false",
)
_UNEQUAL = {"unequal work", "unequal bodies", "work not as declared", "instrument"}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_go_and_rust_do_equal_work(workload: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "bakeoff.cli", "compare", "--results", str(tmp_path)]
    argv += ["--workload", workload, *(f"--set={setting}" for setting in _SETTINGS)]
    done = run_command(argv, ROOT, {}, _DEADLINE_S)
    assert done.code == 0, done.output
    document = json.loads((tmp_path / "latest" / "run.json").read_text())
    findings = [one for one in document["validity"] if one["rule"] in _UNEQUAL]
    assert not findings
    assert not any(one["rule"] == "arrivals not as planned" for one in document["validity"])
    fixed = _fixed_phases(tmp_path / "latest")
    assert set(fixed) == {"go", "rust"}
    for service, phase in fixed.items():
        _check_work(workload, document["services"][service]["metrics"], phase)
        assert document["services"][service]["build"]["release"]
    assert "| **no** |" not in (tmp_path / "latest" / "summary.md").read_text()


def _fixed_phases(results: Path) -> dict[str, Any]:
    records = [json.loads(path.read_text()) for path in results.glob("rounds/*/phases.json")]
    return {
        record["label"]: next(phase for phase in record["phases"] if phase["name"] == "fixed")
        for record in records
    }


def _check_work(workload: str, metrics: Mapping[str, Any], phase: Mapping[str, Any]) -> None:
    work, audit, requests = WORKLOADS[workload], phase["audit"], phase["requests"]
    # All that is declared is sent, and all of it gets the answer that it expects.
    assert set(requests) == set(work)
    answered = sum(one["answered"] for one in requests.values())
    assert phase["counts"]["sent"] == answered == audit["answered"] == audit["log_lines"]
    statements = sum(one["answered"] * work[name].statements for name, one in requests.items())
    calls = sum(one["answered"] * work[name].grpc_calls for name, one in requests.items())
    assert sum(audit["statements"].values()) == statements
    assert audit["stub_calls"] == calls
    assert metrics["sql_statements_per_request"]["value"] == pytest.approx(statements / answered)
    assert metrics["grpc_calls_per_request"]["value"] == pytest.approx(calls / answered)
    assert metrics["log_lines_per_request"]["value"] == 1.0
    assert metrics["response_bytes_per_request"]["value"] > 0
