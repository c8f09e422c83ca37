"""`run.json`: a whole run, as `reports` and others read it from a results folder."""

from typing import Any, Literal

import msgspec

from bakeoff.measure.records import Finding


class MetricDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of one service over all rounds: geometric mean and the 95 % t interval on logs."""

    value: float | None
    low: float | None
    high: float | None
    unit: str
    rounds: list[float | None]
    samples: int | None
    rate_rps: float | None
    marks: list[str]
    voided_by: list[str]
    reason: str | None


class RatioDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The ratio of the second service to the first, from paired log ratios of the blocks.

    `p` is the two-sided p of the paired t test, `p_holm` after Holm's correction over the family
    (None outside it). `smallest_visible` is a ratio above 1: a difference of that size is found
    four times in five. `word` is None where no verdict word may be used.
    """

    of: str
    over: str
    value: float | None
    low: float | None
    high: float | None
    blocks: int
    p: float | None
    p_holm: float | None
    smallest_visible: float | None
    word: str | None
    marks: list[str]
    voided_by: list[str]
    reason: str | None = None


class ServiceDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A service in `run.json`: where it came from, and its metrics."""

    title: str
    metrics: dict[str, MetricDocument]
    build: dict[str, Any] = {}
    died: list[str] = []


class BlockDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The order of the labels in a block; `rerun_of` names the block it replaces."""

    order: list[str]
    rerun_of: int | None
    rounds: list[int] = []


class RunDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`run.json`, schema `bakeoff.run/1`."""

    schema: Literal["bakeoff.run/1"]
    created_at: str
    finished: bool
    environment: dict[str, Any]
    experiment: dict[str, Any]
    reference_rate_rps: float | None
    rates_rps: list[float]
    connections: dict[str, int]
    seed: int
    blocks: list[BlockDocument]
    floor: dict[str, Any] | None
    post_says: dict[str, Any]
    services: dict[str, ServiceDocument]
    ratios: dict[str, RatioDocument]
    validity: list[Finding]
    # The family named before the run, in order.
    family: list[str]
    checks: list[dict[str, Any]] = []
