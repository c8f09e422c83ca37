"""A toy on the bench: what a step leaves, and what is said of a program."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bakeoff.errors import UsageError
from bakeoff.footprint.bench import Bench
from bakeoff.footprint.plan import Step
from bakeoff.footprint.workspace import Kind, Workspace
from bakeoff.hosts.host import Host
from bakeoff.manifest import FootprintSection, ServiceManifest, load_manifest
from tests.integration.checkout import host_on

TOY = Path(__file__).parents[1] / "fakes" / "toy"


@pytest.fixture
def manifest(tmp_path: Path) -> ServiceManifest:
    shutil.copytree(TOY, tmp_path / "services" / "toy")
    return load_manifest("toy", tmp_path / "services")


@pytest.fixture
def section(manifest: ServiceManifest) -> FootprintSection:
    assert manifest.footprint is not None
    return manifest.footprint


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with host_on(tmp_path / "private", f"bench-{time.monotonic_ns()}") as one:
        yield one


def _bench(
    manifest: ServiceManifest, section: FootprintSection, host: Host, folder: Path
) -> tuple[Bench, Workspace]:
    workspace = Workspace(folder / "private", manifest, section)
    workspace.refresh()
    return Bench(workspace, host, None, folder), workspace


def _step(name: str, repetition: int = 1) -> Step:
    return Step(name, "toy", repetition, 1)


def test_an_artifact_that_is_none_is_named(
    manifest: ServiceManifest, section: FootprintSection, host: Host, tmp_path: Path
) -> None:
    assert section.dev is not None
    mistyped = msgspec.structs.replace(section.dev, artifact="out/dev/toys")
    section = msgspec.structs.replace(section, dev=mistyped)
    bench, _ = _bench(msgspec.structs.replace(manifest, footprint=section), section, host, tmp_path)
    for step in (_step("cold_dev_build"), _step("leaf_dev_build", 0), _step("hub_dev_build")):
        with pytest.raises(UsageError, match=r"no artifact at .*out/dev/toys") as caught:
            bench.do(step, lambda elapsed_s: None)
        assert "`footprint.dev.artifact`" in str(caught.value)


def test_a_step_takes_the_users_settings_for_none_of_its_own(
    manifest: ServiceManifest,
    section: FootprintSection,
    host: Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On which its Makefile gives up.
    monkeypatch.setenv("TOY_STEERED", "1")
    bench, _ = _bench(manifest, section, host, tmp_path)
    assert bench.do(_step("cold_check"), lambda elapsed_s: None).wall_s > 0


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (b"\0Linker: LLD 22.1.2 (/src/llvm 1cb4e38)\0", "LLD 22.1.2"),
        (b"\0mold 2.37.1 (compatible with GNU ld)\0", "mold 2.37.1"),
        (b"GNU\0gold 1.16\0", "gold 1.16"),
    ],
)
def test_a_linker_that_signs_is_named_by_the_program(
    manifest: ServiceManifest,
    section: FootprintSection,
    host: Host,
    tmp_path: Path,
    signature: bytes,
    says: str,
) -> None:
    bench, workspace = _bench(manifest, section, host, tmp_path)
    assert manifest.build is not None
    program = workspace.artifact(Kind.RELEASE, manifest.build.artifact)
    program.parent.mkdir(parents=True)
    program.write_bytes(b"\x7fELF" + signature + b"\0rest")
    assert bench.linker() == says


def test_a_linker_that_does_not_sign_is_as_the_manifest_says_or_unknown(
    manifest: ServiceManifest, section: FootprintSection, host: Host, tmp_path: Path
) -> None:
    bench, _ = _bench(manifest, section, host, tmp_path)
    assert "ld" in (bench.linker() or "")
    without = msgspec.structs.replace(section, linker=None)
    assert _bench(manifest, without, host, tmp_path)[0].linker() is None
    # One that fails ends no run.
    file = tmp_path / "services" / "toy" / "service.toml"
    file.write_text(file.read_text().replace('["ld", "--version"]', '["false"]'))
    failing = load_manifest("toy", tmp_path / "services")
    assert failing.footprint is not None
    assert _bench(failing, failing.footprint, host, tmp_path)[0].linker() is None
