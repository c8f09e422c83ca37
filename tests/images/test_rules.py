"""What is asked of a container file: ours keep it, and each thing that is left out is named."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bakeoff.errors import UsageError
from bakeoff.experiment import ROOT
from bakeoff.images.containerfile import (
    Stage,
    container_files,
    external_bases,
    read_stages,
)
from bakeoff.images.rules import problem_of_reference, problems_of
from bakeoff.manifest import load_manifest

FILES = container_files()
HADOLINT = Path(sys.executable).with_name("hadolint")
# What is changed of the Go service's file, and what is then said of it.
BAD = {
    "no user": (r"^USER .*\n", "", "runs as root: no USER"),
    "root": (r"^USER .*", "USER 0:0", "not two numbers, uid:gid, above 0"),
    "a group of root": (r"^USER .*", "USER 65532:0", "not two numbers, uid:gid, above 0"),
    "no group": (r"^USER .*", "USER 65532", "not two numbers, uid:gid, above 0"),
    "a name": (r"^USER .*", "USER nobody:nogroup", "not two numbers, uid:gid, above 0"),
    "root again": (r"\Z", "USER 0\n", "not two numbers, uid:gid, above 0"),
    "root in small letters": (r"\Z", "user 0\n", "not two numbers, uid:gid, above 0"),
    "nobody at all": (r"\Z", "User\n", "not two numbers, uid:gid, above 0"),
    "no health check": (r"^HEALTHCHECK .*\n", "", "has no HEALTHCHECK"),
    "health check off": (r"^HEALTHCHECK .*", "HEALTHCHECK NONE", "has no HEALTHCHECK"),
    "health check off in small letters": (r"\Z", "healthcheck none\n", "has no HEALTHCHECK"),
    "a health check of nothing": (r"\Z", "HealthCheck\n", "has no HEALTHCHECK"),
    "health by curl in small letters": (
        r"\Z",
        'healthcheck cmd ["curl", "http://127.0.0.1:8080/livez"]\n',
        "HEALTHCHECK needs more than the program",
    ),
    "health by a shell": (
        r"^HEALTHCHECK .*",
        "HEALTHCHECK CMD /billing healthcheck",
        "HEALTHCHECK is in shell form",
    ),
    "health by a named shell": (
        r"^HEALTHCHECK .*",
        'HEALTHCHECK CMD ["/bin/sh", "-c", "true"]',
        "HEALTHCHECK needs more than the program",
    ),
    "health by curl": (
        r"^HEALTHCHECK .*",
        'HEALTHCHECK CMD ["curl", "http://127.0.0.1:8080/livez"]',
        "HEALTHCHECK needs more than the program",
    ),
    "no entry point": (r"^ENTRYPOINT .*\n", "", "has no ENTRYPOINT"),
    "entry by a shell": (r"^ENTRYPOINT .*", "ENTRYPOINT /billing", "ENTRYPOINT is in shell form"),
    "entry by a named shell": (
        r"^ENTRYPOINT .*",
        'ENTRYPOINT ["sh", "-c", "/billing"]',
        "ENTRYPOINT needs more than the program",
    ),
    "entry in small letters": (r"\Z", "entrypoint /billing\n", "ENTRYPOINT is in shell form"),
    "command by a shell": (r"\Z", "CMD serve\n", "CMD is in shell form"),
    "command in small letters": (r"\Z", "cmd serve\n", "CMD is in shell form"),
    "base without a tag": (r"golang:\S+", "golang", "golang has no tag"),
    "base that moves": (r"golang:\S+", "golang:latest", "golang:latest is not exact"),
    "base in small letters": (r"^FROM golang:\S+", "from golang:latest", "latest is not exact"),
    "a second last stage": (r"\Z", "from scratch\n", "runs as root: no USER"),
    "base by a variable": (r"golang:\S+", "golang:$VERSION", "golang:$VERSION is not exact"),
    "a digest by hand": (r"(golang:\S+)", r"\1@sha256:abc", "has a digest that is none"),
    "a secret": (r"^EXPOSE", "ENV AUTH_JWT_SECRET=x\nEXPOSE", "AUTH_JWT_SECRET would stay"),
    "a second secret": (r"^EXPOSE", "ENV A=1 B_PASSWORD=x\nEXPOSE", "B_PASSWORD would stay"),
    "a secret in small letters": (r"^EXPOSE", "env API_TOKEN=x\nEXPOSE", "API_TOKEN would stay"),
    "a secret to build": (r"^EXPOSE", "ARG API_TOKEN=\nEXPOSE", "API_TOKEN would stay"),
    "a secret to build in small letters": (r"^EXPOSE", "arg API_TOKEN\nEXPOSE", "API_TOKEN would"),
    "a fetch in small letters": (r"^EXPOSE", "add http://a.example/x /x\nEXPOSE", "ADD fetches"),
    "a fetch": (r"^EXPOSE", "ADD http://example.com/x /x\nEXPOSE", "ADD fetches"),
    "one stage": (r"^FROM scratch\nCOPY .*\n", "", "has one stage"),
}


def test_there_is_a_file_for_both_services_and_the_stub() -> None:
    assert set(FILES) == {"go", "rust", "stub"}


@pytest.mark.parametrize("name", FILES)
def test_ours_are_good(name: str) -> None:
    assert problems_of(FILES[name]) == []


@pytest.mark.parametrize("what", BAD)
def test_what_is_bad_is_named(tmp_path: Path, what: str) -> None:
    pattern, replacement, said = BAD[what]
    good = FILES["go"].read_text()
    bad = re.sub(pattern, replacement, good, count=1, flags=re.MULTILINE)
    assert bad != good
    path = tmp_path / "Containerfile"
    path.write_text(bad)
    problems = problems_of(path)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith(f"{path}:") for problem in problems)


def test_the_check_is_a_command_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "Containerfile"
    path.write_text(FILES["go"].read_text().replace("USER 65532:65532\n", ""))
    command = [sys.executable, "-m", "bakeoff.images", "check"]
    good = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    bad = subprocess.run(
        [*command, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert bad.returncode == 1
    assert "runs as root" in bad.stderr


@pytest.mark.parametrize("text", ["", "RUN true\n", "FROM\n"])
def test_what_is_no_container_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Containerfile"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(str(path))):
        read_stages(path)
    with pytest.raises(UsageError):
        read_stages(tmp_path / "none")


@pytest.mark.parametrize(
    "reference",
    [
        "golang:1.26.8-bookworm",
        "rust:1.95.0-slim-bookworm",
        "postgres:18.6-bookworm",
        "registry.example:5000/library/postgres:18.6-bookworm",
        f"golang:1.26.8-bookworm@sha256:{'0' * 64}",
    ],
)
def test_an_exact_reference(reference: str) -> None:
    assert problem_of_reference(reference) is None


@pytest.mark.parametrize(
    "reference",
    [
        "golang:1.26-bookworm",
        "golang:1.26.8",
        "golang:1.26.8-slim",
        "python:3.11-slim-bookworm",
        "registry.example:5000/golang",
        f"golang@sha256:{'0' * 64}",
    ],
)
def test_a_reference_that_moves(reference: str) -> None:
    assert problem_of_reference(reference) is not None


def test_stages_and_what_they_stand_on(tmp_path: Path) -> None:
    path = tmp_path / "Containerfile"
    path.write_text("FROM a:1 AS one\nFROM b:2\nFROM one AS three\nFROM scratch\nFROM a:1\n")
    stages = read_stages(path)
    assert [stage.name for stage in stages] == ["one", None, "three", None, None]
    assert external_bases(stages) == ["a:1", "b:2"]


def test_a_stage_is_known_however_its_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / "Containerfile"
    path.write_text("from a:1 as Build\nFROM BUILD As next\nUSER 1:1\nfrom Next\nuser 0\n")
    stages = read_stages(path)
    assert [stage.name for stage in stages] == ["build", "next", None]
    assert [stage.base for stage in stages] == ["a:1", "build", "next"]
    assert external_bases(stages) == ["a:1"]
    found = stages[-1].last("USER")
    assert found is not None and found.words == ("0",)


def _words(stage: Stage, name: str) -> tuple[str, ...] | None:
    found = stage.last(name)
    return None if found is None else (*found.flags, *found.words)


@pytest.mark.parametrize("instruction", ["USER", "EXPOSE", "ENV", "HEALTHCHECK", "ENTRYPOINT"])
def test_both_services_are_shipped_alike(instruction: str) -> None:
    go, rust = (_words(read_stages(FILES[name])[-1], instruction) for name in ("go", "rust"))
    assert go == rust is not None


@pytest.mark.parametrize("name", ["go", "rust"])
def test_what_is_shipped_is_built_as_what_is_measured(name: str) -> None:
    manifest = load_manifest(name)
    assert manifest.build is not None
    runs = [one for one in read_stages(FILES[name])[0].instructions if one.name == "RUN"]
    assert tuple(manifest.build.command) in [run.words for run in runs if run.exec_form]


@pytest.mark.parametrize("name", FILES)
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run([HADOLINT, FILES[name]], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    path = tmp_path / "Containerfile"
    path.write_text(FILES["go"].read_text().replace("golang:1.26.8-bookworm", "golang:latest"))
    done = subprocess.run([HADOLINT, path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "DL3007" in done.stdout


STUB = ROOT / "stub_payment"
# What is imported by another name than it is installed by.
INSTALLED_AS = {"grpc": "grpcio", "grpc_health": "grpcio-health-checking", "google": "protobuf"}


def _imported() -> set[str]:
    """Every module that the stub and its protos import."""
    modules: set[str] = set()
    for path in (*STUB.rglob("*.py"), *(ROOT / "protos").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module)
    return modules


def test_the_stub_is_shipped_with_what_it_imports() -> None:
    tops = {module.partition(".")[0] for module in _imported()}
    foreign = tops - sys.stdlib_module_names - {"bakeoff", "protos", "stub_payment"}
    lines = (STUB / "requirements.in").read_text().splitlines()
    wanted = {line for line in lines if not line.startswith("#")}
    assert {INSTALLED_AS.get(name, name) for name in foreign} == wanted
    # Of this project's own, what is copied: the package alone would bring all the harness needs.
    assert {name for name in _imported() if name.startswith("bakeoff")} == {"bakeoff.errors"}
    assert "COPY bakeoff/__init__.py bakeoff/errors.py " in FILES["stub"].read_text()


def test_the_stub_is_shipped_with_the_versions_of_the_checkout() -> None:
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"^(\S+==\S+) \\$", path.read_text(), flags=re.MULTILINE))

    stub = pins(STUB / "requirements.lock")
    assert stub and stub <= pins(ROOT / "requirements.lock")
    wanted = (STUB / "requirements.in").read_text().splitlines()
    named = {line for line in wanted if not line.startswith("#")}
    assert named <= {pin.partition("==")[0] for pin in stub}
