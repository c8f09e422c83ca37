"""The command line: arguments to one call each. The only module that exits."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

import reports
from bakeoff import aim, attended, run
from bakeoff import contract as contract_suite
from bakeoff import doctor as doctor_checks
from bakeoff.arguments import experiment_arguments, experiment_of, repetitions_of
from bakeoff.display import Display
from bakeoff.errors import BakeoffError, CheckFailedError, InterruptedRunError, UsageError
from bakeoff.footprint import session
from bakeoff.measure.checks import parse_check
from bakeoff.store import ResultsFolder

DEFAULT_RESULTS = Path("results")


def main() -> None:
    """Runs the command line and exits with its code."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Runs the command line; returns the exit code that its outcome stands for."""
    display = Display(quiet="--json" in arguments)
    try:
        if not sys.platform.startswith("linux"):
            raise UsageError("bakeoff reads /proc and pins cores, so it runs on Linux only")
        cli.main(args=arguments, prog_name="bakeoff", standalone_mode=False, obj=display)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BakeoffError as error:
        display.error(str(error))
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        display.error("interrupted")
        return InterruptedRunError.exit_code
    return 0


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="bakeoff")
def cli() -> None:
    """Settles with numbers which of two services is worth running."""


@cli.command(epilog="Example: bakeoff compare --quick --check 'ratio.cpu_us_per_request <= 1.2'")
@experiment_arguments
@click.option("--check", "checks", multiple=True, metavar="EXPR", help="Must hold, else exit 1.")
@click.option("--database-url", metavar="URL", envvar="BAKEOFF_DATABASE_URL", help="A Postgres.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=DEFAULT_RESULTS, help="Where to write."
)
@click.option("--json", "as_json", is_flag=True, help="Print run.json on standard output.")
@click.pass_obj
def compare(
    display: Display,
    /,
    checks: tuple[str, ...],
    database_url: str | None,
    results: Path,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compares two services under load and leaves a report."""
    experiment = experiment_of(**settings)
    options = run.Options(
        results=results,
        checks=[parse_check(text, experiment.labels) for text in checks],
        database_url=database_url,
    )
    with display.live():
        outcome = run.compare(experiment, options, display)
    reports.build(outcome.folder)
    if as_json:
        display.result(msgspec.json.encode(outcome.document).decode())
    else:
        display.show(reports.terminal_summary(outcome.folder))
    if outcome.error is not None:
        raise outcome.error
    failed = [check for check in outcome.document.checks if check["outcome"] != "passed"]
    if failed:
        raise CheckFailedError(
            "; ".join(
                f"check {check['text']!r} {check['outcome']}: {check['found']}" for check in failed
            )
        )


@cli.command(epilog="Example: bakeoff load http://127.0.0.1:8080/ --rate 1000 --duration 10")
@click.argument("url")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="None: closed model.")
@click.option("--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), required=True)
@click.option("--connections", type=click.IntRange(min=1), default=64)
@click.option("--workers", type=click.IntRange(min=1), default=1)
@click.option("--json", "as_json", is_flag=True, help="One line of JSON and nothing else.")
@click.pass_obj
def load(
    display: Display,
    /,
    url: str,
    rate: float | None,
    arrivals: str,
    duration: float,
    connections: int,
    workers: int,
    as_json: bool,
) -> None:
    """Aims the generator at any address and prints latencies, rates and its own cost."""
    result = aim.load(
        aim.Aim(
            url=url,
            rate_rps=rate,
            arrivals=arrivals,
            duration_s=duration,
            connections=connections,
            workers=workers,
        ),
        display,
    )
    if as_json:
        display.result(msgspec.json.encode(result).decode())
    else:
        display.rows(aim.describe(result))


@cli.command(epilog="Example: bakeoff ui --services go,rust")
@experiment_arguments
@click.option("--web-port", type=click.IntRange(0, 65535), default=8089, help="0: a free one.")
@click.pass_obj
def ui(display: Display, /, web_port: int, **settings: Any) -> None:
    """Brings the whole rig up and serves Locust's own page, until Ctrl-C."""
    experiment = experiment_of(**settings)

    def ready(url: str) -> None:
        display.note(f"Locust's page: {url}  (Ctrl-C ends everything)")

    attended.serve_page(experiment, web_port, ready, display)


@cli.command(epilog="Example: bakeoff up --services go,rust --json")
@experiment_arguments
@click.option("--json", "as_json", is_flag=True, help="One line of JSON when all is ready.")
@click.pass_obj
def up(display: Display, /, as_json: bool, **settings: Any) -> None:
    """Keeps both services and all that they need running, until Ctrl-C."""
    experiment = experiment_of(**settings)

    def ready(facts: attended.RigFacts) -> None:
        if as_json:
            display.result(msgspec.json.encode(facts).decode())
            return
        shown = msgspec.to_builtins(facts) | {"tokens": f"{len(facts.tokens)}, in the tokens file"}
        display.rows((name, str(value)) for name, value in shown.items())
        display.note("Ctrl-C ends everything")

    attended.keep_up(experiment, ready, display)


@cli.command(epilog="Example: bakeoff footprint --skip cold --into results/latest")
@click.option("--services", metavar="A,B", default="go,rust", help="By folder name.")
@click.option(
    "--skip",
    "skipped",
    type=click.Choice(["cold"]),
    multiple=True,
    help="cold: no build from nothing; a quarter of an hour instead of an hour.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=N", help="cold, incremental: runs.")
@click.option("--database-url", metavar="URL", envvar="BAKEOFF_DATABASE_URL", help="A Postgres.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=DEFAULT_RESULTS, help="Where to write."
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A results folder whose report is to have it too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print footprint.json on standard output.")
@click.pass_obj
def footprint(
    display: Display,
    /,
    services: str,
    skipped: tuple[str, ...],
    overrides: tuple[str, ...],
    database_url: str | None,
    results: Path,
    into: Path | None,
    as_json: bool,
) -> None:
    """Counts the lines of services and times their builds and tests."""
    if into is not None:
        reports.check_readable(ResultsFolder.open(into))
    options = session.Options(
        services=services.split(","),
        results=results,
        into=into,
        skip_cold="cold" in skipped,
        database_url=database_url,
        repetitions=repetitions_of(overrides),
    )
    with display.live():
        outcome = session.measure(options, display)
    reports.build(outcome.folder)
    if as_json:
        display.result(msgspec.json.encode(outcome.document).decode())
    else:
        display.show(reports.footprint_summary(outcome.document, outcome.folder))
    if outcome.error is not None:
        raise outcome.error


@cli.command(epilog="Example: bakeoff report results/latest")
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def report(display: Display, /, folder: Path) -> None:
    """Makes the report again from a results folder."""
    results = ResultsFolder.open(folder)
    reports.build(results)
    for summary in reports.summaries(results):
        display.show(summary)


@cli.command(epilog="Example: bakeoff contract http://127.0.0.1:8080 --tokens-file FILE -- -x")
@click.argument("url")
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--tokens-file",
    type=click.Path(path_type=Path),
    envvar="BAKEOFF_TOKENS_FILE",
    help="Tokens of two accounts, as `bakeoff up` writes them.",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0, min_open=True),
    default=contract_suite.SUITE_DEADLINE_S,
    help="Seconds that it may take.",
)
def contract(
    url: str, pytest_arguments: tuple[str, ...], tokens_file: Path | None, deadline_s: float
) -> None:
    """Checks a running service at URL against the contract; pytest gets what follows --."""
    contract_suite.run_suite(url, tokens_file, pytest_arguments, deadline_s)


@cli.command(epilog="Example: bakeoff doctor")
@click.pass_obj
def doctor(display: Display, /) -> None:
    """Says what is installed, what is missing, and whether the machine is fit and quiet."""
    checks = doctor_checks.examine()
    display.rows((check.name, check.state, check.found, check.advice) for check in checks)
    doctor_checks.require_fit(checks)


if __name__ == "__main__":
    main()
