"""Builds a service by its manifest, and remembers what was built with what."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bakeoff import toolchains
from bakeoff.errors import BuildError, UsageError
from bakeoff.hosts.host import Host, ProcessSpec
from bakeoff.manifest import ServiceManifest

_DEADLINE_S = 1800.0
_LOG_TAIL_LINES = 20
_POLL_S = 0.1


class BuildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was built: goes into `run.json` beside the service's figures."""

    command: list[str]
    toolchain: str
    release: bool
    artifact_bytes: int
    artifact_sha256: str
    build_s: float


def require_toolchain(manifest: ServiceManifest) -> None:
    """MissingToolError, with the line that installs it, where the build could not even begin."""
    if manifest.build is not None:
        toolchains.find(manifest.build.command[0])


def build(
    manifest: ServiceManifest, host: Host, log_folder: Path, allow_debug: bool
) -> BuildRecord:
    """Builds a service in its own folder on `host`; a build that is current costs a look.

    Raises MissingToolError before anything is run where the toolchain is missing, UsageError for
    a debug build that was not allowed, BuildError with the end of the log where the build fails.
    """
    section = manifest.build
    if section is None:
        raise UsageError(f"{manifest.path} has no [build]: the service already runs")
    command = section.command
    environment = toolchains.environment(command[0])
    release = all(flag in command for flag in section.release_flags)
    if not release and not allow_debug:
        raise UsageError(
            f"the build of {manifest.name} lacks {' '.join(section.release_flags)}, so it "
            f"is no release build: mend [build] command in {manifest.path}, or --allow-debug"
        )
    log = log_folder / f"build-{manifest.name}.log"
    with _alone_in(manifest.folder):
        began = time.monotonic()
        _run(manifest, host, command, environment, log)
    build_s = time.monotonic() - began
    version_log = log_folder / f"toolchain-{manifest.name}.log"
    _run(manifest, host, section.toolchain, environment, version_log)
    artifact = (manifest.folder / section.artifact).read_bytes()
    return BuildRecord(
        command=list(command),
        toolchain=version_log.read_text(encoding="utf-8").strip(),
        release=release,
        artifact_bytes=len(artifact),
        artifact_sha256=hashlib.sha256(artifact).hexdigest(),
        build_s=round(build_s, 3),
    )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While another process builds there, this one waits: a compiler may replace a program that
    the other is about to start."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BuildError(f"another process has been building in {folder}") from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _run(
    manifest: ServiceManifest,
    host: Host,
    command: list[str],
    environment: dict[str, str],
    log: Path,
) -> None:
    spec = ProcessSpec(
        name=f"build of {manifest.name}",
        argv=[str(toolchains.find(command[0])), *command[1:]],
        environment=environment,
        cwd=str(manifest.folder),
        log=str(log),
    )
    with host.start(spec) as process:
        code = process.wait(_DEADLINE_S)
    if code != 0:
        tail = "\n".join(
            log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        )
        raise BuildError(
            f"{' '.join(command)} in {manifest.folder} ended with exit code {code}. "
            f"The end of {log}:\n{tail}"
        )
