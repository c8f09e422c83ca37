"""What kind of machine the far end stands on."""

import os
import platform
import pwd
import resource
from pathlib import Path

from bakeoff.hosts.protocol import VERSION
from bakeoff.hosts.records import HostFacts

_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")


def host_facts(folder: Path) -> HostFacts:
    """Facts of this machine; `folder` is the far end's own."""
    cores = os.cpu_count() or 1
    return HostFacts(
        pid=os.getpid(),
        folder=str(folder),
        user=pwd.getpwuid(os.geteuid()).pw_name,
        unprivileged_user=unprivileged_user(),
        cores=cores,
        affinity=sorted(os.sched_getaffinity(0)),
        siblings={core: _siblings(core) for core in range(cores)},
        cpu_model=_cpu_model(),
        cpu_quota=_cpu_quota(),
        governor=_word(_CPUS / "cpu0/cpufreq/scaling_governor"),
        clock_source=_word(
            Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
        ),
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        transparent_huge_pages=_chosen(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
        kernel=platform.release(),
        python=platform.python_version(),
        bakeoff=VERSION,
        open_files_limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        listen_backlog=_number(Path("/proc/sys/net/core/somaxconn")),
        ephemeral_ports=_ephemeral_ports(),
    )


def unprivileged_user() -> str | None:
    """Whom root runs a process as that refuses root: `postgres` where there is one, else
    `nobody`. None where we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def parse_cores(text: str) -> list[int]:
    """A list of cores as the kernel writes it, such as `0-2,8`."""
    cores: list[int] = []
    for span in filter(None, text.strip().split(",")):
        first, _, last = span.partition("-")
        cores += range(int(first), int(last or first) + 1)
    return cores


def _siblings(core: int) -> list[int]:
    return parse_cores(_word(_CPUS / f"cpu{core}/topology/thread_siblings_list") or str(core))


def _cpu_model() -> str | None:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Processor", "CPU part"):
            return value.strip()
    return None


def _cpu_quota() -> float | None:
    """The tightest limit from our own cgroup up to the root, version 2 or 1."""
    quotas = []
    for line in (_text(Path("/proc/self/cgroup")) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        base = _CGROUPS if not controllers else _CGROUPS / controllers
        if controllers and "cpu" not in controllers.split(","):
            continue
        group = Path(path.lstrip("/"))
        for folder in (base / group, *(base / parent for parent in group.parents)):
            quotas += _quota_of(folder)
    return min(quotas, default=None)


def _quota_of(folder: Path) -> list[float]:
    limits = (_text(folder / "cpu.max") or "").split()
    if not limits:
        limits = [
            _word(folder / "cpu.cfs_quota_us") or "-1",
            _word(folder / "cpu.cfs_period_us") or "0",
        ]
    quota, period = limits
    if quota in ("max", "-1") or int(period) == 0:
        return []
    return [int(quota) / int(period)]


def _ephemeral_ports() -> tuple[int, int] | None:
    ports = (_text(Path("/proc/sys/net/ipv4/ip_local_port_range")) or "").split()
    return (int(ports[0]), int(ports[1])) if len(ports) == 2 else None


def _chosen(path: Path) -> str | None:
    """The word in brackets, as in `always [madvise] never`."""
    _, bracket, rest = (_text(path) or "").partition("[")
    return rest.partition("]")[0] if bracket else None


def _number(path: Path) -> int | None:
    word = _word(path)
    return int(word) if word else None


def _word(path: Path) -> str | None:
    text = _text(path)
    return text.strip() if text else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
