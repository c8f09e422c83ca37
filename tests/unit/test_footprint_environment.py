"""What of the user's environment reaches a timed build: nothing that steers a compiler."""

import shutil
import sys
from pathlib import Path

import pytest

from bakeoff.footprint.bench import inherited
from bakeoff.footprint.workspace import Kind, Workspace
from bakeoff.manifest import load_manifest

STEERING = {
    "go": (
        "AR CC CXX CGO_CFLAGS CGO_ENABLED GOAMD64 GODEBUG GOEXPERIMENT GOFLAGS GOGC GOMAXPROCS "
        "GOMEMLIMIT GOTMPDIR GOWORK"
    ),
    "rust": (
        "CARGO_BUILD_JOBS CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_INCREMENTAL CC "
        "CARGO_PROFILE_RELEASE_LTO CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER CARGO_UNSTABLE_GC "
        "CFLAGS_x86_64_unknown_linux_gnu MAKEFLAGS RUSTC RUST_TEST_THREADS"
    ),
}
NEEDED = {
    "go": (
        "GOAUTH GOMODCACHE GONOSUMDB GOPATH GOPRIVATE GOPROXY GOSUMDB HTTPS_PROXY SSL_CERT_FILE"
    ),
    "rust": (
        "CARGO_HOME CARGO_HTTP_CAINFO CARGO_NET_RETRY CARGO_REGISTRIES_OURS_INDEX "
        "CARGO_REGISTRY_TOKEN HTTPS_PROXY RUSTUP_HOME RUSTUP_TOOLCHAIN SSL_CERT_FILE"
    ),
}
# Set for the build, whatever the user has.
SET = {
    "go": {"GOENV": "off"},
    "rust": {"RUSTC_WRAPPER": "", "RUSTC_WORKSPACE_WRAPPER": "", "RUSTFLAGS": ""},
}


@pytest.mark.parametrize("service", ["go", "rust"])
def test_nothing_steers_our_builds_and_the_registry_is_reached(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = load_manifest(service)
    section = manifest.footprint
    assert section is not None
    steering, needed = STEERING[service].split(), NEEDED[service].split()
    for name in (*steering, *needed, *SET[service]):
        monkeypatch.setenv(name, "the user's")
    found = inherited(section, sys.executable)
    assert not set(steering) & found.keys()
    assert {name: found.get(name) for name in needed} == dict.fromkeys(needed, "the user's")
    assert "PATH" in found
    builds = found | Workspace(tmp_path, manifest, section).environment(Kind.DEV)
    assert {name: builds[name] for name in SET[service]} == SET[service]


def test_a_pattern_that_is_kept_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy = Path(__file__).parents[1] / "fakes" / "toy"
    shutil.copytree(toy, tmp_path / "toy")
    section = load_manifest("toy", tmp_path).footprint
    assert section is not None
    for name in ("TOY_STEERED", "TOY_HOME", "TOYS"):
        monkeypatch.setenv(name, "1")
    found = inherited(section, "make")
    assert {name for name in found if name.startswith("TOY")} == {"TOY_HOME", "TOYS"}
