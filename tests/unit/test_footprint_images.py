"""The size of an image in a footprint: what was written down of it, or why there is none."""

from pathlib import Path

from bakeoff.footprint.images import image_size
from bakeoff.images.records import ImageRecord, write_records


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
