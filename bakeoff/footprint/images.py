"""The sizes of the services' images, from whoever built them."""

from pathlib import Path

import msgspec

from bakeoff.errors import UsageError
from bakeoff.measure.footprint import Amount

# In the folder of all results: {"<service>": bytes}.
FILE_NAME = "images.json"


def image_sizes(results: Path) -> dict[str, int]:
    """The size in bytes of each service's image, as `results/images.json` has it; none where there
    is no such file. Raises UsageError for one that is something else."""
    path = results / FILE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path} has no sizes of images in it: {error}") from error


def image_size(service: str, sizes: dict[str, int]) -> Amount:
    """One service's, or why there is none."""
    if service in sizes:
        return Amount(value=sizes[service])
    return Amount(value=None, reason=f"no image of {service} was built here ({FILE_NAME})")
