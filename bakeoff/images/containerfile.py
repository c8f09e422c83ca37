"""A container file as its stages, read by Docker's own parser."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import dockerfile

from bakeoff.errors import UsageError
from bakeoff.experiment import ROOT, SERVICES

FILE_NAME = "Containerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction, its `name` in capitals however it is written; `exec_form` is whether its
    arguments are a JSON array, so need no shell."""

    name: str
    words: tuple[str, ...]
    flags: tuple[str, ...]
    exec_form: bool
    line: int


@dataclass(frozen=True)
class Stage:
    """What stands from one FROM to the next. `base` is an image as written, or a stage's `name`:
    those are in small letters."""

    base: str
    name: str | None
    line: int
    instructions: tuple[Instruction, ...]

    def last(self, name: str) -> Instruction | None:
        """The last instruction of a kind, the one that counts of those that replace each other."""
        return next((found for found in reversed(self.instructions) if found.name == name), None)


def container_files() -> dict[str, Path]:
    """The container files of this checkout by what they hold: each service that has one, and the
    payment stub."""
    services = sorted(SERVICES.glob(f"*/{FILE_NAME}"))
    return {path.parent.name: path for path in services} | {
        "stub": ROOT / "stub_payment" / FILE_NAME
    }


def read_stages(path: Path) -> list[Stage]:
    """The stages of a container file, in order; UsageError for what is none."""
    try:
        commands = dockerfile.parse_file(str(path))
    except (dockerfile.GoIOError, dockerfile.GoParseError) as error:
        raise UsageError(f"cannot read the container file {path}: {error}") from error
    starts = [n for n, one in enumerate(commands) if one.cmd.upper() == "FROM" and one.value]
    if not starts:
        raise UsageError(f"{path} has no FROM with an image")
    stages: list[Stage] = []
    for start, end in zip(starts, [*starts[1:], len(commands)], strict=True):
        names = {stage.name for stage in stages}
        stages.append(_stage(commands[start], commands[start + 1 : end], names))
    return stages


def external_bases(stages: list[Stage]) -> list[str]:
    """The images that have to come from elsewhere, each once: no stage before, not `scratch`."""
    names: set[str | None] = {"scratch"}
    bases: list[str] = []
    for stage in stages:
        if stage.base not in names and stage.base not in bases:
            bases.append(stage.base)
        names.add(stage.name)
    return bases


def _stage(
    start: dockerfile.Command, commands: list[dockerfile.Command], before: Set[str | None]
) -> Stage:
    words = start.value
    named = len(words) == 3 and words[1].upper() == "AS"
    return Stage(
        base=words[0].lower() if words[0].lower() in before else words[0],
        name=words[2].lower() if named else None,
        line=start.start_line,
        instructions=tuple(
            Instruction(
                name=command.cmd.upper(),
                words=command.value,
                flags=command.flags,
                exec_form=command.json,
                line=command.start_line,
            )
            for command in commands
        ),
    )
