"""The arguments that bakeoff adds to Locust's, on its command line and on its page."""

from locust import events

import json
import math
import os
import secrets
from argparse import SUPPRESS, Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bakeoff.errors import UsageError

TARGETS_VARIABLE = "BAKEOFF_TARGETS"
# How a run is called while it travels with Locust's own options to the workers.
RUN_OPTION = "bakeoff_run"
# What sends requests: our engine, or Locust's FastHttpUser.
ENGINE = "engine"
FAST_HTTP = "fasthttpuser"
DEFAULT_USERS = 64
DEFAULT_SPAWN_RATE = 1000
_RATE_MAXIMUM = 10_000_000
_SECONDS_MAXIMUM = 7 * 86_400


@dataclass(frozen=True)
class LoadSettings:
    """A run's settings. `rate_rps` None: closed model; `duration_s` 0: until stopped."""

    rate_rps: float | None
    arrivals: str
    seed: int
    duration_s: float
    timeout_s: float


def parse_settings(options: Mapping[str, Any]) -> LoadSettings:
    """Settings from Locust's options or a form; UsageError names what will not do."""
    rate = str(options.get("rate") or "").strip()
    arrivals = str(options.get("arrivals") or "poisson")
    if arrivals not in ("poisson", "constant"):
        raise UsageError(f"arrivals must be poisson or constant, not {arrivals!r}")
    if rate and options.get("client") == FAST_HTTP:
        raise UsageError(
            f"rate {rate}: --client {FAST_HTTP} has no open model; leave one of the two out"
        )
    return LoadSettings(
        rate_rps=_number("rate", rate, 0, _RATE_MAXIMUM) if rate else None,
        arrivals=arrivals,
        seed=int(_number("seed", options.get("seed") or 0, -1, 2**53)) or secrets.randbelow(2**53),
        duration_s=_number("duration", options.get("duration") or 0, -1, _SECONDS_MAXIMUM),
        timeout_s=_number("request timeout", options.get("request_timeout") or 10, 0, 3600),
    )


def targets() -> dict[str, str]:
    """The services that may be aimed at, by name; empty: any address."""
    text = os.environ.get(TARGETS_VARIABLE)
    if not text:
        return {}
    try:
        named = json.loads(text)
        return {str(name): str(url).rstrip("/") for name, url in named.items()}
    except (ValueError, AttributeError) as error:
        raise UsageError(
            f"{TARGETS_VARIABLE} must be a JSON object of names and URLs: {error}"
        ) from error


def host_of(environment: Any) -> str:
    """The address a test aims at: Locust's host, or that of its user classes; empty: none."""
    hosts = [environment.host, *(user.host for user in environment.user_classes)]
    return next((host for host in hosts if host), "").rstrip("/")


def uses_fast_http(environment: Any) -> bool:
    """Locust's own client sends the requests, so that there is no engine."""
    return getattr(environment.parsed_options, "client", ENGINE) == FAST_HTTP


def has_option(options: Namespace, name: str) -> bool:
    """A custom argument is known to this Locust."""
    return hasattr(options, name)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: Any) -> None:
    """Locust: the arguments, which are also fields of its page."""
    # Not a group of its own: Locust shows only the parser's own arguments on its page.
    known = targets()
    if known:
        parser.add_argument(
            "--target", choices=list(known), default=next(iter(known)), help="Service to aim at"
        )
    parser.add_argument(
        "--rate",
        default="",
        help="Requests a second, over all workers (open model); empty: closed model, each user "
        "sends its next request when the one before is answered",
    )
    parser.add_argument(
        "--arrivals",
        choices=["poisson", "constant"],
        default="poisson",
        help="Gaps between arrivals: exponential (Poisson process) or all the same",
    )
    parser.add_argument("--seed", default="0", help="Of arrivals and data; 0: a new one each time")
    parser.add_argument(
        "--duration", default="0", help="Seconds from the first arrival on; 0: until stopped"
    )
    parser.add_argument(
        "--request-timeout", default="10", help="Seconds after which an answer is given up"
    )
    parser.add_argument(
        "--client",
        choices=[ENGINE, FAST_HTTP],
        default=ENGINE,
        help="What sends the requests: the engine, or Locust's FastHttpUser at ten times the cost "
        "(closed model only; the same for master and workers)",
        include_in_web_ui=False,
    )
    parser.add_argument(
        f"--{RUN_OPTION.replace('_', '-')}", default="", help=SUPPRESS, include_in_web_ui=False
    )


def _number(name: str, value: Any, above: float, maximum: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not above < number <= maximum:
        raise UsageError(f"{name} must be a number over {above} and at most {maximum}: {value!r}")
    return number
