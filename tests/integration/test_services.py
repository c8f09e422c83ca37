"""Each service's own tests, in its own language, against a Postgres of the rig."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff import toolchains
from bakeoff.experiment import LOCAL, SERVICES
from bakeoff.hosts.host import Host, ProcessSpec
from bakeoff.manifest import load_manifest
from bakeoff.rig.postgres import Postgres
from bakeoff.rig.rig import MIGRATIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
_DEADLINE_S = 1700.0


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host(LOCAL, run_id=secrets.token_hex(8)) as host:
        yield host


@pytest.fixture(scope="module")
def database_url(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # Each of their tests copies this database and brings rows of its own: a seed would be copied
    # a hundred times for nothing.
    no_seed = tmp_path_factory.mktemp("sql") / "seed.sql"
    no_seed.touch()
    with Postgres(host) as postgres:
        postgres.prepare_template(MIGRATIONS, no_seed)
        yield postgres.fresh_database("service_tests")


@pytest.mark.parametrize("service", ["go", "rust"])
def test_the_service_passes_its_own_tests(
    service: str, host: Host, database_url: str, tmp_path: Path
) -> None:
    manifest = load_manifest(service)
    assert manifest.test is not None
    log = tmp_path / "tests.log"
    spec = ProcessSpec(
        name=f"tests of {service}",
        argv=manifest.test.command,
        environment={
            **toolchains.environment(manifest.test.command[0]),
            "DATABASE_URL": database_url,
        },
        cwd=f"{SERVICES.name}/{service}",
        log=str(log),
    )
    with host.start(spec) as process:
        code = process.wait(_DEADLINE_S)
    assert code == 0, log.read_text()[-20_000:]
