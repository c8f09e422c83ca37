"""What travels between the ends of a host and is of use beyond them."""

import signal
from typing import TypedDict

import msgspec


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process to start.

    `environment` is complete: beside it there are only PATH, HOME, LANG, TZ and bakeoff's own
    marks. Standard output goes to the file `log`, which starts empty, and standard error too
    unless `error_log` names another. `cpus` are the cores that it may use. `user` is whom to run
    it as when the far end is root. A process whose log grows over `log_limit_bytes` is ended.
    """

    name: str
    argv: list[str]
    environment: dict[str, str]
    cwd: str
    log: str
    error_log: str | None = None
    cpus: frozenset[int] | None = None
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    grace_s: float = 10.0
    log_limit_bytes: int = 2 << 30


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine is; None where it does not say.

    `siblings` has for each core the cores that share its execution units (SMT). `cpu_quota` is
    the cgroup's limit in cores.
    """

    pid: int
    folder: str
    user: str
    # Whom to run a process as that must not run as root; None where the far end is not root.
    unprivileged_user: str | None
    cores: int
    affinity: list[int]
    siblings: dict[int, list[int]]
    cpu_model: str | None
    cpu_quota: float | None
    governor: str | None
    clock_source: str | None
    memory_bytes: int
    transparent_huge_pages: str | None
    kernel: str
    python: str
    bakeoff: str
    open_files_limit: int
    listen_backlog: int | None
    ephemeral_ports: tuple[int, int] | None


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a process that has ended used, with all below it that were waited for: CPU time, and
    the memory of the largest single one of them.

    That is None where the far end was larger itself: a child begins with its mark.
    """

    cpu_us: int
    largest_rss_bytes: int | None


class SampleRow(TypedDict):
    """What a part uses, all its processes together. Counters count from some start: only their
    differences mean anything."""

    t_s: float
    part: str
    processes: int
    rss_bytes: int
    peak_rss_bytes: int
    cpu_us: int
    run_queue_us: int
    threads: int
    open_files: int
    context_switches: int


class CoreRow(TypedDict):
    """What a core has done since the machine started, in microseconds."""

    t_s: float
    core: int
    busy_us: int
    idle_us: int
    steal_us: int
    irq_us: int


class OtherRow(TypedDict):
    """A process of no part that used over 5 % of a core in the second before `t_s`."""

    t_s: float
    pid: int
    name: str
    cores: float
