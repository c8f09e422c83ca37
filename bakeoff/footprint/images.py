"""The services' images, from `make images`: their sizes, and which builds these are of."""

from collections.abc import Sequence
from pathlib import Path

from bakeoff.images.records import FILE_NAME, ImageRecord, read_records
from bakeoff.manifest import ServiceManifest
from bakeoff.measure.footprint import Amount, ImageBuild
from bakeoff.sources import sources_sha256


def image_size(service: str, folders: Sequence[Path]) -> Amount:
    """The size in bytes of a service's image, as the first of the folders of results that knows
    it says, or why there is none."""
    record = _record(service, folders)
    if record is not None:
        return Amount(value=record.bytes, reason=record.reason)
    places = dict.fromkeys(str((folder / FILE_NAME).resolve()) for folder in folders)
    return Amount(value=None, reason=f"no image of {service} in {' or '.join(places)}: make images")


def image_build(manifest: ServiceManifest, folders: Sequence[Path]) -> ImageBuild | None:
    """Which build of a service its image is, held against its sources as they are; None where
    there is no image."""
    record = _record(manifest.name, folders)
    if record is None or record.built_with is None:
        return None
    now = sources_sha256(manifest.folder)
    known = now is not None and record.sources_sha256 is not None
    return ImageBuild(
        built_at=record.built_at,
        built_with=record.built_with,
        same_sources=now == record.sources_sha256 if known else None,
    )


def _record(service: str, folders: Sequence[Path]) -> ImageRecord | None:
    found = (read_records(folder).get(service) for folder in folders)
    return next((record for record in found if record is not None), None)
