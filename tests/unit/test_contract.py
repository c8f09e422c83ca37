"""`bakeoff contract`: what it refuses, what it hands to pytest, and what the outcomes stand for."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bakeoff import contract
from bakeoff.cli import invoke
from bakeoff.hosts import procfs

NO_CACHE = ("-p", "no:cacheprovider")
DEADLINE_S = 30.0
# `bakeoff contract`, with another suite than the contract's.
PROGRAM = """
import sys
from pathlib import Path
from bakeoff import cli, contract
contract.SUITE = Path(sys.argv[1])
sys.exit(cli.invoke(["contract", *sys.argv[2:]]))
"""


@pytest.fixture
def url() -> Iterator[str]:
    """Where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good file, which the environment does not name."""
    monkeypatch.delenv("BAKEOFF_TOKENS_FILE", raising=False)
    file = tmp_path / "tokens.json"
    file.write_text('{"tokens": {"a": "x", "b": "y"}, "invoices": {}}')
    return file


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of one good and one bad test instead of the contract's."""
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "test_it.py").write_text(
        "import os\n"
        "def test_good():\n"
        "    print(os.environ['BAKEOFF_BASE_URL'], os.environ['BAKEOFF_TOKENS_FILE'])\n"
        "def test_bad():\n"
        "    assert False\n"
    )
    monkeypatch.setattr(contract, "SUITE", folder)
    return folder


@pytest.fixture
def endless(suite: Path) -> Path:
    """A suite whose only test, once it has written its process id, waits for ever."""
    (suite / "test_it.py").write_text(
        "import os, signal\n"
        "from pathlib import Path\n"
        "def test_endless():\n"
        "    Path(__file__).with_name('partial').write_text(str(os.getpid()))\n"
        "    Path(__file__).with_name('partial').rename(Path(__file__).with_name('pid'))\n"
        "    signal.pause()\n"
    )
    return suite


def _until(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    found = procfs.stat(pid)
    return found is not None and found.alive


def _said(capfd: pytest.CaptureFixture[str]) -> str:
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "ftp://localhost", "https://localhost", "http://", "http://a/v1"),
        *("http://a?b", "http://a#b", "http://a:x", "http://a:99999", "http://me:secret@a"),
    ],
)
def test_what_is_no_base_url_is_wrong_usage(
    url: str, tokens: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["contract", url, "--tokens-file", str(tokens)]) == 2
    assert "http://host:port" in _said(capfd)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"tokens": 1}', '{"tokens": {"a": ""}}'])
def test_bad_tokens_are_wrong_usage(
    url: str, tokens: Path, content: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tokens.write_text(content)
    assert invoke(["contract", url, "--tokens-file", str(tokens)]) == 2
    assert str(tokens) in _said(capfd)


def test_no_tokens_are_wrong_usage(
    url: str, tokens: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["contract", url]) == 2
    assert "BAKEOFF_TOKENS_FILE" in _said(capfd)
    assert invoke(["contract", url, "--tokens-file", str(tokens.parent / "none.json")]) == 2
    assert "none.json" in _said(capfd)


def test_a_service_that_is_not_there_is_exit_code_3(
    tokens: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    base_url = f"http://127.0.0.1:{port}"
    assert invoke(["contract", base_url, "--tokens-file", str(tokens)]) == 3
    assert base_url in _said(capfd)


def test_without_the_suite_it_says_what_to_do(
    url: str,
    tokens: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(contract, "SUITE", tokens.parent / "nowhere")
    assert invoke(["contract", url, "--tokens-file", str(tokens)]) == 3
    assert "make setup" in _said(capfd)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-k", "good"], 0, "1 passed"),
        (["-k", "bad"], 4, "services/contract/README.md"),
        ([], 4, "1 failed, 1 passed"),
        (["-k", "nothing"], 2, "ran no test"),
        (["--frobnicate"], 2, "ran no test"),
    ],
)
def test_an_outcome_is_an_exit_code(
    arguments: list[str],
    code: int,
    says: str,
    url: str,
    tokens: Path,
    suite: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = ["contract", url, "--tokens-file", str(tokens), "--", *NO_CACHE, *arguments]
    assert invoke(words) == code
    assert says in _said(capfd)


def test_the_suite_gets_url_and_tokens(
    url: str,
    tokens: Path,
    suite: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BAKEOFF_TOKENS_FILE", tokens.name)
    monkeypatch.chdir(tokens.parent)
    assert invoke(["contract", f"{url}/", "--", *NO_CACHE, "-s", "-k", "good"]) == 0
    assert f"{url} {tokens}" in _said(capfd)


@pytest.mark.parametrize(
    ("number", "to_all", "code"),
    [
        pytest.param(signal.SIGINT, True, 130, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, False, 130, id="terminated"),
        pytest.param(signal.SIGKILL, False, -signal.SIGKILL, id="killed"),
    ],
)
def test_pytest_does_not_outlive_it(
    number: signal.Signals, to_all: bool, code: int, url: str, tokens: Path, endless: Path
) -> None:
    arguments = [str(endless), url, "--tokens-file", str(tokens), "--", *NO_CACHE]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as ours:
        try:
            _until((endless / "pid").exists)
            pid = int((endless / "pid").read_text())
            assert pid != ours.pid
            assert _alive(pid)
            (os.killpg if to_all else os.kill)(ours.pid, number)
            assert ours.wait(DEADLINE_S) == code
            _until(lambda: not _alive(pid))
        finally:
            # Also what should have ended and has not.
            with suppress(ProcessLookupError):
                os.killpg(ours.pid, signal.SIGKILL)


def test_a_suite_that_goes_on_for_ever_is_ended(
    url: str, tokens: Path, endless: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["contract", url, "--tokens-file", str(tokens), "--deadline", "1", "--", *NO_CACHE]
    assert invoke(words) == 3
    said = _said(capfd)
    assert "--deadline" in said
    assert url in said
    running = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
    assert not [words for words in running if str(endless) in words]
