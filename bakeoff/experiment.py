"""The typed description of a run, read from `experiments/*.toml`.

Every default stands here and nowhere else, so that `run.json` can spell all of them out. A key
that is unknown or has a value that will not do is refused by name, with the file it stands in.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bakeoff.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "experiments"
LOCUSTFILES = ROOT / "locustfiles"
SERVICES = ROOT / "services"

LOCAL = "local"
# Names the file with tokens and ids, for Locust files and for services that run elsewhere.
TOKENS_VARIABLE = "BAKEOFF_TOKENS_FILE"

Name = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,62}\Z")]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Rate = Annotated[float, Meta(gt=0, le=10_000_000)]


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one answered request must cost: the audit holds both services to it.

    With `own_bodies` its answer holds ids or times that the service makes up, so that only the
    lengths of two services' answers can be compared.
    """

    statements: int
    grpc_calls: int = 0
    own_bodies: bool = False


# By Locust file, the requests that it sends, by their names; the costs are the contract's.
WORKLOADS: Mapping[str, Mapping[str, Work]] = {
    "payment_status": {
        "GET /v1/invoices/{id}/payment": Work(statements=2, grpc_calls=1),
    },
    "crud": {
        "GET /v1/invoices/{id}": Work(statements=1),
        "GET /v1/invoices": Work(statements=1),
        "GET /v1/invoices?after": Work(statements=1),
        "POST /v1/invoices": Work(statements=1, own_bodies=True),
        "PATCH /v1/invoices/{id}": Work(statements=4, own_bodies=True),
        "DELETE /v1/invoices/{id}": Work(statements=4),
        "GET /v1/subscriptions/{id}": Work(statements=1),
        "GET /v1/subscriptions": Work(statements=1),
        "GET /v1/subscriptions?after": Work(statements=1),
        "POST /v1/subscriptions": Work(statements=1, own_bodies=True),
        "PATCH /v1/subscriptions/{id}": Work(statements=4, own_bodies=True),
        "DELETE /v1/subscriptions/{id}": Work(statements=4),
    },
    "checkout": {
        "POST /v1/invoices": Work(statements=1, own_bodies=True),
        "POST /v1/invoices/{id}/pay": Work(statements=13, grpc_calls=1, own_bodies=True),
        "POST /v1/invoices/{id}/pay (replay)": Work(statements=1, own_bodies=True),
    },
    "statements": {
        "GET /v1/subscriptions/{id}/statement": Work(statements=2),
    },
}


class HostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine: the command that starts Python there, and the address it is reached at."""

    command: Annotated[list[str], Meta(min_length=1)]
    address: str


class Placement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part stands on which host, by the names under `hosts`; `local` is this machine.

    `workers` has one entry a worker; empty: as many on `local` as the cores allow.
    """

    service: Name = LOCAL
    postgres: Name = LOCAL
    stub: Name = LOCAL
    master: Name = LOCAL
    workers: list[Name] = []


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One comparison, every setting of it. Times in seconds, rates in requests a second."""

    profile: str = "default"
    workload: Name = "payment_status"
    services: Annotated[list[Name], Meta(min_length=2, max_length=2)] = msgspec.field(
        default_factory=lambda: ["go", "rust"]
    )
    # Blocks, so rounds of each service. Even, so that the alternating order cancels a drift.
    rounds: Annotated[int, Meta(ge=1, le=100)] = 6
    # 0: drawn, and stored.
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0
    warm_up_s: Seconds = 8
    fixed_s: Seconds = 15
    # The fixed-rate phase grows until it has this many requests, up to its maximum.
    fixed_requests: Annotated[int, Meta(ge=0, le=100_000_000)] = 10_000
    fixed_maximum_s: Seconds = 25
    closed_s: Seconds = 5
    pilot_s: Seconds = 4
    # Against the null server, before the first block.
    floor_s: Seconds = 4
    # None: half of the lower pilot throughput.
    rate_rps: Rate | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    connections_open: Count = 256
    connections_closed: Count = 64
    request_timeout_s: Seconds = 10
    database_max_connections: Annotated[int, Meta(ge=1, le=150)] = 16
    payment_channels: Annotated[int, Meta(ge=1, le=64)] = 1
    payment_timeout_ms: Annotated[int, Meta(ge=1, le=60_000)] = 1000
    # `wire` is for load, `grpcio` the reference.
    stub_engine: Literal["wire", "grpcio"] = "wire"
    stub_processes: Annotated[int, Meta(ge=1, le=64)] = 1
    stub_latency_ms: Annotated[float, Meta(ge=0, le=60_000)] = 0
    # Worker threads of a service; None: one for each core that it is pinned to.
    worker_threads: Annotated[int, Meta(ge=1, le=1024)] | None = None
    # Cores of the service when it is pinned; None: half of them.
    service_cores: Annotated[int, Meta(ge=1, le=1024)] | None = None
    pin: bool = True
    start_deadline_s: Seconds = 20
    # How often a block may be run again for a fault of the rig.
    reruns: Annotated[int, Meta(ge=0, le=10)] = 2
    allow_unequal_work: bool = False
    allow_debug: bool = False
    # Compares this service with itself.
    null: Name | None = None
    # The address that master, service and stub bind in a swarm of machines.
    bind_address: str = "127.0.0.1"
    hosts: dict[Name, HostSettings] = {}
    placement: Placement = Placement()

    @property
    def labels(self) -> tuple[str, str]:
        """The names of the two columns: the services, or `go-a` and `go-b` in a null test."""
        if self.null is not None:
            return f"{self.null}-a", f"{self.null}-b"
        first, second = self.services
        return first, second

    def service_of(self, label: str) -> str:
        """The service that stands behind a label."""
        return label if self.null is None else self.null


def profiles() -> list[str]:
    """The names of the experiments that ship with bakeoff."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.toml"))


