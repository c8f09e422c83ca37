"""`make bench`: the instrument's own cost beside its anchors, in one run."""

from benchmarks import unpatched  # noqa: F401, I001

from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from bakeoff.files import write_whole
from benchmarks import end_to_end, generator, lateness, stubs, swarm_centre
from benchmarks.figures import lines, summed_up
from benchmarks.page import page
from benchmarks.ratios import ratios

RESULTS = Path("results") / "bench.json"
PAGE = Path("docs") / "benchmarks.md"

PARTS: dict[str, Callable[[int], dict[str, float]]] = {
    "generator": lambda repeats: summed_up(generator.measure(repeats)),
    "stubs": lambda repeats: summed_up(stubs.measure(repeats)),
    "end_to_end": lambda repeats: summed_up(end_to_end.measure(repeats)),
    "lateness": lambda repeats: summed_up(lateness.measure(repeats)),
    "swarm_centre": lambda repeats: summed_up(swarm_centre.measure(repeats)),
}


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=5, help="Of each, interleaved.")
@click.option(
    "--only",
    type=click.Choice(list(PARTS)),
    multiple=True,
    help="These parts alone; the figures of the others stay as they are.",
)
def main(repeats: int, only: tuple[str, ...]) -> None:
    """Measures and writes results/bench.json; a whole run writes docs/benchmarks.md too."""
    found = msgspec.json.decode(RESULTS.read_bytes()) if only and RESULTS.exists() else {}
    for name in only or PARTS:
        measured = PARTS[name](repeats)
        click.echo("\n".join(lines(measured)))
        found |= measured
        found |= ratios(found)
        # After each part: it takes many minutes until the last is there.
        RESULTS.parent.mkdir(exist_ok=True)
        write_whole(RESULTS, msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    click.echo("\n".join(lines(ratios(found))))
    click.echo(f"written: {RESULTS}")
    if not only:
        write_whole(PAGE, page(found, repeats).encode())
        click.echo(f"written: {PAGE}")


if __name__ == "__main__":
    main()
