"""Processes on a host: started as asked, watched, and none of them left, however it ends."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bakeoff.errors import HostError, PartDiedError, StartError
from bakeoff.hosts import procfs
from bakeoff.hosts.host import LOCAL_COMMAND, Host, ProcessSpec
from tests.integration.checkout import DEADLINE_S, fake, host_on, make_checkout, of_run, until

ROOT = Path(__file__).resolve().parents[2]

# What a process may do to stay: each prints its word and then does not end by itself.
STUBBORN = {
    "plain": "print('up', flush=True); time.sleep(600)",
    "ignores TERM": """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        print('up', flush=True)
        time.sleep(600)
    """,
    "forks": """
        for _ in range(3):
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(600)
        print('up', flush=True)
        time.sleep(600)
    """,
    "daemonises": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                os.chdir('/')
                print('up', flush=True)
                time.sleep(600)
            os._exit(0)
        os.wait()
        time.sleep(600)
    """,
    "daemonises and ends": """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
        os.wait()
        print('up', flush=True)
    """,
    "stops": """
        if os.fork() == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        print('up', flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    """,
    "child forgets its environment": """
        if os.fork() == 0:
            os.execve('/bin/sleep', ['sleep', '600'], {})
        print('up', flush=True)
        time.sleep(600)
    """,
}


@pytest.fixture
def run_id() -> Iterator[str]:
    run_id = uuid.uuid4().hex
    yield run_id
    assert until(lambda: not of_run(run_id)), "a process of this test was left"


def _script(body: str) -> str:
    return "import os, signal, sys, time\n" + textwrap.dedent(body)


def _sleepers(checkout: Path) -> set[int]:
    """Processes that came from a checkout's script, whatever their environment says."""
    program = str(checkout).encode()
    found = set()
    for pid, stat in procfs.all_stats().items():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if stat.alive and (program in line and b"--checkout" not in line):
            found.add(pid)
    return found


@pytest.mark.parametrize("how", STUBBORN)
def test_stop_leaves_nothing(tmp_path: Path, run_id: str, how: str) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN[how]))
    with host_on(checkout, run_id) as host:
        process = host.start(fake(tmp_path))
        process.wait_for_line("up", DEADLINE_S)
        far_end = host.facts().pid
        process.stop()
        assert until(lambda: of_run(run_id) == {far_end})
        assert not _sleepers(checkout)
        children = procfs.descendants([far_end], procfs.all_stats()) - {far_end}
        assert not children


@pytest.mark.parametrize("how", STUBBORN)
def test_the_end_of_the_pipe_leaves_nothing(tmp_path: Path, run_id: str, how: str) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN[how]))
    with host_on(checkout, run_id) as host:
        host.start(fake(tmp_path)).wait_for_line("up", DEADLINE_S)
        far_end = host.facts().pid
        below = procfs.descendants([far_end], procfs.all_stats())
        # What ended by itself may already have taken its daemon along.
        assert far_end in below
        assert len(below) >= 2 or how == "daemonises and ends"
    # Nothing was stopped by name: the host alone was left.
    stats = procfs.all_stats()
    assert not {pid for pid in below if pid in stats and stats[pid].alive}
    assert not _sleepers(checkout)


_HARNESS = """
    import signal
    import sys
    from pathlib import Path
    from tests.integration.checkout import fake, host_on
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so
    folder = Path(sys.argv[1])
    with host_on(folder, sys.argv[2]) as host:
        for name in ("one", "two", "three"):
            host.start(fake(folder, name)).wait_for_line("up", 60)
        print(host.facts().folder, flush=True)
        sys.stdin.read()
"""


def _harness(checkout: Path, run_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_HARNESS), str(checkout), run_id],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("how", ["ignores TERM", "daemonises", "stops"])
def test_a_killed_harness_leaves_nothing(
    tmp_path: Path, run_id: str, how: str, number: signal.Signals
) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN[how]))
    with _harness(checkout, run_id) as harness:
        assert harness.stdout is not None
        folder = Path(harness.stdout.readline().strip())
        assert folder.is_dir()
        assert len(of_run(run_id)) >= 4
        harness.send_signal(number)
        assert until(lambda: not of_run(run_id)), (
            "three seconds are meant; ten times that have passed"
        )
        assert until(lambda: not folder.exists())
        assert harness.stdin is not None
        harness.stdin.close()


