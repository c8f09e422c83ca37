"""What a far end refuses: by name, with nothing started, and what was there goes on."""

import json
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bakeoff.errors import HostError
from bakeoff.hosts import protocol
from bakeoff.hosts.host import LOCAL_COMMAND, Host
from tests.integration.checkout import DEADLINE_S, fake, host_on, make_checkout, of_run, until

_SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"


class RawFarEnd:
    """A far end, and whatever bytes a test wants to send to it."""

    def __init__(self, checkout: Path) -> None:
        self.run_id = uuid.uuid4().hex
        self.popen = subprocess.Popen(
            [*LOCAL_COMMAND, "--checkout", str(checkout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, protocol.RUN_ID_VARIABLE: self.run_id},
        )

    def send(self, data: bytes) -> None:
        assert self.popen.stdin is not None
        # It may have hung up on us: its answer says why.
        with suppress(BrokenPipeError):
            self.popen.stdin.write(data)
            self.popen.stdin.flush()

    def ask(self, **request: Any) -> dict[str, Any]:
        self.send(json.dumps(request).encode() + b"\n")
        return self.answer()

    def hello(self, **fields: Any) -> dict[str, Any]:
        known = {"version": protocol.VERSION, "run_id": self.run_id, "lease_s": 60}
        return self.ask(op="hello", id=1, **(known | fields))

    def answer(self) -> dict[str, Any]:
        assert self.popen.stdout is not None
        found: dict[str, Any] = json.loads(self.popen.stdout.readline())
        return found

    def end(self) -> int:
        """Hangs up; its exit code."""
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        return self.popen.wait(DEADLINE_S)

    def started(self) -> set[int]:
        return of_run(self.run_id) - {self.popen.pid}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path, _SLEEPER)


@pytest.fixture
def far_end(checkout: Path) -> Iterator[RawFarEnd]:
    far_end = RawFarEnd(checkout)
    yield far_end
    far_end.end()
    assert until(lambda: not far_end.started())


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "bytes": bytes(range(128, 256)) + b"\n",
    "NUL": b"\0\n",
    "empty line": b"\n",
    "half a message": b'{"op":"start","id":',
    "no object": b"[1, 2]\n",
    "no id": b'{"op":"facts"}\n',
    "bad UTF-8": b'{"op":"fac\xff","id":2}\n',
    "deep": b"[" * 100_000 + b"\n",
    "long line": b'{"op":"' + b"x" * (protocol.MESSAGE_LIMIT_BYTES + 1) + b'"}\n',
    "long and no end": b"x" * (protocol.MESSAGE_LIMIT_BYTES + 1),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_ends_the_conversation_and_all_with_it(
    tmp_path: Path, far_end: RawFarEnd, kind: str
) -> None:
    assert far_end.hello()["error"] is None
    spec = json.loads(protocol.encoder.encode(fake(tmp_path)))
    assert far_end.ask(op="start", id=2, process=1, spec=spec)["error"] is None
    assert until(lambda: len(far_end.started()) == 1)
    far_end.send(GARBAGE[kind])
    if kind == "half a message":
        assert far_end.popen.stdin is not None
        far_end.popen.stdin.close()
    answer = far_end.answer()
    assert answer["id"] is None
    assert answer["error"]
    assert until(lambda: not far_end.started())
    assert far_end.popen.wait(DEADLINE_S) == 2
    assert far_end.popen.stderr is not None
    assert answer["error"] in far_end.popen.stderr.read().decode()


def test_a_hundred_megabytes_are_not_kept(far_end: RawFarEnd) -> None:
    assert far_end.hello()["error"] is None
    resident = Path(f"/proc/{far_end.popen.pid}/statm")
    before = int(resident.read_text().split()[1])
    block = b"x" * 1_000_000
    grown = 0
    for _ in range(100):
        far_end.send(block)
        if resident.exists():
            grown = max(grown, int([*resident.read_text().split(), "0", "0"][1]) - before)
    assert "over 1048576 bytes" in far_end.answer()["error"]
    assert grown * os.sysconf("SC_PAGE_SIZE") < 20_000_000
    assert far_end.end() == 2


REFUSED = [
    ({"op": "format_disk"}, "format_disk"),
    ({"op": "facts", "more": 1}, "more"),
    ({"op": "signal", "process": "one", "signal": 9}, "process"),
    ({"op": "signal", "process": 7, "signal": 9}, "no process 7"),
    ({"op": "stop", "process": 7}, "no process 7"),
    ({"op": "hello", "version": protocol.VERSION, "run_id": "x", "lease_s": 1}, "said before"),
    ({"op": "watch", "watch": 1, "parts": {}, "interval_s": 0.0}, "shortest"),
    ({"op": "read_now", "watch": 3, "part": "x"}, "no watch 3"),
    ({"op": "file_size", "path": "/etc/../etc/passwd"}, r"\.\."),
    ({"op": "file_size", "path": "/etc/pass\0wd"}, "NUL"),
    ({"op": "file_size", "path": "/dev/zero"}, "no plain file"),
    ({"op": "file_size", "path": "/proc/self/exe"}, "symbolic link"),
    ({"op": "file_size", "path": "/no/such"}, "No such file"),
    ({"op": "read_file", "path": "/etc/passwd", "offset": -1, "size": 1}, "cannot read"),
    ({"op": "read_file", "path": "/etc/passwd", "offset": 0, "size": 1 << 30}, "cannot read"),
    ({"op": "make_folder", "name": "../x"}, r"\.\."),
    ({"op": "make_folder", "name": "/tmp/x"}, "own folder"),
    ({"op": "write_file", "name": "/etc/cron.d/x", "content": "eA=="}, "own folder"),
    ({"op": "remove_tree", "path": "/etc"}, "own folder"),
    ({"op": "remove_tree", "path": "."}, "own folder"),
]


