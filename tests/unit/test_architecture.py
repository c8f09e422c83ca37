"""The layout is the architecture: imports go one way, and only `load` knows Locust."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What each part may import beside itself; everybody may import these.
COMMON = {"errors", "experiment", "manifest", "progress", "timerfd"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "timerfd": set(),
    "experiment": set(),
    "manifest": set(),
    "progress": set(),
    "toolchains": set(),
    "display": set(),
    "owner": set(),
    "prctl": set(),
    "sources": set(),
    "files": set(),
    "suite": {"prctl"},
    "hosts": {"prctl"},
    "measure": set(),
    "verify": set(),
    "nullserver": set(),
    "environment": {"hosts", "rig"},
    "rig": {"hosts", "owner", "protos"},
    "build": {"hosts", "toolchains"},
    "images": {"owner", "prctl", "signals", "sources", "toolchains"},
    "store": {"files", "measure"},
    "load": {"measure", "prctl"},
    "reports": {"measure", "store"},
    "stub_payment": {"protos"},
    "signals": set(),
    "doctor": {"hosts", "toolchains", "rig"},
    "rounds": {"rig", "hosts", "owner", "verify", "build", "measure", "store"},
    "aim": {"rig", "hosts", "measure", "signals"},
    "arguments": {"measure"},
    "preparation": {"rig", "hosts", "build"},
    "attended": {"preparation", "rig", "signals"},
    "contract": {"signals"},
    "footprint": {
        "build",
        "images",
        "sources",
        "toolchains",
        "environment",
        "hosts",
        "rig",
        "measure",
        "store",
        "signals",
    },
    "run": {
        "rig",
        "rounds",
        "verify",
        "preparation",
        "environment",
        "measure",
        "store",
        "signals",
    },
    "cli": {
        "arguments",
        "run",
        "aim",
        "attended",
        "contract",
        "footprint",
        "reports",
        "display",
        "doctor",
        "store",
        "measure",
    },
}
LOCUST_USERS = {"load", "locustfiles", "benchmarks", "tests"}


def _part(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("").parts
    return relative[1] if relative[0] == "bakeoff" and len(relative) > 1 else relative[0]


def _sources() -> list[Path]:
    folders = ("bakeoff", "reports", "stub_payment", "locustfiles")
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if path != ROOT / "bakeoff" / "__init__.py"]


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide the arrows"
            yield node.module
            if node.module in ("bakeoff", "protos"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _target(module: str) -> str | None:
    words = module.split(".")
    if words[0] == "bakeoff":
        return words[1] if len(words) > 1 else None
    if words[0] in ("reports", "stub_payment", "protos", "locustfiles", "tests", "benchmarks"):
        return words[0]
    return None


def test_the_sources_are_found() -> None:
    assert {"errors", "load", "reports", "stub_payment"} <= {_part(path) for path in _sources()}


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_go_one_way(path: Path) -> None:
    part = _part(path)
    if part == "locustfiles":
        allowed = {"load"}
    else:
        assert part in ALLOWED, f"{part} has no place in the architecture yet: add it to ALLOWED"
        allowed = ALLOWED[part] | COMMON | {part}
    wrong = {target for module in _imported(path) if (target := _target(module))} - allowed
    assert not wrong, f"{path.relative_to(ROOT)} must not import {sorted(wrong)}"


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_load_knows_locust(path: Path) -> None:
    if _part(path) in LOCUST_USERS:
        return
    foreign = [name for name in _imported(path) if name.split(".")[0] in ("locust", "gevent")]
    assert not foreign, f"{path.relative_to(ROOT)}: gevent's patches must stay in load"


@pytest.mark.parametrize("path", _sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_display_prints_and_only_the_cli_exits(path: Path) -> None:
    # Programs of their own speak on their own standard output.
    programs = {"__main__.py", "remote.py", "nullserver.py", "toolchains.py", "announce.py"}
    if path.name in programs or _part(path) in ("display", "cli", "stub_payment", "load"):
        return
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"print", "exit"}, path
