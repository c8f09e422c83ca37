"""The two services that ship with bakeoff, compared for a moment: do they do the same work?"""

import json
import sys
from pathlib import Path

import pytest

from bakeoff.experiment import ROOT
from tests.e2e.conftest import run_command

# A release build of both, from nothing, is part of it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
_DEADLINE_S = 1700.0
_SETTINGS = (
    *("rounds=1", "seed=7", "rate_rps=100", "warm_up_s=0.5", "fixed_s=2", "fixed_requests=0"),
    *("fixed_maximum_s=2", "closed_s=0.5", "floor_s=0.5", "connections_closed=8"),
)


def test_go_and_rust_do_equal_work(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "bakeoff.cli", "compare", "--results", str(tmp_path)]
    argv += [f"--set={setting}" for setting in _SETTINGS]
    done = run_command(argv, ROOT, {}, _DEADLINE_S)
    assert done.code == 0, done.output
    document = json.loads((tmp_path / "latest" / "run.json").read_text())
    rules = {finding["rule"] for finding in document["validity"]}
    assert not rules & {"unequal work", "unequal bodies", "work not as declared", "instrument"}
    for service in ("go", "rust"):
        metrics = document["services"][service]["metrics"]
        assert metrics["sql_statements_per_request"]["value"] == 2.0
        assert metrics["grpc_calls_per_request"]["value"] == 1.0
        assert metrics["log_lines_per_request"]["value"] == 1.0
        assert metrics["response_bytes_per_request"]["value"] > 0
        assert document["services"][service]["build"]["release"]
