"""The services' images, from `make images`: their sizes, and which builds these are of."""

from collections.abc import Mapping

from bakeoff.images.records import FILE_NAME, ImageRecord
from bakeoff.manifest import ServiceManifest
from bakeoff.measure.footprint import Amount, ImageBuild
from bakeoff.sources import sources_sha256


def image_size(service: str, records: Mapping[str, ImageRecord]) -> Amount:
    """The size in bytes of a service's image, or why there is none."""
    record = records.get(service)
    if record is None:
        return Amount(
            value=None, reason=f"no image of {service} was built here ({FILE_NAME}: make images)"
        )
    return Amount(value=record.bytes, reason=record.reason)


def image_build(manifest: ServiceManifest, records: Mapping[str, ImageRecord]) -> ImageBuild | None:
    """Which build of a service its image is, held against its sources as they are; None where
    there is no image."""
    record = records.get(manifest.name)
    if record is None or record.built_with is None:
        return None
    now = sources_sha256(manifest.folder)
    known = now is not None and record.sources_sha256 is not None
    return ImageBuild(
        built_at=record.built_at,
        built_with=record.built_with,
        same_sources=now == record.sources_sha256 if known else None,
    )
