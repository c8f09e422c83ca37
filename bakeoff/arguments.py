"""The arguments that make an experiment, which several commands have in common."""

from pathlib import Path
from typing import Any

import click
import msgspec

from bakeoff.errors import UsageError
from bakeoff.experiment import (
    EXPERIMENTS,
    Experiment,
    load_experiment,
    parse_override,
    profiles,
)
from bakeoff.measure.operations import Repetitions


def experiment_arguments(command: Any) -> Any:
    """Gives a command all of them."""
    for option in reversed(
        [
            click.option("--services", metavar="A,B", help="The two services, by folder name."),
            click.option("--workload", help="A Locust file in locustfiles/, without .py."),
            click.option("--profile", type=click.Choice(profiles()), help="How thorough."),
            click.option("--quick", is_flag=True, help="The same as --profile quick."),
            click.option(
                "--experiment",
                "experiment_file",
                type=click.Path(path_type=Path),
                help="An experiment file instead of a profile.",
            ),
            click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="A key."),
            click.option("--rounds", type=int, help="Blocks, so rounds of each service."),
            click.option("--rate", type=float, help="Requests a second; else from a pilot."),
            click.option("--null", "null", metavar="SERVICE", help="Compare it with itself."),
            click.option("--no-pin", is_flag=True, help="Leave all parts on all cores."),
            click.option("--allow-unequal-work", is_flag=True, help="Judge all the same."),
            click.option("--allow-debug", is_flag=True, help="Take a build without release flags."),
        ]
    ):
        command = option(command)
    return command


def repetitions_of(overrides: tuple[str, ...]) -> Repetitions:
    """How often a footprint times what, from `key=value`; UsageError names what will not do."""
    try:
        return msgspec.convert(dict(map(parse_override, overrides)), Repetitions)
    except msgspec.ValidationError as error:
        known = ", ".join(Repetitions.__struct_fields__)
        raise UsageError(f"a bad value in --set: {error}; known are: {known}") from error


def experiment_of(
    *,
    services: str | None,
    profile: str | None,
    quick: bool,
    experiment_file: Path | None,
    overrides: tuple[str, ...],
    rate: float | None,
    no_pin: bool,
    **flags: Any,
) -> Experiment:
    """The experiment of a command's arguments; UsageError where they exclude each other."""
    if quick and profile not in (None, "quick"):
        raise UsageError(f"--quick is --profile quick, but --profile says {profile}")
    name = "quick" if quick else profile
    if experiment_file is not None and name is not None:
        raise UsageError("--experiment and a profile exclude each other: name one of them")
    path = experiment_file or EXPERIMENTS / f"{name or 'default'}.toml"
    return load_experiment(
        path,
        overrides,
        services=services.split(",") if services else None,
        rate_rps=rate,
        pin=False if no_pin else None,
        # A flag that was not given is left to the file.
        **{key: None if value is False else value for key, value in flags.items()},
    )
