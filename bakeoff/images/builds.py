"""The images of a checkout: built, and measured."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bakeoff.errors import RigError
from bakeoff.images.buildah import Buildah
from bakeoff.images.containerfile import container_files, external_bases, read_stages
from bakeoff.images.records import ImageRecord
from bakeoff.images.standins import make_stand_in
from bakeoff.owner import Owner
from bakeoff.sources import sources_sha256


def image_name(name: str) -> str:
    """What the image of a container file is called in buildah's storage."""
    return f"localhost/bakeoff-{name}"


class Images(Owner):
    """Builds images, on bases from a registry into the user's storage, or with `local_bases` on
    bases made of this machine, in a storage of its own that goes at the end."""

    def __init__(self, local_bases: bool) -> None:
        self._local_bases = local_bases
        self.buildah: Buildah
        self._folder: Path

    def _begin(self, stack: ExitStack) -> None:
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="images-")))
        storage = self._folder / "storage" if self._local_bases else None
        self.buildah = stack.enter_context(Buildah(storage))

    def build(self, container_file: Path, image: str) -> ImageRecord:
        """Builds one image. Raises BuildError, and MissingToolError without a toolchain."""
        stages = read_stages(container_file)
        # Before the build, so that what changes meanwhile makes it an older one.
        sources = sources_sha256(container_file.parent)
        made: dict[str, str] = {}
        volumes: list[str] = []
        for reference in external_bases(stages) if self._local_bases else ():
            folder = tempfile.mkdtemp(dir=self._folder, prefix="base-")
            stand_in = make_stand_in(self.buildah, reference, Path(folder))
            made[reference] = stand_in.made_of
            volumes += stand_in.volumes
        self.buildah.build(container_file, image, volumes)
        stands_on = made.get(stages[-1].base)
        return ImageRecord(
            bytes=None if stands_on else self.buildah.size_bytes(image),
            built_with="; ".join([self.buildah.version(), *_told(made)]),
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
            sources_sha256=sources,
            reason=f"it stands on {stands_on}, in place of {stages[-1].base}"
            if stands_on
            else None,
        )


def build_all(local_bases: bool, progress: Callable[[str], None]) -> dict[str, ImageRecord]:
    """Builds every image that can be built; the others have the reason in their record."""
    files = container_files()
    records: dict[str, ImageRecord] = {}
    with ExitStack() as stack:
        try:
            images = stack.enter_context(Images(local_bases))
        except RigError as error:
            return {name: _none(error) for name in files}
        for name, path in files.items():
            progress(f"building {image_name(name)} of {path}")
            try:
                records[name] = images.build(path, image_name(name))
            except RigError as error:
                records[name] = _none(error)
    return records


def _told(made: Mapping[str, str]) -> Iterator[str]:
    return (f"{made_of} in place of {reference}" for reference, made_of in made.items())


def _none(error: RigError) -> ImageRecord:
    return ImageRecord(bytes=None, built_with=None, reason=str(error))
