"""The sizes of the services' images, from `make images`."""

from collections.abc import Mapping

from bakeoff.images.records import FILE_NAME, ImageRecord
from bakeoff.measure.footprint import Amount


def image_size(service: str, records: Mapping[str, ImageRecord]) -> Amount:
    """The size in bytes of a service's image, or why there is none."""
    record = records.get(service)
    if record is None:
        return Amount(
            value=None, reason=f"no image of {service} was built here ({FILE_NAME}: make images)"
        )
    return Amount(value=record.bytes, reason=record.reason)
