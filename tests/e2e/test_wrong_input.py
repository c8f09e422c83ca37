"""Wrong input ends with a clear message and the right exit code, and starts nothing."""

import shutil
import socket
from pathlib import Path

import pytest

from bakeoff.cli import invoke
from tests.e2e.conftest import Checkout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["compare", "--workload", "nothing"], "nothing"),
        (["compare", "--services", "go,cobol"], "cobol"),
        (["compare", "--services", "go"], "services"),
        (["compare", "--rate", "-5"], "rate"),
        (["compare", "--rate", "fast"], "fast"),
        (["compare", "--rounds", "0"], "rounds"),
        (["compare", "--profile", "hasty"], "hasty"),
        (["compare", "--set", "colour=3"], "colour"),
        (["compare", "--experiment", "nowhere.toml"], "nowhere.toml"),
        (["compare", "--check", "speed > 3"], "speed"),
        (["compare", "--check", "cobol.p99_ms < 3"], "cobol"),
        (["report", "experiments"], "no results folder"),
        (["report", "nowhere"], "nowhere"),
        (["load", "ftp://localhost", "--duration", "1"], "http"),
        (["load", "http://127.0.0.1:1/", "--duration", "1", "--rate", "-1"], "rate"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    words: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code = invoke(words)
    output = "".join(capfd.readouterr())
    assert code == 2, output
    assert says in output
    assert "Traceback" not in output


def test_the_command_ends_with_the_code(checkout: Checkout) -> None:
    done = checkout.run(checkout.argv("compare", "--workload", "nothing"), deadline_s=60)
    assert done.code == 2, done.output
    assert "nothing" in done.output
    assert "Traceback" not in done.output


def test_an_unwritable_results_folder_is_named(checkout: Checkout, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = checkout.run(
        checkout.argv("compare", "--services", "steady,same", "--results", str(blocked))
    )
    assert done.code == 2, done.output
    assert str(blocked) in done.output
    assert "--results" in done.output


@pytest.mark.parametrize(("service", "program"), [("go", "go"), ("rust", "cargo")])
def test_a_missing_toolchain_is_named_with_the_way_to_get_it(
    checkout: Checkout, tmp_path: Path, service: str, program: str
) -> None:
    folder = checkout.path / "services" / service
    folder.mkdir()
    manifest = Path(__file__).resolve().parents[2] / "services" / service / "service.toml"
    (folder / "service.toml").write_text(manifest.read_text())
    # A PATH with what builds the other service and nothing else.
    bare = tmp_path / "bin"
    bare.mkdir()
    true = shutil.which("true")
    assert true is not None
    (bare / "true").symlink_to(true)
    done = checkout.run(
        checkout.tiny("--services", f"steady,{service}"),
        PATH=str(bare),
        BAKEOFF_NO_DOWNLOAD="1",
    )
    assert done.code == 3, done.output
    assert program in done.output
    assert "install" in done.output
    assert "Traceback" not in done.output


def test_a_taken_port_is_named(checkout: Checkout) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = checkout.run(
            checkout.argv("ui", "--services", "steady,same", "--web-port", str(port))
        )
    assert done.code == 3, done.output
    assert str(port) in done.output
    assert "--web-port" in done.output
