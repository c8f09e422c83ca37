"""The image in a footprint: its size as it was written down or why there is none, and which build
it is of."""

import shutil
from pathlib import Path

import msgspec
import pytest

from bakeoff.footprint.images import image_build, image_size
from bakeoff.images.records import ImageRecord, write_records
from bakeoff.manifest import ServiceManifest, load_manifest
from bakeoff.measure.footprint import ImageBuild
from bakeoff.sources import sources_sha256
from tests.unit.gitfolder import repository

TOY = Path(__file__).parents[1] / "fakes" / "toy"
AT = "2026-01-02T03:04:05+00:00"


def test_a_size_or_the_reason_that_there_is_none(tmp_path: Path) -> None:
    ours, checkouts = tmp_path / "ours", tmp_path / "checkout" / "results"
    assert image_size("go", (ours, checkouts)).value is None
    records = {
        "go": ImageRecord(bytes=18_000_000, built_with="buildah 1.28.2"),
        "rust": ImageRecord(bytes=None, built_with=None, reason="buildah is missing"),
    }
    # `make images` knows of no other folder.
    write_records(checkouts, records)
    for folders in ((ours, checkouts), (checkouts,)):
        assert image_size("go", folders).value == 18_000_000
        assert image_size("go", folders).reason is None
        assert image_size("rust", folders).value is None
        assert image_size("rust", folders).reason == "buildah is missing"
    write_records(ours, {"go": ImageRecord(bytes=1_000_000, built_with="another")})
    assert image_size("go", (ours, checkouts)).value == 1_000_000
    assert image_size("rust", (ours, checkouts)).reason == "buildah is missing"
    lacking = image_size("c", (ours, checkouts, checkouts))
    assert lacking.value is None
    assert lacking.reason == (
        f"no image of c in {ours}/images.json or {checkouts}/images.json: make images"
    )


@pytest.fixture
def manifest(tmp_path: Path) -> ServiceManifest:
    """The toy, in a work tree of git's."""
    shutil.copytree(TOY, tmp_path / "toy")
    repository(tmp_path, add=["toy"])
    return load_manifest("toy", tmp_path)


def build_of(manifest: ServiceManifest, service: str, record: ImageRecord) -> ImageBuild | None:
    """What a results folder with that record says."""
    results = manifest.folder.parent / "results"
    write_records(results, {service: record})
    return image_build(manifest, [results])


def test_an_image_is_held_against_the_sources_as_they_are(manifest: ServiceManifest) -> None:
    record = ImageRecord(
        bytes=18_000_000,
        built_with="buildah 1",
        built_at=AT,
        sources_sha256=sources_sha256(manifest.folder),
    )
    built = ImageBuild(built_at=AT, built_with="buildah 1", same_sources=True)
    assert build_of(manifest, "toy", record) == built
    (manifest.folder / "main.c").write_text("int changed;\n")
    older = msgspec.structs.replace(built, same_sources=False)
    assert build_of(manifest, "toy", record) == older


def test_what_is_not_known_of_an_image_is_not_made_up(manifest: ServiceManifest) -> None:
    unknown = ImageBuild(built_at=None, built_with="buildah 1", same_sources=None)
    without = ImageRecord(bytes=1, built_with="buildah 1")
    assert build_of(manifest, "toy", without) == unknown
    shutil.rmtree(manifest.folder.parent / ".git")
    of_git = msgspec.structs.replace(without, sources_sha256="0" * 64)
    assert build_of(manifest, "toy", of_git) == unknown
    assert build_of(manifest, "other", without) is None
    failed = ImageRecord(bytes=None, built_with=None, reason="buildah is missing")
    assert build_of(manifest, "toy", failed) is None