def test_a_far_end_told_to_end_leaves_nothing(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN["ignores TERM"]))
    with host_on(checkout, run_id) as host:
        process = host.start(fake(tmp_path))
        process.wait_for_line("up", DEADLINE_S)
        os.kill(host.facts().pid, signal.SIGTERM)
        assert until(lambda: not of_run(run_id), DEADLINE_S)
        # Its last words came through.
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
        with pytest.raises(HostError, match="'local' has gone"):
            host.file_size(process.spec.log)
        with pytest.raises(HostError, match="'local' has gone"):
            host.check()


def test_a_killed_far_end_takes_its_processes_along(
    tmp_path: Path, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its folder stays until another far end comes by.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    checkout = make_checkout(tmp_path, _script(STUBBORN["ignores TERM"]))
    with host_on(checkout, run_id) as host:
        host.start(fake(tmp_path)).wait_for_line("up", DEADLINE_S)
        os.kill(host.facts().pid, signal.SIGKILL)
        assert until(lambda: not of_run(run_id), DEADLINE_S)


def test_ctrl_c_is_the_harness_to_decide_about(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN["plain"]))
    with host_on(checkout, run_id) as host, host.start(fake(tmp_path)) as process:
        process.wait_for_line("up", DEADLINE_S)
        os.kill(host.facts().pid, signal.SIGINT)
        assert host.clock_offset_s() == pytest.approx(0, abs=0.5)
        host.check()
        process.signal(signal.SIGINT)
        # It can be interrupted itself: that we do not heed SIGINT is not passed on.
        assert process.wait(DEADLINE_S) == -signal.SIGINT


def test_a_lease_that_is_not_renewed_ends_everything(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN["plain"]))
    command = [*LOCAL_COMMAND, "--checkout", str(checkout)]
    # Shorter than the time between two beats.
    with Host("cut off", command, run_id=run_id, lease_s=0.4) as host:
        host.start(fake(tmp_path))
        assert until(lambda: not of_run(run_id), DEADLINE_S)
        with pytest.raises(HostError, match="heard nothing for the lease"):
            host.file_size("/proc/version")


def test_several_hosts_at_once_end_only_their_own(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN["plain"]))
    with host_on(checkout, run_id) as stays:
        one = stays.start(fake(tmp_path, "stays"))
        one.wait_for_line("up", DEADLINE_S)
        with host_on(checkout, run_id) as goes:
            goes.start(fake(tmp_path, "goes")).wait_for_line("up", DEADLINE_S)
        assert one.poll() is None
        stays.check()
        assert one.pid in of_run(run_id)


