"""Requests made from openapi.yaml by schemathesis, all of its checks, alone and in sequences."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bakeoff.experiment import ROOT
from tests.contract.api import Target
from tests.contract.rig import SCALE, TEST_SEED, scaled

SCHEMA = ROOT / "services" / "contract" / "openapi.yaml"
SETTINGS = Path(__file__).parent / "schemathesis.toml"
# Cases an operation in a full run.
CASES = 1000
DEADLINE_S = 600 + 3600 * SCALE

pytestmark = pytest.mark.timeout(DEADLINE_S + 60)


# OPTIONS answers for a path, whatever the id: in a sequence it would count as the use of what was
# deleted before.
@pytest.mark.parametrize(
    "selected",
    [
        ("--exclude-method", "OPTIONS"),
        ("--include-method", "OPTIONS", "--phases", "examples,coverage"),
    ],
    ids=["resources", "options"],
)
def test_the_service_keeps_its_schema(
    target: Target, tmp_path: Path, selected: Sequence[str]
) -> None:
    api = target.account(0)
    if target.rig is not None:
        # Something to find for what has only ids to go by.
        api.invoice()
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS)]
    command += ["run", str(SCHEMA), "--url", target.base_url, "--checks", "all", *selected]
    command += ["--max-examples", str(scaled(CASES)), "--seed", str(TEST_SEED)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "BEARER_TOKEN": api.token},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    print(f"BAKEOFF_SEED={TEST_SEED}")
    assert done.returncode == 0, done.stdout
