"""What is read from /proc and /sys, and the lines on the pipe."""

import os

import pytest

from bakeoff.hosts import procfs, protocol
from bakeoff.hosts.facts import parse_cores

_LINE = (
    b"4242 (a) R (b) S 17 4242 4240 0 -1 4194560 9 8 7 6 150 50 30 20 20 0 12 0 777 1024 99 "
    b"18446744073709551615 1 1 0 0 0 0 0 0 0\n"
)


def test_a_name_may_look_like_fields() -> None:
    tick_us = 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert procfs.parse_stat(_LINE) == procfs.Stat(
        pid=4242,
        name="a) R (b",
        state="S",
        parent=17,
        session=4240,
        cpu_us=200 * tick_us,
        children_cpu_us=50 * tick_us,
        threads=12,
        started_ticks=777,
    )


def test_this_process() -> None:
    stat = procfs.stat(os.getpid())
    assert stat is not None
    assert (stat.pid, stat.parent, stat.alive) == (os.getpid(), os.getppid(), True)
    assert procfs.stat(2**22 + 1) is None
    assert os.getpid() in procfs.all_stats()


def _stat(pid: int, parent: int) -> procfs.Stat:
    return procfs.parse_stat(_LINE)._replace(pid=pid, parent=parent)


def test_descendants_stop_at_leaves() -> None:
    tree = {1: 0, 2: 1, 3: 2, 4: 3, 5: 2, 9: 0}
    stats = {pid: _stat(pid, parent) for pid, parent in tree.items()}
    assert procfs.descendants([2], stats) == {2, 3, 4, 5}
    assert procfs.descendants([2], stats, frozenset([3])) == {2, 3, 5}
    assert procfs.descendants([7], stats) == set()
    # A process whose number came round may be its own ancestor for a moment.
    stats[2] = _stat(2, 4)
    assert procfs.descendants([2], stats) == {2, 3, 4, 5}


@pytest.mark.parametrize(
    ("text", "cores"), [("0", [0]), ("0-2,8\n", [0, 1, 2, 8]), ("", []), ("3,1-1", [3, 1])]
)
def test_lists_of_cores(text: str, cores: list[int]) -> None:
    assert parse_cores(text) == cores


def test_lines_come_in_any_pieces() -> None:
    for size in (1, 2, 3, 100):
        lines = protocol.Lines()
        data = b'{"a":1}\n\n{"b":2}\nrest'
        found = []
        for start in range(0, len(data), size):
            found += lines.feed(data[start : start + size])
        assert found == [b'{"a":1}', b"", b'{"b":2}']
        assert lines.half
        assert lines.feed(b"\n") == [b"rest"]
        assert not lines.half


def test_a_line_has_a_limit() -> None:
    longest = b"x" * (protocol.MESSAGE_LIMIT_BYTES - 1)
    assert protocol.Lines().feed(longest + b"\n") == [longest]
    for data in (longest + b"x\n", longest + b"x"):
        with pytest.raises(protocol.ProtocolError, match="over 1048576 bytes"):
            protocol.Lines().feed(data)
    with pytest.raises(protocol.ProtocolError, match="1048576 are allowed"):
        protocol.line_of(protocol.FileSize(1, path="x" * protocol.MESSAGE_LIMIT_BYTES))