def test_a_process_is_as_specified(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(
        tmp_path,
        _script("""
            import json, resource
            print("ready " + json.dumps({
                "environment": dict(os.environ), "cwd": os.getcwd(), "argv": sys.argv[1:],
                "cpus": sorted(os.sched_getaffinity(0)), "session": os.getsid(0) == os.getpid(),
                "input": sys.stdin.read(), "open": sorted(os.listdir("/proc/self/fd")),
            }), flush=True)
            print("to the other", file=sys.stderr, flush=True)
            sys.exit(7)
        """),
    )
    cpus = frozenset(sorted(os.sched_getaffinity(0))[:1])
    spec = fake(
        tmp_path, environment={"GREETING": "hello"}, cpus=cpus, error_log=str(tmp_path / "errors")
    )
    with host_on(checkout, run_id) as host, host.start(spec) as process:
        line = process.wait_for_line("ready", DEADLINE_S)
        assert process.wait(DEADLINE_S) == 7
        found = json.loads(line.removeprefix("ready "))
        assert (tmp_path / "errors").read_text() == "to the other\n"
        with pytest.raises(PartDiedError, match=r"(?s)exit code 7.*to the other") as caught:
            host.check()
        assert caught.value.part == "fake"
    ours = {"GREETING", "BAKEOFF_RUN_ID", "BAKEOFF_PROCESS"}
    assert found["environment"].keys() - ours <= {"PATH", "HOME", "LANG", "TZ", "LC_CTYPE"}
    assert found["environment"]["GREETING"] == "hello"
    assert found["environment"]["BAKEOFF_RUN_ID"] == run_id
    assert found["cwd"] == str(checkout / "services" / "fake")
    assert found["cpus"] == sorted(cpus)
    assert found["session"]
    # 3 is the listing of the folder itself.
    assert found["open"] == ["0", "1", "2", "3"]


def test_an_end_is_noticed_at_once(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(tmp_path, _script(STUBBORN["plain"]))
    with host_on(checkout, run_id) as host, host.start(fake(tmp_path)) as process:
        process.wait_for_line("up", DEADLINE_S)
        host.check()
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
        with pytest.raises(PartDiedError, match="fake died: SIGKILL"):
            process.check()


def test_waiting_for_a_line_names_what_happened(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(
        tmp_path,
        _script("""
            print("half a", end="", flush=True)
            time.sleep(0.1)
            print(" line", flush=True)
            if os.environ.get("STAY"):
                time.sleep(600)
            print("no such luck", flush=True)
            sys.exit(3)
        """),
    )
    with host_on(checkout, run_id) as host:
        with host.start(fake(tmp_path, "ends")) as process:
            assert process.wait_for_line("half", DEADLINE_S) == "half a line"
            with pytest.raises(StartError, match=r"(?s)exit code 3.*no such luck"):
                process.wait_for_line("listening", DEADLINE_S)
        with (
            host.start(fake(tmp_path, "stays", environment={"STAY": "1"})) as process,
            pytest.raises(StartError, match=r"(?s)within 0.3 s .setting `start_deadline_s`.*line"),
        ):
            process.wait_for_line("listening", 0.3, "start_deadline_s")


def test_a_log_without_end_ends_its_process(tmp_path: Path, run_id: str) -> None:
    checkout = make_checkout(tmp_path, _script("while True: print('x' * 1000); time.sleep(0.0001)"))
    spec = fake(tmp_path, log_limit_bytes=100_000)
    with host_on(checkout, run_id) as host, host.start(spec) as process:
        process.wait(DEADLINE_S)
        with pytest.raises(PartDiedError, match="its log grew over 100000 bytes"):
            process.check()


def test_a_secret_is_in_no_command_line(tmp_path: Path, run_id: str) -> None:
    canary = f"canary-{uuid.uuid4().hex}"
    checkout = make_checkout(tmp_path, _script(STUBBORN["plain"]))
    spec = fake(tmp_path, environment={"AUTH_JWT_SECRET": canary})
    with host_on(checkout, run_id) as host, host.start(spec) as process:
        process.wait_for_line("up", DEADLINE_S)
        holders = set()
        for pid in procfs.all_stats():
            try:
                assert canary.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if procfs.has_in_environment(pid, "AUTH_JWT_SECRET", canary):
                holders.add(pid)
        assert holders == {process.pid}
    assert canary not in (tmp_path / "fake.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_root_starts_a_process_as_somebody_else(tmp_path: Path, run_id: str) -> None:
    with Host("local", run_id=run_id) as host:
        facts = host.facts()
        assert facts.unprivileged_user in ("postgres", "nobody")
        user = pwd.getpwnam(facts.unprivileged_user)
        spec = ProcessSpec(
            name="postgres",
            argv=["postgres", "--version"],
            environment={},
            cwd="/",
            log=str(tmp_path / "log"),
            user=facts.unprivileged_user,
        )
        with host.start(spec) as process:
            assert process.wait(DEADLINE_S) == 0
        assert "PostgreSQL" in (tmp_path / "log").read_text()
        folder = Path(host.make_folder("data", facts.unprivileged_user))
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (user.pw_uid, 0o700)


_AS_NOBODY = """
    import sys
    from pathlib import Path
    from tests.integration.checkout import fake, host_on
    folder = Path(sys.argv[1])
    with host_on(folder, sys.argv[2]) as host:
        facts = host.facts()
        assert facts.user == "nobody" and facts.unprivileged_user is None, facts
        with host.start(fake(folder)) as process:
            process.wait_for_line("up", 60)
            with host.watch({"service": [process.pid]}, 0.05) as watch:
                assert watch.read_now("service")["rss_bytes"] > 0
                watch.reset_peak("service")
        host.start(fake(folder, "left")).wait_for_line("up", 60)
    print("done", flush=True)
"""


def _python_for_all() -> str | None:
    """An interpreter of our version that nobody's own user can start."""
    for found in (sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")):
        if found and all(
            part.stat().st_mode & 0o005 == 5 for part in Path(found).resolve().parents
        ):
            asked = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
            if asked.stdout.split()[1].split(".")[:2] == list(map(str, sys.version_info[:2])):
                return found
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_plain_user_needs_no_root(tmp_path: Path, run_id: str) -> None:
    python = _python_for_all()
    if python is None:
        pytest.skip("no interpreter that user nobody may start")
    checkout = make_checkout(tmp_path, _script(STUBBORN["ignores TERM"]), python)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)
    packages = Path(msgspec.__file__).parents[1]
    done = subprocess.run(
        [python, "-c", textwrap.dedent(_AS_NOBODY), str(checkout), run_id],
        cwd=ROOT,
        user="nobody",
        group=pwd.getpwnam("nobody").pw_gid,
        extra_groups=[],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip(), done.returncode) == ("done", 0), done.stderr
