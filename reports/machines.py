"""The machines of a run or a footprint, a line each."""

from collections.abc import Mapping
from typing import Any

from bakeoff.measure.document import RunDocument
from bakeoff.measure.footprint import FootprintDocument
from reports import phrases


def machines(document: RunDocument | FootprintDocument) -> list[str]:
    """Such as `local: Example CPU, 2 cores, 8.00 GB, Linux 6.1`; of a footprint with the cores
    that the builds could use, such as `2 of 64 cores`."""
    cores = _usable_cores if isinstance(document, FootprintDocument) else _cores
    found = document.environment.get("hosts")
    lines = []
    for name, host in (found if isinstance(found, dict) else {}).items():
        known = host if isinstance(host, dict) else {}
        memory = known.get("memory_bytes")
        parts = [
            known.get("cpu_model"),
            cores(known),
            phrases.quantity("rss_steady_bytes", memory)
            if isinstance(memory, int | float)
            else None,
            f"Linux {known['kernel']}" if known.get("kernel") else None,
        ]
        lines.append(f"{name}: {', '.join(str(part) for part in parts if part) or 'unknown'}")
    return lines


def _cores(host: Mapping[str, Any]) -> str | None:
    cores = host.get("cores")
    return phrases.counted(cores, "core") if isinstance(cores, int) else None


def _usable_cores(host: Mapping[str, Any]) -> str | None:
    """Those that a process may run on, as far as the quota goes."""
    cores, affinity, quota = (host.get(name) for name in ("cores", "affinity", "cpu_quota"))
    if not isinstance(cores, int):
        return None
    usable: float = len(affinity) if isinstance(affinity, list) and affinity else cores
    if isinstance(quota, int | float):
        usable = min(usable, quota)
    of_all = phrases.counted(cores, "core")
    return of_all if usable == cores else f"{usable:g} of {of_all}"
