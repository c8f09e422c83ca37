"""The post's claims of lines and compile times, held against a footprint."""

from bakeoff.measure.footprint import CONCERNS, FootprintDocument, FootprintRatio
from bakeoff.measure.footprintsummary import lines_total
from bakeoff.measure.operations import OPERATIONS
from bakeoff.measure.post import POST_LINES, POST_SERVICES
from bakeoff.measure.words import format_ratio
from reports.cells import NO_RATIO

_NEARLY_20 = (20.0, 20.0)
_6_TO_8 = (6.0, 8.0)


def is_of_the_post(document: FootprintDocument) -> bool:
    """Whether the two services are those that the post compares, in its order."""
    return tuple(document.services) == POST_SERVICES


def answers(document: FootprintDocument) -> list[str]:
    """Both claims by their numbers; none where other services were measured."""
    if not is_of_the_post(document):
        return []
    return [f"Claim 4: {claim_4(document)}", f"Claim 5: {claim_5(document)}"]


def claim_4(document: FootprintDocument) -> str:
    """Cold builds, and incremental ones, each held against the post's factor by its interval."""
    cold = _held(document.ratios.get("cold_release_build"), "nearly 20", _NEARLY_20)
    parts = [f"cold release build {cold}"]
    for name in ("leaf_dev_build", "hub_dev_build"):
        held = _held(document.ratios.get(name), "6 to 8", _6_TO_8)
        parts.append(f"{OPERATIONS[name].title} {held}")
    return "Rust over Go: " + "; ".join(parts)


def claim_5(document: FootprintDocument) -> str:
    """The line counts, which have no interval: they are what they are."""
    first, second = document.services.values()
    ratio = document.ratios["lines_total"].value
    if ratio is None:
        return "not measured: there are no lines of code"
    by_concern = ", ".join(
        f"{concern} {format_ratio(found)}"
        for concern in CONCERNS
        if (found := document.ratios[f"lines_{concern}"].value) is not None
    )
    says = POST_LINES["total"]
    return (
        f"Rust has {format_ratio(ratio)} times the lines of code of Go, "
        f"{lines_total(second.lines):,} against {lines_total(first.lines):,} ({by_concern}); "
        f"the post has {format_ratio(says['rust'] / says['go'])}"
    )


def _held(ratio: FootprintRatio | None, says: str, claimed: tuple[float, float]) -> str:
    """A ratio with its interval, and on which side of the post's factor it lies."""
    if ratio is None or ratio.value is None:
        return f"not measured ({ratio.reason if ratio else NO_RATIO})"
    text = f"{format_ratio(ratio.value)} times"
    if ratio.low is None or ratio.high is None:
        return f"{text} (no interval: {ratio.reason})"
    if ratio.high < claimed[0]:
        side = f"below the post's {says}"
    elif ratio.low > claimed[1]:
        side = f"above the post's {says}"
    elif claimed[0] <= ratio.low and ratio.high <= claimed[1]:
        side = f"as the post's {says}"
    else:
        side = f"not told from the post's {says}"
    low, high = format_ratio(ratio.low), format_ratio(ratio.high)
    return f"{text} (95 % interval {low} to {high}, {ratio.pairs} pairs), {side}"
