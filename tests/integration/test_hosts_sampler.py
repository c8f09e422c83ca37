"""The sampler against processes whose use is known."""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from bakeoff.errors import HostError
from bakeoff.hosts import procfs
from bakeoff.hosts.host import Host, HostProcess, SampleRow
from tests.integration.checkout import DEADLINE_S, fake, host_on, make_checkout, until

KEYS = {
    "t_s",
    "part",
    "processes",
    "rss_bytes",
    "peak_rss_bytes",
    "cpu_us",
    "run_queue_us",
    "threads",
    "open_files",
    "context_switches",
}

# Burns CPU time by its own clock, whatever else the machine does.
_BURN = """
import os, sys, threading, time
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
def say(*words):
    print(*words, flush=True)
"""


@contextmanager
def _running(tmp_path: Path, body: str) -> Iterator[tuple[Host, HostProcess]]:
    checkout = make_checkout(tmp_path, _BURN + body)
    with host_on(checkout, uuid.uuid4().hex) as host, host.start(fake(tmp_path)) as process:
        yield host, process


def _go_on(process: HostProcess) -> None:
    """The scripts wait for this word between their acts."""
    Path(process.spec.log).with_suffix(".go").touch()


_WAIT = """
def wait():
    log = os.readlink("/proc/self/fd/1").removesuffix(".log") + ".go"
    while not os.path.exists(log):
        time.sleep(0.01)
    os.unlink(log)
"""


def _used_us(before: SampleRow, after: SampleRow) -> int:
    return after["cpu_us"] - before["cpu_us"]


def _mostly(seconds: float) -> object:
    # What the scripts do besides burning, and the ticks in which /proc counts ended children.
    return pytest.approx(seconds * 1e6, rel=0.1, abs=60_000)


def test_cpu_of_threads_that_end(tmp_path: Path) -> None:
    body = (
        _WAIT
        + """
say("up"); wait()
burn(0.2)
threads = [threading.Thread(target=burn, args=(0.1,)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
say("burnt", time.process_time()); wait()
"""
    )
    with _running(tmp_path, body) as (host, process):
        process.wait_for_line("up", DEADLINE_S)
        with host.watch({"service": [process.pid]}, 0.05) as watch:
            before = watch.read_now("service")
            _go_on(process)
            truth_s = float(process.wait_for_line("burnt", DEADLINE_S).split()[1])
            after = watch.read_now("service")
            # The exact clock: all that the process ever used, but for reading this.
            assert after["cpu_us"] == pytest.approx(truth_s * 1e6, abs=5_000)
            assert _used_us(before, after) == _mostly(0.6)
            assert after["context_switches"] > before["context_switches"]
            assert until(lambda: len(watch.samples()) >= 3)
            rows = watch.samples()
    assert all(row.keys() == KEYS for row in rows)
    assert [row["cpu_us"] for row in rows] == sorted(row["cpu_us"] for row in rows)
    assert all(row["rss_bytes"] <= row["peak_rss_bytes"] * 1.1 for row in rows)
    assert {row["processes"] for row in rows} == {1}


def test_cpu_of_children_that_end_is_counted_once(tmp_path: Path) -> None:
    body = (
        _WAIT
        + """
def child(seconds, and_then=lambda: None):
    pid = os.fork()
    if pid == 0:
        burn(seconds); and_then(); os._exit(0)
    return pid
say("up"); wait()
long = child(0.3)
for _ in range(10):
    os.waitpid(child(0.05), 0)
os.waitpid(long, 0)
say("ended"); wait()
# One whose parent ends first, so that the far end reaps it.
def orphan():
    burn(0.2); time.sleep(600)
def parent():
    child(0.05, lambda: (orphan(),)); say("forked"); wait()
os.waitpid(child(0.05, parent), 0)
say("alone"); wait()
burn(0.1)
say("last"); wait()
"""
    )
    with _running(tmp_path, body) as (host, process):
        process.wait_for_line("up", DEADLINE_S)
        with host.watch({"service": [process.pid]}, 0.02) as watch:
            start = watch.read_now("service")
            _go_on(process)
            process.wait_for_line("ended", DEADLINE_S)
            ended = watch.read_now("service")
            assert _used_us(start, ended) == _mostly(0.8)
            _go_on(process)
            process.wait_for_line("forked", DEADLINE_S)
            # The far end's next look finds them: who is orphaned before it belongs to nobody.
            assert until(lambda: watch.samples()[-1]["processes"] == 3)
            _go_on(process)
            process.wait_for_line("alone", DEADLINE_S)
            assert until(lambda: _used_us(ended, watch.read_now("service")) > 290_000)
            for pid in procfs.descendants([host.facts().pid], procfs.all_stats()):
                if pid not in (host.facts().pid, process.pid):
                    os.kill(pid, signal.SIGKILL)
            assert until(lambda: watch.read_now("service")["processes"] == 1)
            orphan = watch.read_now("service")
            assert _used_us(ended, orphan) == _mostly(0.3)
            _go_on(process)
            process.wait_for_line("last", DEADLINE_S)
            assert _used_us(orphan, watch.read_now("service")) == _mostly(0.1)
            values = [row["cpu_us"] for row in watch.samples()]
            assert values == sorted(values)
            # Two lived at once, and were found without being told about.
            assert max(row["processes"] for row in watch.samples()) >= 2


