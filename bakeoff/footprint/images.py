"""The sizes of the services' images, from `make images`."""

from collections.abc import Sequence
from pathlib import Path

from bakeoff.images.records import FILE_NAME, read_records
from bakeoff.measure.footprint import Amount


def image_size(service: str, folders: Sequence[Path]) -> Amount:
    """The size in bytes of a service's image, as the first of the folders of results that knows
    it says, or why there is none."""
    for folder in folders:
        if (record := read_records(folder).get(service)) is not None:
            return Amount(value=record.bytes, reason=record.reason)
    places = dict.fromkeys(str((folder / FILE_NAME).resolve()) for folder in folders)
    return Amount(value=None, reason=f"no image of {service} in {' or '.join(places)}: make images")
