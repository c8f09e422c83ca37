"""Bases made of what this machine has, under the names that the container files give: for building
where no registry can be reached.

They are good for building only. A service's image holds nothing of its base but, in Rust's, glibc
of the same release of Debian, so its size is the true one; the stub's stands on its base, so its
size is not.
"""

import importlib.util
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bakeoff import toolchains
from bakeoff.errors import BuildError
from bakeoff.experiment import SERVICES
from bakeoff.images.buildah import Buildah

_DEADLINE_S = 60.0
# Debian's own, which the toolchain's are put before.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_GO_CACHE = "/go/cache"  # where the machine's is mounted, whatever the home in the base
_CERTIFICATES = "/etc/ssl:/etc/ssl:ro"
# Of the interpreter's library: tests, and what other projects installed.
_NOT_COPIED = shutil.ignore_patterns("test", "site-packages", "__pycache__", "config-*")
# What wheels may take for granted beside what Python itself needs: PEP 599's list of what is in
# every system, less what is for screens.
_WHEELS_NEED = {
    *("libgcc_s.so.1", "libstdc++.so.6", "libm.so.6", "libdl.so.2", "librt.so.1", "libc.so.6"),
    *("libutil.so.1", "libpthread.so.0", "libresolv.so.2", "libnsl.so.1"),
}


@dataclass(frozen=True)
class StandIn:
    """A base that was made: what of, and what has to be mounted while something is built on it."""

    made_of: str
    volumes: tuple[str, ...]


def make_stand_in(buildah: Buildah, reference: str, folder: Path) -> StandIn:
    """Makes the base of this name in buildah's storage; `folder` is for what it mounts or holds.

    Raises BuildError for a base that it does not know, or on a machine that is not the base's
    release of Debian; MissingToolError without the toolchain.
    """
    name, _, tag = reference.partition("@")[0].partition(":")
    make = _MAKERS.get(name)
    if make is None:
        raise BuildError(f"there is no stand-in for {reference}, only for {', '.join(_MAKERS)}")
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    if not tag.endswith(f"-{release}") or not release:
        raise BuildError(f"{reference} is made of Debian's {tag.split('-')[-1]}, here is {release}")
    return make(buildah, reference, folder)


def _go(buildah: Buildah, reference: str, folder: Path) -> StandIn:
    root = _said("go", "env", "GOROOT")
    buildah.commit(
        reference,
        _skeleton(folder),
        {
            "PATH": f"/opt/go/bin:{_PATH}",
            "GOPATH": "/go",
            "GOCACHE": _GO_CACHE,
            "GOTOOLCHAIN": "local",
        },
    )
    volumes = (
        f"{root}:/opt/go:ro",
        f"{_made(_said('go', 'env', 'GOMODCACHE'))}:/go/pkg/mod",
        f"{_made(_said('go', 'env', 'GOCACHE'))}:{_GO_CACHE}",
    )
    version = _said("go", "env", "GOVERSION")
    return StandIn(f"{version} and Debian of this machine", (*_system(), *volumes))


def _rust(buildah: Buildah, reference: str, folder: Path) -> StandIn:
    # Where cargo keeps its registry is part of what it compares before it builds anew.
    environment = toolchains.environment("cargo")
    home = environment.get("CARGO_HOME") or f"{Path.home()}/.cargo"
    registry = _made(f"{home}/registry")
    buildah.commit(
        reference, _skeleton(folder), {"PATH": f"/opt/rust/bin:{_PATH}", "CARGO_HOME": home}
    )
    volumes = (
        f"{_said('rustc', '--print', 'sysroot')}:/opt/rust:ro",
        f"{registry}:{registry}",
        f"{_copied_target(folder)}:/src/services/rust/target",
    )
    version = " ".join(_said("rustc", "--version").split()[:2])
    return StandIn(f"{version} and Debian of this machine", (*_system(), *volumes))


def _python(buildah: Buildah, reference: str, folder: Path) -> StandIn:
    """Unlike the others it is whole, as the stub's image stands on it: the interpreter, its
    library, pip, and the shared libraries of all these."""
    root = folder / "python"
    library = root / "usr/local/lib" / f"python3.{sys.version_info.minor}"
    binary = root / "usr/local/bin" / "python"
    for path in (binary.parent, library.parent, root / "etc", root / "root"):
        path.mkdir(parents=True)
    (root / "tmp").mkdir(mode=0o1777)
    interpreter = Path(sys.executable).resolve()
    shutil.copy2(interpreter, binary)
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, library, ignore=_NOT_COPIED, symlinks=True)
    pip = importlib.util.find_spec("pip")
    assert pip is not None and pip.origin is not None
    shutil.copytree(Path(pip.origin).parent, library / "site-packages/pip")
    shutil.copy2("/etc/ld.so.cache", root / "etc")
    extensions = (standard / "lib-dynload").glob("*.so")
    for source in sorted({*_needed(interpreter, *extensions), *_cached(*_WHEELS_NEED)}):
        target = root / source.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    buildah.commit(reference, root, {"PATH": _PATH})
    settings = Path("/etc/pip.conf")
    volumes = (f"{settings}:{settings}:ro",) if settings.exists() else ()
    return StandIn(f"Python {platform.python_version()} of this machine", (_CERTIFICATES, *volumes))


_MAKERS: Mapping[str, Callable[[Buildah, str, Path], StandIn]] = {
    "golang": _go,
    "rust": _rust,
    "python": _python,
}


def _skeleton(folder: Path) -> Path:
    """The root of a system whose /usr is this machine's, to be mounted."""
    root = folder / "skeleton"
    if not root.exists():
        for name in ("usr", "etc", "root"):
            (root / name).mkdir(parents=True)
        (root / "tmp").mkdir(mode=0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
    return root


def _system() -> tuple[str, ...]:
    return ("/usr:/usr:ro", "/etc/alternatives:/etc/alternatives:ro", _CERTIFICATES)


def _copied_target(folder: Path) -> Path:
    """A copy of what cargo has built in this checkout, of which it builds anew what has changed.

    A copy, since it writes there, and another path must not be found in the checkout's.
    """
    target = folder / "target"
    for name in ("build", "deps", ".fingerprint"):
        source = SERVICES / "rust" / "target" / "release" / name
        if source.exists():
            shutil.copytree(source, target / "release" / name, symlinks=True)
    target.mkdir(exist_ok=True)
    return target


def _made(path: str) -> str:
    Path(path).mkdir(parents=True, exist_ok=True)
    return path


def _needed(*programs: Path) -> Iterator[Path]:
    """The shared libraries that programs are linked to, where the loader finds them."""
    for line in _output(["ldd", *map(str, programs)]).splitlines():
        for word in line.split():
            if word.startswith("/") and not word.endswith(":"):
                yield Path(word)


def _cached(*names: str) -> Iterator[Path]:
    """Where the loader's cache has shared libraries."""
    for line in _output(["/sbin/ldconfig", "--print-cache"]).splitlines():
        if line.split(" ")[0].strip() in names:
            yield Path(line.rpartition(" ")[2])


def _said(program: str, *words: str) -> str:
    return _output([str(toolchains.find(program)), *words], toolchains.environment(program)).strip()


def _output(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{' '.join(command[:3])} failed: {error}") from error
