"""Where a run happened: the machine, the versions, the state of the checkout."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from bakeoff.experiment import ROOT
from bakeoff.hosts.host import Host
from bakeoff.rig.cores import CorePlan

_PACKAGES = ("locust", "gevent", "uvloop", "httptools", "hdrhistogram", "numpy", "scipy", "grpcio")
_GIT_DEADLINE_S = 10
# What a host says of itself that is nobody else's business.
_PRIVATE = ("pid", "folder", "user", "unprivileged_user")


def describe(hosts: Mapping[str, Host], cores: CorePlan) -> dict[str, Any]:
    """Facts of each host, who gets which cores, versions, and the commit: for `run.json`."""
    return {
        "hosts": {name: _facts(host) for name, host in hosts.items()},
        "cores": {
            "service": sorted(cores.service or ()),
            "rig": sorted(cores.rig or ()),
            "usable": cores.usable,
        },
        "python": platform.python_version(),
        "bakeoff": version("bakeoff"),
        "packages": {package: version(package) for package in _PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain") or ""),
    }


def _facts(host: Host) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(host.facts())
    return {name: value for name, value in facts.items() if name not in _PRIVATE}


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
