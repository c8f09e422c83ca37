"""What a container file of ours has to be, beyond what hadolint asks."""

import re
from collections.abc import Iterator
from pathlib import Path

from bakeoff.images.containerfile import Instruction, Stage, read_stages

# A tag is exact where it names a whole version and the release of Debian below it, so that what
# comes by it changes by rebuilds alone; a digest, which `make pin-images` writes, ends that too.
_TAG = r"\d+\.\d+\.\d+(-slim)?-(?!slim)[a-z]+"
# Released with two numbers.
_TWO_NUMBERS = ("postgres",)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_USER = re.compile(r"[1-9]\d*:[1-9]\d*")
_SHELLS = {"sh", "bash", "dash", "ash", "busybox"}
# Not there in an image without a shell.
_TOOLS = _SHELLS | {"curl", "wget", "nc"}
_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|_KEY|DATABASE_URL", re.IGNORECASE)


def problems_of(path: Path) -> list[str]:
    """What is wrong with a container file, a line each with the place; none for a good one."""
    stages = read_stages(path)
    found = [*_of_bases(stages), *_of_secrets(stages), *_of_image(stages[-1])]
    if len(stages) < 2:
        found.append((stages[0].line, "has one stage: what builds would be shipped"))
    return [f"{path}:{line}: {problem}" for line, problem in sorted(found)]


def problem_of_reference(reference: str) -> str | None:
    """Why an image's reference is not exact; None if it is."""
    name, _, digest = reference.partition("@")
    repository, _, tag = name.rpartition(":")
    if digest and not _DIGEST.fullmatch(digest):
        return f"{reference} has a digest that is none"
    if not repository or "/" in tag:
        return f"{reference} has no tag"
    pattern = _TAG
    if repository.rpartition("/")[2] in _TWO_NUMBERS:
        pattern = pattern.replace(r"\.\d+", "", 1)
    if not re.fullmatch(pattern, tag):
        return f"{reference} is not exact: the tag needs a whole version and Debian's release"
    return None


def _of_bases(stages: list[Stage]) -> Iterator[tuple[int, str]]:
    names: set[str | None] = {"scratch"}
    for stage in stages:
        if stage.base not in names and (problem := problem_of_reference(stage.base)):
            yield stage.line, problem
        names.add(stage.name)


def _of_secrets(stages: list[Stage]) -> Iterator[tuple[int, str]]:
    for stage in stages:
        for instruction in stage.instructions:
            # ENV's words are names and values in turn, ARG's are names with their defaults.
            step = {"ENV": 2, "ARG": 1}.get(instruction.name)
            for word in instruction.words[::step] if step else ():
                if _SECRET.search(word.partition("=")[0]):
                    yield instruction.line, f"{word.partition('=')[0]} would stay in the image"
            if instruction.name == "ADD":
                yield instruction.line, "ADD fetches and unpacks: COPY what is meant"


def _of_image(stage: Stage) -> Iterator[tuple[int, str]]:
    """What is wrong with the stage that is shipped."""
    user = stage.last("USER")
    if user is None:
        yield stage.line, "runs as root: no USER in the last stage"
    elif not _USER.fullmatch(" ".join(user.words)):
        yield user.line, f"USER {' '.join(user.words)} is not two numbers, uid:gid, above 0"
    health = stage.last("HEALTHCHECK")
    if health is None or not health.words or health.words[0].upper() == "NONE":
        yield stage.line, "has no HEALTHCHECK in the last stage"
    else:
        yield from _of_command(health, health.words[1:], _TOOLS)
    entry = stage.last("ENTRYPOINT")
    if entry is None:
        yield stage.line, "has no ENTRYPOINT in the last stage"
    else:
        yield from _of_command(entry, entry.words, _SHELLS)
    command = stage.last("CMD")
    if command is not None and not command.exec_form:
        yield command.line, "CMD is in shell form: write a JSON array"


def _of_command(
    instruction: Instruction, words: tuple[str, ...], forbidden: set[str]
) -> Iterator[tuple[int, str]]:
    if not instruction.exec_form:
        yield instruction.line, f"{instruction.name} is in shell form: write a JSON array"
    elif not words or words[0].rpartition("/")[2] in forbidden:
        yield instruction.line, f"{instruction.name} needs more than the program itself"
