"""One service on the bench: which operations it allows, and how each of them is done."""

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from bakeoff import toolchains
from bakeoff.errors import BuildError, MissingToolError, UsageError
from bakeoff.footprint.plan import Step
from bakeoff.footprint.spending import Spending, run_and_measure
from bakeoff.footprint.workspace import Kind, Workspace
from bakeoff.hosts.host import Host, ProcessSpec
from bakeoff.manifest import FootprintSection, ServiceManifest
from bakeoff.measure.footprint import Amount, TimedRun
from bakeoff.measure.operations import OPERATIONS, Operation

KINDS: Mapping[str, Kind] = {
    "release build": Kind.RELEASE,
    "dev build": Kind.DEV,
    "test": Kind.DEV,
    "check": Kind.CHECK,
}
NO_SECTION = "no [footprint] in service.toml"
# As lld, mold and gold sign what they link. GNU's ld does not.
_LINKER = re.compile(rb"\0(?:Linker: |(?=mold \d)|(?=gold \d))([^\0(]+)")


class Bench:
    """A service's commands in its private copy, on a host whose checkout the copy is.

    `database_url` is what its tests get; `logs` is the folder for what the commands print.
    """

    def __init__(
        self, workspace: Workspace, host: Host, database_url: str | None, logs: Path
    ) -> None:
        self._workspace = workspace
        self._manifest = workspace.manifest
        self._host = host
        self._database_url = database_url
        self._logs = logs
        self._started = 0

    def do(self, step: Step, tick: Callable[[float], None]) -> TimedRun:
        """Does one step. Raises BuildError where its command fails, UsageError where it left no
        program where one was named, or a change made no difference to it."""
        operation = step.operation
        artifact = self._artifact(operation)
        before = _digest(artifact)
        set_up(self._workspace, step)
        command = command_of(self._manifest, operation)
        spent = self._run(step.name, command, KINDS[operation.work], tick)
        if artifact is not None:
            self._check_built(artifact, before, step)
        return TimedRun(
            operation=step.name,
            service=step.service,
            repetition=step.repetition,
            wall_s=round(spent.wall_s, 4),
            cpu_s=round(spent.cpu_s, 4),
            peak_rss_bytes=spent.peak_rss_bytes,
            other_cores=round(spent.other_cores, 3),
        )

    def _check_built(self, artifact: Path, before: bytes | None, step: Step) -> None:
        manifest, operation = self._manifest, step.operation
        if not artifact.is_file():
            key = "build" if operation.work == "release build" else "footprint.dev"
            raise UsageError(
                f"no artifact at {artifact} after a {operation.work} of {manifest.name}: "
                f"`{key}.artifact` in {manifest.path} must be what its command makes"
            )
        if step.repetition and operation.changed and _digest(artifact) == before:
            raise UsageError(
                f"{artifact.name} is the same after a change to the {operation.changed} of "
                f"{manifest.name}: [footprint.{operation.changed}] in {manifest.path} must change "
                "what the program does"
            )

    def fetch(self) -> None:
        """Fills the registry's caches, so that no build waits for a network."""
        if (command := self._workspace.section.fetch) is not None:
            self._run("fetch", command, Kind.RELEASE)

    def toolchain(self) -> str | None:
        """What the toolchain says of its version."""
        build = self._manifest.build
        return self._first_line("toolchain", build.toolchain) if build is not None else None

    def linker(self) -> str | None:
        """Which linker there is: as the program says, or else the manifest's command; None where
        neither does."""
        program = self._program()
        if program is not None and (signed := _LINKER.search(program.read_bytes())) is not None:
            return signed[1].decode(errors="replace").strip()
        command = self._workspace.section.linker
        # It is a remark in a report, for which no timed run is given up.
        with suppress(BuildError, MissingToolError):
            return self._first_line("linker", command) if command is not None else None
        return None

    def dependencies(self) -> dict[str, Amount]:
        """How many it names itself, and how many there are of all."""
        section = self._workspace.section
        commands = {
            "direct_dependencies": section.direct_dependencies,
            "all_dependencies": section.all_dependencies,
        }
        return {name: self._counted(name, command) for name, command in commands.items()}

    def binary_bytes(self) -> Amount:
        """The size of the program of the release build."""
        program = self._program()
        if program is None:
            return Amount(value=None, reason="no release build was made")
        return Amount(value=program.stat().st_size)

    def _program(self) -> Path | None:
        artifact = self._artifact(OPERATIONS["cold_release_build"])
        return artifact if artifact is not None and artifact.is_file() else None

    def _artifact(self, operation: Operation) -> Path | None:
        """What the work makes, where it makes something."""
        if operation.work == "release build" and self._manifest.build is not None:
            return self._workspace.artifact(Kind.RELEASE, self._manifest.build.artifact)
        dev = self._workspace.section.dev
        if operation.work == "dev build" and dev is not None:
            return self._workspace.artifact(Kind.DEV, dev.artifact)
        return None

    def _counted(self, name: str, command: list[str] | None) -> Amount:
        if command is None:
            return Amount(value=None, reason=f"no `footprint.{name}` in service.toml")
        # Name and version; what follows says how often it was printed, and the like.
        lines = {tuple(line.split()[:2]) for line in self._said(name, command).splitlines()}
        # The service itself is among them.
        return Amount(value=len(lines - {()}) - 1)

    def _first_line(self, name: str, command: list[str]) -> str | None:
        return next(iter(self._said(name, command).splitlines()), None)

    def _said(self, name: str, command: list[str]) -> str:
        self._run(name, command, Kind.RELEASE, apart=True)
        return self._log(name).read_text(encoding="utf-8", errors="replace").strip()

    def _log(self, name: str) -> Path:
        return self._logs / f"{self._started:03d}-{self._manifest.name}-{name}.log"

    def _run(
        self,
        name: str,
        command: list[str],
        kind: Kind,
        tick: Callable[[float], None] = lambda elapsed_s: None,
        apart: bool = False,
    ) -> Spending:
        """Runs a command; with `apart`, what it says of its work is not among what it says."""
        self._started += 1
        environment = {
            **inherited(self._workspace.section, command[0]),
            **self._workspace.environment(kind),
        }
        if self._database_url is not None:
            environment["DATABASE_URL"] = self._database_url
        log = self._log(name)
        spec = ProcessSpec(
            name=f"{name} of {self._manifest.name}",
            argv=[str(toolchains.find(command[0])), *command[1:]],
            environment=environment,
            cwd=str(self._workspace.folder),
            log=str(log),
            error_log=str(log.with_suffix(".err")) if apart else None,
        )
        return run_and_measure(self._host, spec, tick)


