"""`make bench`: the instrument's own cost beside its anchors, in one run."""

from pathlib import Path

import click
import msgspec

from bakeoff.store import write_whole
from benchmarks import generator, swarm_centre

RESULTS = Path("results") / "bench.json"


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=5, help="Of each, interleaved.")
def main(repeats: int) -> None:
    """Measures and writes results/bench.json."""
    found = {**generator.measure(repeats), **swarm_centre.measure(repeats)}
    RESULTS.parent.mkdir(exist_ok=True)
    content = msgspec.json.format(msgspec.json.encode(found), indent=2)
    write_whole(RESULTS, content + b"\n")
    click.echo(generator.table(found))
    click.echo(swarm_centre.table(found))
    click.echo(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
