"""Figures, counts and settings as a report writes them."""

from collections.abc import Iterable
from typing import Any

from bakeoff.measure.metrics import METRICS, format_number, format_value
from bakeoff.measure.records import Finding

NOTHING = "-"
_CLASS_NAMES = {"L": "latency", "C": "throughput and capacity", "U": "CPU", "R": "memory"}


def title(name: str) -> str:
    """A metric's name for people, with a capital; a key that is unknown stands as it is."""
    known = METRICS.get(name)
    return _capital(known.title) if known else name


def quantity(name: str, value: float) -> str:
    """A metric's value with its unit."""
    return format_value(name, value) if name in METRICS else format_number(value)


def interval(name: str, low: float | None, high: float | None) -> str:
    """`1.88 to 1.98 ms`; empty where there is none."""
    if low is None or high is None:
        return ""
    first, last = quantity(name, low), quantity(name, high)
    number, _, unit = first.partition(" ")
    return f"{number if last.endswith(unit) else first} to {last}"


def optional(value: float | None) -> str:
    """A number, or a dash."""
    return NOTHING if value is None else format_number(value)


def share(value: float) -> str:
    """A part of one as per cent, such as `37 %`."""
    return f"{100 * value:.0f} %"


def counted(count: int, noun: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def touched(finding: Finding) -> str:
    """The classes of figures that a finding touches, in words."""
    return ", ".join(_CLASS_NAMES[letter] for letter in finding.touches) or "nothing"


def flat(tree: Any, path: str = "") -> Iterable[tuple[str, str]]:
    """A tree of settings as rows of dotted key and value, null as "none"."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        for index, value in enumerate(tree):
            yield from flat(value, f"{path}.{index}")
    elif isinstance(tree, list):
        yield path, ", ".join(map(str, tree)) or "none"
    elif isinstance(tree, bool):
        yield path, "yes" if tree else "no"
    else:
        yield path, "none" if tree is None or tree == {} else str(tree)


def _capital(text: str) -> str:
    # Not of gRPC.
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]
