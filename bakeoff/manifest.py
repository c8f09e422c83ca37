"""A service as data: `service.toml` in a folder of its own under `services/`.

It either says how to build and run the service, or, with `url`, where it already runs.
"""

import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from bakeoff.errors import UsageError
from bakeoff.experiment import SERVICES, Name

FILE_NAME = "service.toml"
_FILE_LIMIT_BYTES = 64 * 1024

Command = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]
Variable = Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z")]
# Of names of variables, as of a shell: `CARGO_*`.
Pattern = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_*?]+\Z")]
Line = Annotated[str, Meta(min_length=1, pattern=r"\A[^\n]*\Z")]


class BuildSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is built. `toolchain` prints the compiler's version; a build without one of
    `release_flags` is a debug build."""

    command: Command
    artifact: str
    toolchain: Command
    release_flags: list[str] = []


class RunSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is started, and what it gets beside the contract's settings."""

    command: Command
    environment: dict[Variable, str] = {}


class CommandSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Just a command."""

    command: Command


class SourcesSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Globs of source files by concern, and of those that are none: generated code, lock files.

    What `tests` finds is a test, whichever other concern's glob finds it, too. Where a file has its
    own tests in it, `inline_tests` is the line that they begin with.
    """

    boot: list[str] = []
    handlers: list[str] = []
    domain: list[str] = []
    tests: list[str] = []
    generated: list[str] = []
    locks: list[str] = []
    inline_tests: Line | None = None


class DevSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The build of a developer's day, without the release flags."""

    command: Command
    artifact: str


class ChangeSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to one file: `insert` goes below the line `after`, which stands there once. Its
    `{n}` becomes another number each time, and the program must come out different for it."""

    file: str
    after: Line
    insert: Annotated[str, Meta(pattern=r"\{n\}")]


class FootprintSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `bakeoff footprint` needs beside the build.

    `caches` are the variables that say where the compiler keeps what it has compiled, each with
    the folder that it means in this one; a cold build has them empty. Of the user's environment,
    variables that match a pattern of `unset` and none of `keep` are dropped, so that none steers a
    build; then those of `environment` are set. `fetch` fills the registry's caches.
    `direct_dependencies` and `all_dependencies` print a line for each, name and version first, and
    one for the service itself. `linker` prints the linker's version where the program does not
    name it.
    """

    caches: Annotated[dict[Variable, str], Meta(min_length=1)]
    unset: list[Pattern] = []
    keep: list[Pattern] = []
    environment: dict[Variable, str] = {}
    fetch: Command | None = None
    check: Command | None = None
    linker: Command | None = None
    direct_dependencies: Command | None = None
    all_dependencies: Command | None = None
    dev: DevSection | None = None
    leaf: ChangeSection | None = None
    hub: ChangeSection | None = None

    @property
    def changes(self) -> dict[str, ChangeSection]:
        """The changes that it names, by what is changed: the leaf, the hub."""
        named = {"leaf": self.leaf, "hub": self.hub}
        return {name: change for name, change in named.items() if change is not None}

    @property
    def commands(self) -> list[list[str]]:
        """Every command that it names."""
        dev = self.dev.command if self.dev is not None else None
        named = (self.fetch, self.check, self.linker, self.direct_dependencies)
        return [one for one in (*named, self.all_dependencies, dev) if one is not None]


class ServiceManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked `service.toml`. `url` is set and `build` and `run` are None for a service that
    already runs; else the other way round. `tokens_file` lets a load into one that runs."""

    path: Path
    name: str
    title: str
    url: str | None
    tokens_file: str | None
    build: BuildSection | None
    run: RunSection | None
    test: CommandSection | None
    format: CommandSection | None
    sources: SourcesSection
    footprint: FootprintSection | None

    @property
    def folder(self) -> Path:
        """Where its commands run."""
        return self.path.parent

    def tokens_path(self, variable: str | None) -> Path:
        """The tokens file of a service that already runs: the one of the manifest, which may be
        relative to its folder, else `variable`, the value of BAKEOFF_TOKENS_FILE."""
        if self.tokens_file is not None:
            return self.folder / self.tokens_file
        if variable:
            return Path(variable)
        raise UsageError(
            f"{self.path} has no `tokens_file`, and BAKEOFF_TOKENS_FILE is not set: one of them "
            f"has to name a file with tokens that {self.url} takes, as `bakeoff up` writes it"
        )

    @property
    def commands(self) -> list[list[str]]:
        """Every command that it names."""
        sections = (self.run, self.build, self.test, self.format)
        found = [section.command for section in sections if section is not None]
        found += [self.build.toolchain] if self.build is not None else []
        return found + (self.footprint.commands if self.footprint is not None else [])


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    title: Annotated[str, Meta(min_length=1, max_length=200)]
    url: str | None = None
    tokens_file: Annotated[str, Meta(min_length=1)] | None = None
    build: BuildSection | None = None
    run: RunSection | None = None
    test: CommandSection | None = None
    format: CommandSection | None = None
    sources: SourcesSection = SourcesSection()
    footprint: FootprintSection | None = None


def load_manifest(service: str, services: Path = SERVICES) -> ServiceManifest:
    """The manifest of the service in the folder `services/<service>`.

    Raises UsageError, which names the file and the key, for a file that cannot be read, an
    unknown key, a bad value, or a path that leaves the folder.
    """
    path = services / service / FILE_NAME
    text = _read(path, services)
    try:
        file = msgspec.convert(tomllib.loads(text), _File)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise UsageError(f"a bad value in {path}: {error}") from error
    if file.name != service:
        raise UsageError(f"the key `name` in {path} is {file.name!r}; it must be the folder's name")
    _check_shape(file, path)
    _check_paths(file, path)
    fields: dict[str, Any] = {name: getattr(file, name) for name in _File.__struct_fields__}
    return ServiceManifest(path=path, **fields)


def _read(path: Path, services: Path) -> str:
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(services.resolve()):
            raise UsageError(f"{path} is a link that leads out of {services}")
        with real.open("rb") as file:
            content = file.read(_FILE_LIMIT_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or error}. A service is a "
            f"folder with a {FILE_NAME} in it"
        ) from error
    if len(content) > _FILE_LIMIT_BYTES:
        raise UsageError(f"{path} is over {_FILE_LIMIT_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error}") from error


def _check_shape(file: _File, path: Path) -> None:
    if file.url is not None:
        if file.build is not None or file.run is not None:
            raise UsageError(f"{path} has `url` beside [build] or [run]: give one or the other")
        _check_url(file.url, path)
    elif file.tokens_file is not None:
        raise UsageError(f"{path} has `tokens_file` without `url`: the rig makes tokens of its own")
    elif file.build is None or file.run is None:
        raise UsageError(f"{path} needs [build] and [run], or `url` for a service that runs")


def _check_url(url: str, path: Path) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise UsageError(f"the key `url` in {path} is {url!r}; it must look like http://host:8080")


def _check_paths(file: _File, path: Path) -> None:
    """No path of a manifest leads out of its folder, by its text or by a link."""
    named: list[tuple[str, str]] = []
    if file.build is not None:
        named.append(("build.artifact", file.build.artifact))
    if file.run is not None and "/" in file.run.command[0]:
        named.append(("run.command", file.run.command[0]))
    for key, globs in msgspec.structs.asdict(file.sources).items():
        named += [(f"sources.{key}", glob) for glob in globs or () if key != "inline_tests"]
    named += _footprint_paths(file.footprint)
    for key, value in named:
        pure = PurePosixPath(value)
        if not value or "\0" in value or pure.is_absolute() or ".." in pure.parts:
            raise UsageError(f"the key `{key}` in {path} is {value!r}; it must stay in its folder")
        if not (path.parent / value).resolve().is_relative_to(path.parent.resolve()):
            raise UsageError(f"the key `{key}` in {path} is {value!r}, a link out of its folder")
    sections = (file.build, file.run, file.test, file.format)
    commands = [section.command for section in sections if section is not None]
    for command in commands + (file.footprint.commands if file.footprint is not None else []):
        if any("\0" in word for word in command):
            raise UsageError(f"a command in {path} has a NUL in it")


def _footprint_paths(section: FootprintSection | None) -> list[tuple[str, str]]:
    if section is None:
        return []
    named = [(f"footprint.caches.{name}", path) for name, path in section.caches.items()]
    named += [(f"footprint.{name}.file", one.file) for name, one in section.changes.items()]
    return named + ([("footprint.dev.artifact", section.dev.artifact)] if section.dev else [])
