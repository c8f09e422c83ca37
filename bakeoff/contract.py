"""Runs the contract's suite, `tests/contract`, against a service at any address."""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bakeoff.errors import (
    InterruptedRunError,
    MissingToolError,
    RigError,
    StartError,
    UsageError,
    WrongAnswerError,
)
from bakeoff.experiment import ROOT
from bakeoff.signals import interruptible

SUITE = ROOT / "tests" / "contract"
# It takes minutes, also where the service is far away.
SUITE_DEADLINE_S = 3600.0
_CONNECT_DEADLINE_S = 5.0
# The suite plays an account and a stranger.
_ACCOUNTS = 2
# What pytest's exit codes stand for.
_FAILED, _INTERRUPTED, _WRONG_ARGUMENTS, _NOTHING_TO_RUN = 1, 2, 4, 5


class _Tokens(msgspec.Struct):
    tokens: dict[str, str]


def run_suite(
    url: str,
    tokens_file: Path | None,
    arguments: Sequence[str],
    deadline_s: float = SUITE_DEADLINE_S,
) -> None:
    """Runs the suite against the service at `url`; pytest, which gets `arguments`, reports on
    standard output.

    `tokens_file` has bearer tokens of two accounts, as `bakeoff up` writes it. Raises UsageError
    for arguments that will not do, StartError where nobody listens, WrongAnswerError where the
    service does not keep the contract, RigError where the suite is not over in `deadline_s`.
    """
    base_url = _checked_url(url)
    tokens = _checked_tokens(tokens_file)
    if not SUITE.is_dir() or importlib.util.find_spec("pytest") is None:
        raise MissingToolError(f"the suite is run by pytest in {SUITE}: in a checkout, make setup")
    _reach(base_url)
    with interruptible():
        code = _pytest([str(SUITE), *arguments], base_url, tokens, deadline_s)
    _judge(code, base_url)


def _pytest(arguments: Sequence[str], base_url: str, tokens: Path, deadline_s: float) -> int:
    """Pytest's exit code. It hears a Ctrl-C as we do, is killed on the way out of any error here,
    and ends with us where we cannot do that; it starts nothing itself."""
    command = [sys.executable, "-m", "bakeoff.suite", str(os.getpid()), "-q", *arguments]
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "BAKEOFF_BASE_URL": base_url, "BAKEOFF_TOKENS_FILE": str(tokens)},
            timeout=deadline_s,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise RigError(
            f"the suite against {base_url} was not over within {deadline_s:g} s (--deadline) and "
            "was ended: see above how far it came. Give it longer, or fewer tests: -- -k NAME"
        ) from error


def _checked_url(url: str) -> str:
    """The base URL without a slash at its end."""
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and parts.hostname and (parts.port or 80)
    except ValueError:
        good = False
    bare = not (parts.path.strip("/") or parts.query or parts.fragment) if good else False
    if not bare or "@" in parts.netloc:
        raise UsageError(f"{url!r} is no base URL: write http://host:port")
    return f"http://{parts.netloc}"


def _checked_tokens(file: Path | None) -> Path:
    """The file's absolute path."""
    if file is None:
        raise UsageError(
            "no tokens file: --tokens-file or BAKEOFF_TOKENS_FILE names the one that `bakeoff up` "
            'writes, {"tokens": {account: bearer token}}, with two accounts of the service'
        )
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_Tokens)
    except OSError as error:
        raise UsageError(f"cannot read {file} (--tokens-file): {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{file} (--tokens-file) does not hold tokens: {error}") from error
    if len(found.tokens) < _ACCOUNTS:
        raise UsageError(f"{file} (--tokens-file) has to hold tokens of two accounts")
    return file.absolute()


def _reach(base_url: str) -> None:
    parts = urlsplit(base_url)
    assert parts.hostname is not None
    try:
        address = (parts.hostname, parts.port or 80)
        socket.create_connection(address, timeout=_CONNECT_DEADLINE_S).close()
    except OSError as error:
        raise StartError(
            f"cannot reach a service at {base_url}: {error}. `bakeoff up` starts those of this "
            "checkout"
        ) from error


def _judge(code: int, base_url: str) -> None:
    if code == _FAILED:
        raise WrongAnswerError(
            f"the service at {base_url} does not keep services/contract/README.md: "
            "the failures above say where"
        )
    if code == _INTERRUPTED:
        raise InterruptedRunError("the suite was interrupted")
    if code in (_WRONG_ARGUMENTS, _NOTHING_TO_RUN):
        raise UsageError("pytest ran no test with these arguments: see above")
    if code:
        raise RigError(f"pytest ended with exit code {code}: see above")
