"""Where a run happened: the machine, the versions, the state of the checkout."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from bakeoff.experiment import ROOT
from bakeoff.hosts.host import Host

_PACKAGES = ("locust", "gevent", "uvloop", "httptools", "hdrhistogram", "numpy", "scipy", "grpcio")
_GIT_DEADLINE_S = 10


def describe(hosts: Mapping[str, Host]) -> dict[str, Any]:
    """Facts of each host, versions, and the commit, as they go into `run.json`."""
    return {
        "hosts": {name: msgspec.to_builtins(host.facts()) for name, host in hosts.items()},
        "python": platform.python_version(),
        "bakeoff": version("bakeoff"),
        "packages": {package: version(package) for package in _PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain") or ""),
    }


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words],
            capture_output=True,
            text=True,
            timeout=_GIT_DEADLINE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