def set_up(workspace: Workspace, step: Step) -> None:
    """Leaves stale what a step is to find so: everything, one changed file, or what other changes
    have touched, for a step that is not counted."""
    operation = step.operation
    if not step.repetition:
        workspace.restore()
    elif operation.changed is None:
        workspace.make_cold(KINDS[operation.work])
    else:
        workspace.change(workspace.section.changes[operation.changed])


def inherited(section: FootprintSection, program: str) -> dict[str, str]:
    """The user's environment, with what a build program needs beside it, and without what the
    manifest keeps from the builds."""

    def matches(name: str, patterns: list[str]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    return {
        name: value
        for name, value in toolchains.environment(program).items()
        if matches(name, section.keep) or not matches(name, section.unset)
    }


def lacking(manifest: ServiceManifest) -> dict[str, str]:
    """The operations that a service does not allow, each with what its manifest has not."""
    return {
        name: why for name, operation in OPERATIONS.items() if (why := _lacks(manifest, operation))
    }


def command_of(manifest: ServiceManifest, operation: Operation) -> list[str]:
    """The command of an operation that the manifest allows."""
    section = manifest.footprint
    commands = {
        "release build": manifest.build.command if manifest.build else None,
        "test": manifest.test.command if manifest.test else None,
        "dev build": section.dev.command if section and section.dev else None,
        "check": section.check if section else None,
    }
    return commands[operation.work] or []


def _lacks(manifest: ServiceManifest, operation: Operation) -> str | None:
    if manifest.footprint is None:
        return NO_SECTION
    if not command_of(manifest, operation):
        return f"no command for a {operation.work} in service.toml"
    if operation.changed and operation.changed not in manifest.footprint.changes:
        return f"no [footprint.{operation.changed}] in service.toml"
    return None


def _digest(file: Path | None) -> bytes | None:
    if file is None or not file.is_file():
        return None
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()
