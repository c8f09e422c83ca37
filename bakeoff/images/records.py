"""What is known of images, for the footprint: `images.json` in the folder of all results."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bakeoff.errors import UsageError
from bakeoff.experiment import ROOT

FILE_NAME = "images.json"
# Where `make images` writes them, unless it is told otherwise.
RESULTS = ROOT / "results"


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An image's size: the bytes of its layers, not compressed, or None with the `reason`.

    `built_with` is the builder, and what its bases were; None where nothing was built.
    `built_at` is when, in UTC, and `sources_sha256` is of what, where git knows that.
    """

    bytes: int | None
    built_with: str | None
    built_at: str | None = None
    sources_sha256: str | None = None
    reason: str | None = None


def write_records(results: Path, records: Mapping[str, ImageRecord]) -> Path:
    """Writes the records, by the names of the images, into the folder of all results; the path."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / FILE_NAME
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(records)) + b"\n")
    partial.replace(path)
    return path


def read_records(results: Path) -> dict[str, ImageRecord]:
    """What was written, by the names of the images; nothing where there is no file.

    Raises UsageError for a file that is something else.
    """
    path = results / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, ImageRecord])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path} has no records of images in it: {error}") from error