@pytest.mark.parametrize(("request_", "named"), REFUSED)
def test_a_bad_request_is_refused_by_name(
    far_end: RawFarEnd, request_: dict[str, Any], named: str
) -> None:
    assert far_end.hello()["error"] is None
    answer = far_end.ask(id=2, **request_)
    assert answer["id"] == 2
    assert re.search(named, answer["error"]), answer
    # The conversation goes on.
    assert far_end.ask(op="beat", id=3)["ok"] == pytest.approx(time.monotonic(), abs=60)
    assert not far_end.started()


def test_nothing_is_done_before_hello(far_end: RawFarEnd) -> None:
    assert "hello" in far_end.ask(op="facts", id=1)["error"]
    answer = far_end.hello(version="0.0.9")
    assert "0.0.9" in answer["error"] and protocol.VERSION in answer["error"]
    assert "hello" in far_end.ask(op="facts", id=2)["error"]


FORBIDDEN: dict[str, tuple[dict[str, Any], str]] = {
    "any program": ({"argv": ["/bin/sh", "-c", "true"], "cwd": "/"}, "no command of"),
    "any program in a service": ({"argv": ["/bin/sh"]}, "no command of"),
    "no words": ({"argv": []}, "0 words"),
    "more arguments": ({"argv": ["bin/fake", "--listen=:1"]}, "no command of"),
    "another way to write it": ({"argv": ["./bin/../bin/fake"]}, "no command of"),
    "another manifest": ({"cwd": "elsewhere/fake"}, "no command of"),
    "absolute elsewhere": ({"cwd": "/usr/fake"}, "no command of"),
    "up and away": ({"cwd": "services/../services/fake"}, r"\.\."),
    "unknown service": ({"cwd": "services/other"}, "service.toml"),
    "linked service": ({"cwd": "services/linked"}, "no command of"),
    "service that leads out": ({"cwd": "services/leak"}, "link out of its folder"),
    "NUL in a word": ({"argv": ["bin/fake\0"]}, "NUL"),
    "NUL in the folder": ({"cwd": "services/fake\0"}, "NUL"),
    "NUL in the log": ({"log": "/tmp/x\0"}, "NUL"),
    "log through a link": ({"log": "{tmp}/link.log"}, "symbolic link|symbolic links"),
    "log up and away": ({"log": "/tmp/../etc/x"}, r"\.\."),
    "loader": ({"environment": {"LD_PRELOAD": "/tmp/x.so"}}, "LD_PRELOAD"),
    "interpreter": ({"environment": {"PYTHONSTARTUP": "/tmp/x"}}, "PYTHONSTARTUP"),
    "path": ({"environment": {"PATH": "/tmp/evil"}}, "PATH"),
    "bad name": ({"environment": {"A=B": "x"}}, "A=B"),
    "NUL in a value": ({"environment": {"A": "x\0LD_PRELOAD=y"}}, "bad entry 'A'"),
    "Python code": ({"argv": ["python", "-c", "print(1)"], "cwd": "/"}, "-m"),
    "Python module": ({"argv": ["python", "-m", "http.server"], "cwd": "/"}, "http.server"),
    "Locust file": (
        {"argv": ["python", "-m", "locust", "-f", "/tmp/evil.py"], "cwd": "/"},
        "evil.py",
    ),
    "Locust file in one word": (
        {"argv": ["python", "-m", "locust", "--locustfi=/tmp/evil.py"], "cwd": "/"},
        "-f FILE",
    ),
    "unknown user": ({"user": "no-such-user"}, "no-such-user"),
    "core that is not there": ({"cpus": [4000]}, "cannot start"),
    "script in a checkout": ({"argv": ["python", "bin/fake"]}, "no command of"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_only_commands_of_the_checkout_are_started(
    tmp_path: Path, checkout: Path, far_end: RawFarEnd, what: str
) -> None:
    services = checkout / "services"
    (checkout / "elsewhere").mkdir()
    (services / "linked").symlink_to(services / "fake")
    (checkout / "elsewhere" / "fake").symlink_to(services / "fake")
    leak = services / "leak"
    (leak / "bin").mkdir(parents=True)
    (leak / "bin" / "fake").symlink_to("/bin/sleep")
    manifest = (services / "fake" / "service.toml").read_text()
    (leak / "service.toml").write_text(manifest.replace('"fake"', '"leak"'))
    (tmp_path / "link.log").symlink_to(tmp_path / "target")
    fields, named = FORBIDDEN[what]
    spec = json.loads(protocol.encoder.encode(fake(tmp_path))) | fields
    spec["log"] = spec["log"].replace("{tmp}", str(tmp_path))
    assert far_end.hello()["error"] is None
    answer = far_end.ask(op="start", id=2, process=1, spec=spec)
    assert re.search(named, answer["error"] or ""), answer
    assert not far_end.started()
    assert not (tmp_path / "target").exists()


def test_a_number_is_good_for_one_process(tmp_path: Path, far_end: RawFarEnd) -> None:
    """A start that comes twice, after a broken link say, starts one process."""
    assert far_end.hello()["error"] is None
    spec = json.loads(protocol.encoder.encode(fake(tmp_path)))
    assert far_end.ask(op="start", id=2, process=1, spec=spec)["ok"] > 0
    assert "started before" in far_end.ask(op="start", id=3, process=1, spec=spec)["error"]
    assert len(far_end.started()) == 1


def test_a_manifest_may_set_what_it_likes(tmp_path: Path, checkout: Path) -> None:
    manifest = checkout / "services" / "fake" / "service.toml"
    manifest.write_text(manifest.read_text() + '[run.environment]\nLD_BIND_NOW = "1"\n')
    run_id = uuid.uuid4().hex
    with host_on(checkout, run_id) as host:
        with host.start(fake(tmp_path, environment={"LD_BIND_NOW": "1"})) as process:
            process.wait_for_line("up", DEADLINE_S)
        with pytest.raises(HostError, match="must not set LD_BIND_NOW"):
            host.start(fake(tmp_path, environment={"LD_BIND_NOW": "2"}))


def test_a_command_that_is_no_host_is_named() -> None:
    with (
        pytest.raises(HostError, match=r"key `hosts.db.command`"),
        Host("db", ["/no/such/program"], run_id="x"),
    ):
        pass
    with (
        pytest.raises(HostError, match=r"(?s)'db' has gone .*exit code 3.*no route"),
        Host("db", ["/bin/sh", "-c", "echo no route >&2; exit 3"], run_id="x"),
    ):
        pass
    with (
        pytest.raises(HostError, match=r"does its command print something else"),
        Host("db", ["/bin/sh", "-c", "echo Welcome; exec cat"], run_id="x"),
    ):
        pass


def test_logs_are_read_in_part(tmp_path: Path, checkout: Path) -> None:
    log = tmp_path / "some.log"
    lines = [f'{{"message":"request","n":{n}}}' for n in range(50_000)]
    log.write_text("\n".join(lines) + "\n")
    with host_on(checkout, uuid.uuid4().hex) as host:
        size = host.file_size(str(log))
        assert size == log.stat().st_size
        # Split anywhere, no line is lost or counted twice.
        for cut in (0, 1, 17, size // 2, size - 1, size):
            counts = [
                host.count_lines(str(log), '"message":"request"', *span)
                for span in ((0, cut), (cut, size))
            ]
            assert sum(counts) == len(lines)
        assert host.count_lines(str(log), '"n":49999}', 0, size) == 1
        assert host.read_log(str(log), size) == log.read_bytes()
        kept = host.read_log(str(log), 1000)
        assert kept.startswith(b'{"message":"request","n":0}\n')
        assert kept.endswith(b'"n":49999}\n')
        assert b"bytes are left out here" in kept
        assert len(kept) < 1100
        assert host.read_tail(str(log)).splitlines()[-1] == lines[-1]


def test_the_far_ends_folder_goes_with_it(checkout: Path) -> None:
    with host_on(checkout, uuid.uuid4().hex) as host:
        own = Path(host.facts().folder)
        folder = Path(host.make_folder("data"))
        file = Path(host.write_file("data/secret", b"canary"))
        assert file.read_bytes() == b"canary"
        assert file.stat().st_mode & 0o777 == 0o600
        assert own.stat().st_mode & 0o777 == 0o711
        with pytest.raises(HostError, match="File exists"):
            host.write_file("data/secret", b"again")
        host.remove_tree(str(folder))
        host.remove_tree(str(folder))
        assert not folder.exists()
        host.make_folder("more")
    assert not own.exists()


def test_a_killed_far_ends_folder_is_removed_by_the_next(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    old = time.time() - 3600
    with (
        host_on(checkout, uuid.uuid4().hex) as killed,
        host_on(checkout, uuid.uuid4().hex) as lives,
    ):
        left, kept = Path(killed.facts().folder), Path(lives.facts().folder)
        (left / "data").mkdir()
        os.kill(killed.facts().pid, signal.SIGKILL)
        assert until(lambda: not Path(f"/proc/{killed.facts().pid}/exe").exists())
        link = tmp_path / "bakeoff-host-link"
        link.symlink_to(checkout)
        for folder in (left, kept):
            os.utime(folder, (old, old))
        with host_on(checkout, uuid.uuid4().hex) as following:
            assert Path(following.facts().folder).is_dir()
            assert not left.exists()
            assert kept.is_dir()
            assert (checkout / "services").is_dir()
    assert not kept.exists()
