"""`python -m stub_payment`: the command line of the payment stub."""

import asyncio
import sys
from pathlib import Path

import click

from bakeoff.errors import BakeoffError
from stub_payment.process import ENGINES
from stub_payment.supervisor import StubOptions, run

MAXIMUM_PORT = 65_535


@click.command(
    epilog="Example: python -m stub_payment --engine wire --port 0 --processes 2",
    context_settings={"show_default": True},
)
@click.option("--engine", type=click.Choice(list(ENGINES)), default="wire", help="What serves.")
@click.option(
    "--port",
    type=click.IntRange(0, MAXIMUM_PORT),
    default=0,
    help="First port; each process takes the next one. 0: free ports.",
)
@click.option("--processes", type=click.IntRange(1, 64), default=1, help="Serving processes.")
@click.option("--host", default="127.0.0.1", help="Address to bind, also for the control port.")
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file of charges, kept over restarts.  [default: a temporary one]",
)
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0, 3600),
    default=10.0,
    help="Seconds that calls in flight get after SIGTERM or SIGINT.",
)
def main(
    engine: str, port: int, processes: int, host: str, ledger: Path | None, grace_s: float
) -> None:
    """Serve the payment provider of the rig over gRPC.

    Prints one JSON line, {"ports": [...], "control_port": N}, once everything serves.
    """
    if port and port + processes - 1 > MAXIMUM_PORT:
        raise click.UsageError(
            f"--port {port} and --processes {processes} go beyond port {MAXIMUM_PORT}"
        )
    options = StubOptions(engine, host, port, processes, ledger, grace_s)
    try:
        asyncio.run(run(options, lambda line: print(line, flush=True)))
    except BakeoffError as error:
        click.echo(f"stub_payment: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(prog_name="python -m stub_payment")
