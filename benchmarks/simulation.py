"""What a simulation of a swarm's workers is given, and what it finds."""

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated, and when it is measured: the window begins `settle_s` into the run."""

    port: int
    master_pid: int
    workers: int
    samples: int
    stock: bool
    duration_s: float
    settle_s: float
    window_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What the window and the whole run came to.

    `reports` counts those with samples, of the window; `lag_*` is how long the master took to
    answer a heartbeat.
    """

    reports: int
    report_bytes: float
    interval_s: float
    bytes_per_s: float
    master_us_per_report: float
    master_cores: float
    master_rss_bytes: int
    lag_p50_ms: float
    lag_max_ms: float
    connected_s: float
    # The whole run: reports with samples, samples, and how long the last acknowledgement took.
    sent_reports: int
    sent_samples: int
    acknowledged_s: float
    # How far this process fell behind its own schedule, at worst.
    behind_s: float
