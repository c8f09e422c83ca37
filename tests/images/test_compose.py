"""`compose.yaml`: valid, whole, without a secret, and each part waits for what it needs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bakeoff.experiment import ROOT
from bakeoff.images.containerfile import container_files, read_stages
from bakeoff.images.rules import problem_of_reference
from bakeoff.rig.rig import MIGRATIONS, SEED

PATH = ROOT / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(PATH.read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
BILLING = ("go", "rust")
CONTRACT = ROOT / "services" / "contract" / "README.md"


def _schema_says(path: Path) -> int:
    check = Path(sys.executable).with_name("check-jsonschema")
    words = [str(check), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode


def test_it_is_a_compose_file(tmp_path: Path) -> None:
    assert _schema_says(PATH) == 0
    bad = tmp_path / "compose.yaml"
    bad.write_text(PATH.read_text().replace("depends_on:", "depends_upon:"))
    assert _schema_says(bad) == 1


def test_it_has_everything() -> None:
    assert set(SERVICES) == {"postgres", "stub", *BILLING}
    for name in ("stub", *BILLING):
        file = ROOT / SERVICES[name]["build"]["dockerfile"]
        assert file == container_files()[name]
    assert problem_of_reference(SERVICES["postgres"]["image"]) is None


@pytest.mark.parametrize("name", BILLING)
def test_each_service_waits_for_what_it_needs(name: str) -> None:
    needed = {part: {"condition": "service_healthy"} for part in ("postgres", "stub")}
    assert SERVICES[name]["depends_on"] == needed


@pytest.mark.parametrize("name", SERVICES)
def test_each_part_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        image = read_stages(ROOT / service["build"]["dockerfile"])[-1]
        assert "healthcheck" not in service and image.last("HEALTHCHECK")
    else:
        assert service["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", BILLING)
def test_settings_are_those_of_the_contract_and_all_that_are_required(name: str) -> None:
    table = re.findall(r"^\| `([A-Z_]+)` \| (\S+)", CONTRACT.read_text(), flags=re.MULTILINE)
    required = {setting for setting, default in table if default == "required"}
    assert len(required) == 5
    given = set(SERVICES[name]["environment"])
    assert required <= given <= {setting for setting, _ in table}
    # What differs between the two would be compared with them.
    assert SERVICES[name]["environment"] == SERVICES["go"]["environment"]


def test_no_secret_stands_in_it() -> None:
    found = 0
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET", name):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), name
                found += 1
            if name == "DATABASE_URL":
                assert re.match(r"postgres://\w+:\$\{POSTGRES_PASSWORD:\?[^}]+\}@postgres:", value)
                found += 1
    assert found == 5


def test_what_is_published_is_published_to_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 2 == len({port.split(":")[1] for port in published})
    for port in published:
        address, _, inside = port.split(":")
        assert address == "127.0.0.1"
        assert inside == "8080"


def test_the_database_has_every_migration_and_the_seed_in_order() -> None:
    mounts = [mount.split(":") for mount in SERVICES["postgres"]["volumes"]]
    assert all(mode == "ro" for _, _, mode in mounts)
    # The image runs them in the order of their names.
    in_order = sorted(mounts, key=lambda mount: mount[1])
    assert [ROOT / source for source, _, _ in in_order] == [
        *sorted(MIGRATIONS.glob("*.sql")),
        SEED,
    ]


@pytest.mark.parametrize("name", ["stub", *BILLING])
def test_ours_can_write_nothing_and_gain_nothing(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_secrets_are_drawn_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    makefile.write_text((ROOT / "Makefile").read_text())
    command = ["make", "--silent", f"PYTHON={sys.executable}", ".env"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    drawn = tmp_path / ".env"
    first = drawn.read_text()
    assert drawn.stat().st_mode & 0o777 == 0o600
    values = dict(line.split("=") for line in first.splitlines())
    asked = set(re.findall(r"\$\{([A-Z_]+):", PATH.read_text()))
    assert set(values) == asked
    assert all(len(value) >= 32 and value.isalnum() for value in values.values())
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert drawn.read_text() == first
    drawn.unlink()
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert drawn.read_text() != first
