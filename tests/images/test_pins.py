"""`make pin-images`: digests beside tags, from a registry and from nowhere else."""

import os
from pathlib import Path

import pytest

from bakeoff.images import pins
from bakeoff.images.containerfile import container_files, external_bases, read_stages
from bakeoff.images.pins import NoAnswerError, pin_files, registry_digest
from bakeoff.images.rules import problems_of
from tests.images.test_compose import PATH as COMPOSE

ONE, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Copies of ours, without digests that may be there."""
    copies = []
    for number, source in enumerate([*container_files().values(), COMPOSE]):
        copy = tmp_path / f"{number}-{source.name}"
        copy.write_text(source.read_text())
        copies.append(copy)
    return copies


def test_every_base_gets_its_digest_and_a_newer_one_replaces_it(files: list[Path]) -> None:
    asked: list[str] = []

    def digest_of(reference: str) -> str:
        asked.append(reference)
        return ONE

    found = pin_files(files, digest_of)
    # Each is asked for once, by its tag.
    assert len(asked) == len(set(asked)) == len(found) == 4
    assert not any("@" in reference for reference in asked)
    for path in files[:-1]:
        assert all(base.endswith(f"@{ONE}") for base in external_bases(read_stages(path)))
        assert problems_of(path) == []
    assert f"postgres:18.6-bookworm@{ONE}\n" in files[-1].read_text()

    pin_files(files, lambda _: OTHER)
    texts = "".join(path.read_text() for path in files)
    assert ONE not in texts
    # Three bases, one of them in two stages, and the database.
    assert texts.count(OTHER) == 5


def test_without_an_answer_nothing_is_written(files: list[Path]) -> None:
    before = [path.read_bytes() for path in files]

    def digest_of(reference: str) -> str:
        if reference.startswith("golang"):
            return ONE
        raise NoAnswerError("nobody there")

    found = pin_files(files, digest_of)
    assert {pin.reference: (pin.digest, pin.reason) for pin in found if pin.digest is None} == {
        pin.reference: (None, "nobody there")
        for pin in found
        if not pin.reference.startswith("golang")
    }
    after = [path.read_bytes() for path in files]
    assert after[1:] == before[1:]
    assert after[0] == before[0].replace(b"-bookworm AS", f"-bookworm@{ONE} AS".encode())


def test_a_registry_s_port_is_no_tag(tmp_path: Path) -> None:
    path = tmp_path / "Containerfile"
    path.write_text("FROM localhost:5000/a/b:1.2.3-x AS one\nFROM one\nFROM scratch\nFROM c\n")
    pin_files([path], lambda _: ONE)
    assert path.read_text() == (
        f"FROM localhost:5000/a/b:1.2.3-x@{ONE} AS one\nFROM one\nFROM scratch\nFROM c\n"
    )


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a `go` in front of all others will run instead of crane: a script's text."""
    program = tmp_path / "go"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return program


def test_the_digest_is_what_the_registry_says(said: Path) -> None:
    said.write_text(f'#!/bin/sh\necho "$@" >"$0.asked"\necho {ONE}\n')
    assert registry_digest("golang:1.26.8-bookworm") == ONE
    asked = said.with_name("go.asked").read_text()
    assert asked == f"run {pins._CRANE} digest golang:1.26.8-bookworm\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo one >&2; echo no such host >&2; exit 1", "no such host"),
        ("echo no such host >&2; echo exit status 1 >&2; exit 1", "no such host"),
        ("echo latest", "latest"),
        ("exit 1", "it said nothing"),
    ],
)
def test_an_answer_that_is_no_digest_is_none(said: Path, script: str, reason: str) -> None:
    said.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(NoAnswerError, match=f"^{reason}$"):
        registry_digest("golang:1.26.8-bookworm")
