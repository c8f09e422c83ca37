"""The image in a footprint: its size as it was written down or why there is none, and which build
it is of."""

import shutil
from pathlib import Path

import msgspec
import pytest

from bakeoff.footprint.images import image_build, image_size
from bakeoff.images.records import ImageRecord
from bakeoff.manifest import ServiceManifest, load_manifest
from bakeoff.measure.footprint import ImageBuild
from bakeoff.sources import sources_sha256
from tests.unit.gitfolder import repository

TOY = Path(__file__).parents[1] / "fakes" / "toy"
AT = "2026-01-02T03:04:05+00:00"


def test_a_size_or_the_reason_that_there_is_none() -> None:
    records = {
        "go": ImageRecord(bytes=18_000_000, built_with="buildah 1.28.2"),
        "rust": ImageRecord(bytes=None, built_with=None, reason="buildah is missing"),
    }
    assert image_size("go", records).value == 18_000_000
    assert image_size("go", records).reason is None
    assert image_size("rust", records).value is None
    assert image_size("rust", records).reason == "buildah is missing"
    assert image_size("c", records).value is None
    assert "no image of c" in (image_size("c", records).reason or "")


@pytest.fixture
def manifest(tmp_path: Path) -> ServiceManifest:
    """The toy, in a work tree of git's."""
    shutil.copytree(TOY, tmp_path / "toy")
    repository(tmp_path, add=["toy"])
    return load_manifest("toy", tmp_path)


def test_an_image_is_held_against_the_sources_as_they_are(manifest: ServiceManifest) -> None:
    record = ImageRecord(
        bytes=18_000_000,
        built_with="buildah 1",
        built_at=AT,
        sources_sha256=sources_sha256(manifest.folder),
    )
    built = ImageBuild(built_at=AT, built_with="buildah 1", same_sources=True)
    assert image_build(manifest, {"toy": record}) == built
    (manifest.folder / "main.c").write_text("int changed;\n")
    older = msgspec.structs.replace(built, same_sources=False)
    assert image_build(manifest, {"toy": record}) == older


def test_what_is_not_known_of_an_image_is_not_made_up(manifest: ServiceManifest) -> None:
    unknown = ImageBuild(built_at=None, built_with="buildah 1", same_sources=None)
    without = ImageRecord(bytes=1, built_with="buildah 1")
    assert image_build(manifest, {"toy": without}) == unknown
    shutil.rmtree(manifest.folder.parent / ".git")
    of_git = msgspec.structs.replace(without, sources_sha256="0" * 64)
    assert image_build(manifest, {"toy": of_git}) == unknown
    assert image_build(manifest, {"other": without}) is None
    failed = ImageRecord(bytes=None, built_with=None, reason="buildah is missing")
    assert image_build(manifest, {"toy": failed}) is None