def test_cpu_of_a_root_that_ends_stays_with_its_part(tmp_path: Path) -> None:
    body = (
        _WAIT
        + """
say("up"); wait()
burn(0.3)
"""
    )
    with _running(tmp_path, body) as (host, process), ExitStack() as stack:
        stays = stack.enter_context(host.start(fake(tmp_path, "stays")))
        for one in (process, stays):
            one.wait_for_line("up", DEADLINE_S)
        watch = stack.enter_context(host.watch({"both": [process.pid]}, 0.02))
        watch.add("both", [stays.pid])
        before = watch.read_now("both")
        assert before["processes"] == 2
        _go_on(process)
        assert process.wait(DEADLINE_S) == 0
        after = watch.read_now("both")
        assert after["processes"] == 1
        assert _used_us(before, after) == _mostly(0.3)


def test_memory_and_its_peak(tmp_path: Path) -> None:
    size = 64 << 20
    body = (
        _WAIT
        + f"""
say("up"); wait()
big = bytearray({size}); big[::4096] = b"x" * len(big[::4096])
say("big"); wait()
del big
say("small"); wait()
"""
    )
    with _running(tmp_path, body) as (host, process):
        process.wait_for_line("up", DEADLINE_S)
        with host.watch({"service": [process.pid]}, 0.05) as watch:
            start = watch.read_now("service")
            _go_on(process)
            process.wait_for_line("big", DEADLINE_S)
            big = watch.read_now("service")
            assert big["rss_bytes"] - start["rss_bytes"] == pytest.approx(size, rel=0.1)
            _go_on(process)
            process.wait_for_line("small", DEADLINE_S)
            small = watch.read_now("service")
            assert small["rss_bytes"] == pytest.approx(start["rss_bytes"], abs=size * 0.1)
            assert small["peak_rss_bytes"] >= big["rss_bytes"] * 0.95
            watch.reset_peak("service")
            reset = watch.read_now("service")
            assert reset["peak_rss_bytes"] == pytest.approx(small["rss_bytes"], abs=size * 0.1)


def test_shared_memory_counts_once(tmp_path: Path) -> None:
    size = 64 << 20
    body = (
        _WAIT
        + f"""
import mmap
memory = mmap.mmap(-1, {size})
for _ in range(3):
    if os.fork() == 0:
        memory[::4096] = b"x" * len(memory[::4096])
        say("touched"); wait(); time.sleep(600)
wait()
"""
    )
    with _running(tmp_path, body) as (host, process):
        log = Path(process.spec.log)
        assert until(lambda: log.read_text().count("touched") == 3)
        with host.watch({"service": [process.pid]}, 0.05) as watch:
            row = watch.read_now("service")
            assert row["processes"] == 4
            assert size < row["rss_bytes"] < 2 * size
            assert row["peak_rss_bytes"] >= row["rss_bytes"]