def load_experiment(path: Path, overrides: Sequence[str] = (), **flags: Any) -> Experiment:
    """Reads an experiment file and lays `key=value` overrides and flags over it.

    Raises UsageError for a file that cannot be read, an unknown key, or a bad value.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the experiment {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the experiment {path} is not valid TOML: {error}") from error
    settings.setdefault("profile", path.stem)
    for override in overrides:
        key, value = parse_override(override)
        settings[key] = value
    settings.update({key: value for key, value in flags.items() if value is not None})
    return checked(settings, str(path))


def checked(settings: Mapping[str, Any], source: str) -> Experiment:
    """Settings as an Experiment; UsageError names the key that will not do and its source."""
    known = {field.name for field in msgspec.structs.fields(Experiment)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UsageError(
            f"unknown key {', '.join(map(repr, unknown))} in {source}; "
            f"known are: {', '.join(sorted(known))}"
        )
    try:
        experiment = msgspec.convert(dict(settings), Experiment)
    except msgspec.ValidationError as error:
        raise UsageError(f"a bad value in {source}: {error}") from error
    _check_names(experiment, source)
    return experiment


def parse_override(override: str) -> tuple[str, Any]:
    """`key=value` as key and value, a TOML value or else text; UsageError where it is none."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"--set wants key=value, not {override!r}")
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text


def _check_names(experiment: Experiment, source: str) -> None:
    if experiment.workload not in WORKLOADS:
        raise UsageError(
            f"unknown workload {experiment.workload!r} (key `workload` in {source}); "
            f"known are: {', '.join(sorted(WORKLOADS))}"
        )
    wanted = [experiment.null] if experiment.null else experiment.services
    known = sorted(path.parent.name for path in SERVICES.glob("*/service.toml"))
    for service in wanted:
        if service not in known:
            raise UsageError(
                f"unknown service {service!r} (key `services` in {source}); known are: "
                f"{', '.join(known)}. A service is a folder with a service.toml in {SERVICES.name}/"
            )
    if experiment.null is None and len(set(experiment.services)) == 1:
        raise UsageError(
            f"both services are {experiment.services[0]!r} (key `services` in {source}); "
            "to compare a service with itself use --null"
        )
    placed = experiment.placement
    for host in (placed.service, placed.postgres, placed.stub, placed.master, *placed.workers):
        if host != LOCAL and host not in experiment.hosts:
            raise UsageError(
                f"the host {host!r} (key `placement` in {source}) is not described "
                f"under `hosts`; known are: {', '.join([LOCAL, *sorted(experiment.hosts)])}"
            )
    if experiment.fixed_maximum_s < experiment.fixed_s:
        raise UsageError(
            f"fixed_maximum_s ({experiment.fixed_maximum_s:g}) is below fixed_s "
            f"({experiment.fixed_s:g}) in {source}"
        )
