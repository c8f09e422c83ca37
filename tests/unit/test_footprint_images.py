"""The size of an image in a footprint: what was written down of it, or why there is none."""

from bakeoff.footprint.images import image_size
from bakeoff.images.records import ImageRecord


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