def test_no_counter_falls_while_a_child_is_dead_and_not_buried(tmp_path: Path) -> None:
    body = (
        _WAIT
        + """
child = os.fork()
if child == 0:
    for _ in range(200):
        time.sleep(0.001)
    say("slept"); time.sleep(600)
wait()
os.kill(child, 9)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
say("dead"); wait()
os.waitpid(child, 0)
say("buried"); wait()
"""
    )
    with _running(tmp_path, body) as (host, process):
        process.wait_for_line("slept", DEADLINE_S)
        with host.watch({"service": [process.pid]}, 0.05) as watch:
            rows = [watch.read_now("service")]
            assert rows[0]["processes"] == 2
            for said in ("dead", "buried"):
                _go_on(process)
                process.wait_for_line(said, DEADLINE_S)
                rows.append(watch.read_now("service"))
    for name in ("cpu_us", "run_queue_us", "context_switches"):
        counts = [row[name] for row in rows]
        assert counts == sorted(counts), name
    assert rows[0]["context_switches"] >= 200


def test_parts_do_not_overlap(tmp_path: Path) -> None:
    """Ours has the far end in it, and not what the far end started."""
    body = (
        _WAIT
        + """
say("up"); wait()
burn(0.5)
say("burnt"); wait()
"""
    )
    with _running(tmp_path, body) as (host, process):
        process.wait_for_line("up", DEADLINE_S)
        parts = {"harness": [os.getpid()], "service": [process.pid]}
        with host.watch(parts, 0.05) as watch:
            before = {part: watch.read_now(part) for part in parts}
            assert before["service"]["processes"] == 1
            _go_on(process)
            process.wait_for_line("burnt", DEADLINE_S)
            assert _used_us(before["service"], watch.read_now("service")) == _mostly(0.5)
            assert _used_us(before["harness"], watch.read_now("harness")) < 400_000
            assert until(lambda: any(row["part"] == "harness" for row in watch.samples()))
            with pytest.raises(HostError, match="no part 'database' is watched; there are harness"):
                watch.read_now("database")


def test_cores_and_others(tmp_path: Path) -> None:
    body = """
say("up")
while True: burn(1)
"""
    with _running(tmp_path, body) as (host, process):
        process.wait_for_line("up", DEADLINE_S)
        with host.watch({"harness": [os.getpid()]}, 0.05) as watch:
            assert until(lambda: process.pid in {row["pid"] for row in watch.others()})
            cores = watch.cores()
        expected = set(range(host.facts().cores))
        row = next(row for row in watch.others() if row["pid"] == process.pid)
        assert row["name"] == "fake"
        assert 0.05 < row["cores"] < 1.2
    numbers = {row["core"] for row in cores}
    assert numbers == expected
    first, last = cores[0], [row for row in cores if row["core"] == cores[0]["core"]][-1]
    names = ("busy_us", "idle_us", "steal_us", "irq_us")
    passed = sum(last[name] - first[name] for name in names)  # type: ignore[literal-required]
    assert passed == pytest.approx((last["t_s"] - first["t_s"]) * 1e6, rel=0.1, abs=100_000)


def test_a_gap_stays_a_gap_and_a_clock_stays_fixed(tmp_path: Path) -> None:
    body = 'say("up")\ntime.sleep(600)\n'
    with _running(tmp_path, body) as (host, process):
        process.wait_for_line("up", DEADLINE_S)
        far_end = host.facts().pid
        with host.watch({"service": [process.pid]}, 0.05) as watch:
            assert until(lambda: len(watch.samples()) >= 3)
            os.kill(far_end, signal.SIGSTOP)
            try:
                count = len(watch.samples())
                assert not until(lambda: len(watch.samples()) > count + 1, 1.0)
            finally:
                os.kill(far_end, signal.SIGCONT)
            assert until(lambda: len(watch.samples()) >= count + 5)
            times = [row["t_s"] for row in watch.samples()]
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert max(steps) >= 0.9
    # Nothing was made up for the gap, and no burst makes up for what it swallowed.
    assert sum(step < 0.02 for step in steps) <= len(steps) // 3


def test_a_part_that_is_gone_has_no_samples(tmp_path: Path) -> None:
    with _running(tmp_path, 'say("up")\ntime.sleep(600)\n') as (host, process):
        process.wait_for_line("up", DEADLINE_S)
        with host.watch({"service": [process.pid]}, 0.02) as watch:
            assert until(lambda: len(watch.samples()) >= 2)
            process.kill()
            with pytest.raises(HostError, match="no process of 'service' is alive"):
                watch.read_now("service")
            count = len(watch.samples())
            cores = len(watch.cores())
            assert until(lambda: len(watch.cores()) > cores + 10)
            assert len(watch.samples()) <= count + 1
