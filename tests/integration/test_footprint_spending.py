"""What a command took, of all its processes: held against commands that say what they take."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeoff.errors import BuildError
from bakeoff.footprint import spending
from bakeoff.footprint.spending import run_and_measure
from bakeoff.hosts.host import Host
from tests.integration.checkout import fake, host_on, make_checkout

_MIB = 2**20
_CPU_S = 0.5
_CHILD_BYTES = 150 * _MIB
# Two children, of which each burns CPU time and then holds memory, and a grandchild with its own.
_FAMILY = f"""
import os, time

def burn():
    until = time.process_time() + {_CPU_S}
    while time.process_time() < until:
        pass

def child(grandchild):
    if grandchild and os.fork() == 0:
        burn()
        os._exit(0)
    if grandchild:
        os.wait()
    burn()
    held = bytearray(os.urandom(4096)) * ({_CHILD_BYTES} // 4096)
    time.sleep(1)
    os._exit(0)

for grandchild in (False, True):
    if os.fork() == 0:
        child(grandchild)
for _ in range(2):
    os.wait()
"""


@pytest.fixture
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    checkout = make_checkout(tmp_path, request.param)
    with host_on(checkout, f"spending-{time.monotonic_ns()}") as one:
        yield one


@pytest.mark.parametrize("host", [_FAMILY], indirect=True)
def test_all_processes_of_the_tree_are_counted(host: Host, tmp_path: Path) -> None:
    ticks: list[float] = []
    began_s = time.monotonic()
    spent = run_and_measure(host, fake(tmp_path), ticks.append)
    whole_s = time.monotonic() - began_s
    # Three burn it; starting four of Python's own comes on top.
    assert 3 * _CPU_S <= spent.cpu_s < 3 * _CPU_S + 2
    assert 1 <= spent.wall_s <= whole_s
    assert spent.peak_rss_bytes is not None
    # At the same time, for a second, unless the machine kept one of them waiting for long.
    assert _CHILD_BYTES < spent.peak_rss_bytes < 3 * _CHILD_BYTES
    assert ticks == sorted(ticks) and ticks


@pytest.mark.parametrize("host", ["import time; time.sleep(2)"], indirect=True)
def test_what_else_the_machine_does_is_seen(host: Host, tmp_path: Path) -> None:
    burn = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", burn]) as other:
        try:
            spent = run_and_measure(host, fake(tmp_path))
        finally:
            other.kill()
    # All of a core, if it gets one.
    assert spent.other_cores > 0.2


@pytest.mark.parametrize("host", ["import time; time.sleep(2)"], indirect=True)
def test_the_instrument_itself_is_nothing_else(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burn(_elapsed_s: float) -> None:
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass

    # As if nobody else were on this machine.
    monkeypatch.setattr(spending, "_busy_s", time.process_time)
    began_s = time.process_time()
    spent = spending.run_and_measure(host, fake(tmp_path), burn)
    assert time.process_time() - began_s > spent.cpu_s
    assert spent.other_cores == 0


@pytest.mark.parametrize("host", ["print('some words'); raise SystemExit(3)"], indirect=True)
def test_a_command_that_fails_is_named_with_its_last_words(host: Host, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"exit code 3(?s:.)*some words"):
        run_and_measure(host, fake(tmp_path))


@pytest.mark.parametrize("host", [""], indirect=True)
def test_one_that_is_over_at_once_says_nothing_of_its_memory_that_is_not_so(
    host: Host, tmp_path: Path
) -> None:
    spent = run_and_measure(host, fake(tmp_path))
    # A process begins with its parent's mark: that of the far end must not be taken for its own.
    assert spent.peak_rss_bytes is None or spent.peak_rss_bytes < 40 * _MIB
    assert 0 < spent.cpu_s < 2
