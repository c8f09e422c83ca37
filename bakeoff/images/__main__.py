"""`python -m bakeoff.images`: what `make lint`, `make images` and `make pin-images` call."""

import sys
from pathlib import Path

import click

from bakeoff.errors import BakeoffError
from bakeoff.experiment import ROOT
from bakeoff.images.builds import build_all
from bakeoff.images.containerfile import container_files
from bakeoff.images.pins import pin_files, registry_digest
from bakeoff.images.records import RESULTS, write_records
from bakeoff.images.rules import problems_of
from bakeoff.signals import interruptible

COMPOSE_FILE = ROOT / "compose.yaml"


@click.group()
def main() -> None:
    """Check, pin and build the images of both services and of the payment stub."""


@main.command(epilog="Example: python -m bakeoff.images check services/go/Containerfile")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(files: tuple[Path, ...]) -> None:
    """Say what is wrong with container files, by default all of this checkout: exit 1 if any."""
    problems = [
        problem for path in files or container_files().values() for problem in problems_of(path)
    ]
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)


@main.command(epilog="Example: python -m bakeoff.images pin")
def pin() -> None:
    """Write the digest of each base image behind its tag: exit 3 where a registry gave none."""
    pins = pin_files([*container_files().values(), COMPOSE_FILE], registry_digest)
    for found in pins:
        click.echo(f"{found.reference}: {found.digest or f'left as it is: {found.reason}'}")
    if any(found.digest is None for found in pins):
        sys.exit(3)


@main.command(epilog="Example: python -m bakeoff.images build --local-bases")
@click.option(
    "--local-bases",
    is_flag=True,
    help="Make the bases of this machine's toolchains, where no registry can be reached.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    help="Folder that images.json goes to.  [default: results]",
)
def build(local_bases: bool, results: Path) -> None:
    """Build what can be built, and write the sizes to images.json: exit 3 if any was not built.

    Interrupted, it ends what it began, leaves images.json as it was, and exits with 130.
    """
    with interruptible():
        records = build_all(local_bases, click.echo)
    for name, record in records.items():
        size = "no size" if record.bytes is None else f"{record.bytes / 1e6:.1f} MB"
        click.echo(f"{name}: {size}; {record.built_with or 'not built'}")
        if record.reason:
            click.echo(f"  {record.reason}")
    click.echo(f"written to {write_records(results, records)}")
    if any(record.built_with is None for record in records.values()):
        sys.exit(3)


if __name__ == "__main__":
    try:
        main(prog_name="python -m bakeoff.images")
    except BakeoffError as error:
        click.echo(f"bakeoff: {error}", err=True)
        sys.exit(error.exit_code)
