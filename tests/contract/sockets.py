"""What the kernel says of another process's TCP connections, read from copies of its sockets."""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

# pidfd_getfd(2), the same number on every architecture.
_PIDFD_GETFD = 438
# struct tcp_info of linux/tcp.h: a multiple of eight bytes up to the counters of segments.
_SEGMENTS = struct.Struct("=8B24I4Q6I")
_DATA_SEGMENTS_IN, _DATA_SEGMENTS_OUT = -2, -1


@dataclass(frozen=True)
class Traffic:
    """Segments that carried data, over all connections of one purpose."""

    received: int
    sent: int

    def __sub__(self, before: "Traffic") -> "Traffic":
        return Traffic(self.received - before.received, self.sent - before.sent)


class Connections:
    """Copies of a process's established TCP sockets, each by what it is for."""

    def __init__(self, sockets: Mapping[str, Sequence[socket.socket]]) -> None:
        self._sockets = sockets

    def count(self, purpose: str) -> int:
        """How many connections."""
        return len(self._sockets[purpose])

    def nodelay(self, purpose: str) -> set[bool]:
        """Whether TCP_NODELAY is set: one value where all agree."""
        return {
            bool(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            for one in self._sockets[purpose]
        }

    def traffic(self, purpose: str) -> Traffic:
        """Segments with data so far."""
        received = sent = 0
        for one in self._sockets[purpose]:
            fields = _SEGMENTS.unpack(
                one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SEGMENTS.size)
            )
            received += fields[_DATA_SEGMENTS_IN]
            sent += fields[_DATA_SEGMENTS_OUT]
        return Traffic(received, sent)


@contextmanager
def connections_of(
    pid: int, local: Mapping[str, int], remote: Mapping[str, int]
) -> Iterator[Connections]:
    """The connections of a process by purpose: `local` ports are its own, `remote` its peers'.

    PermissionError where the process belongs to somebody else.
    """
    found: dict[str, list[socket.socket]] = {purpose: [] for purpose in (*local, *remote)}
    with ExitStack() as stack:
        for one in _sockets(pid, stack):
            own, peer = one.getsockname(), one.getpeername()
            for purpose, port in local.items():
                if own[1] == port:
                    found[purpose].append(one)
            for purpose, port in remote.items():
                if peer[1] == port:
                    found[purpose].append(one)
        yield Connections(found)


def listen_backlog(pid: int, port: int) -> int:
    """The backlog that a process listens with on a port."""
    with ExitStack() as stack:
        for one in _sockets(pid, stack, listening=True):
            if one.getsockname()[1] == port:
                # Of a listening socket tcpi_sacked is the backlog.
                info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SEGMENTS.size)
                return int(_SEGMENTS.unpack(info)[8 + 5])
    raise LookupError(f"process {pid} does not listen on port {port}")


def _sockets(pid: int, stack: ExitStack, *, listening: bool = False) -> Iterator[socket.socket]:
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    stack.callback(os.close, process)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
        except FileNotFoundError:
            continue
        copied = libc.syscall(_PIDFD_GETFD, process, int(entry.name), 0)
        if copied < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"pidfd_getfd of process {pid}: {os.strerror(error)}")
        one = stack.enter_context(socket.socket(fileno=copied))
        if one.family not in (socket.AF_INET, socket.AF_INET6) or one.type != socket.SOCK_STREAM:
            continue
        if bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) != listening:
            continue
        if not listening:
            try:
                one.getpeername()
            except OSError:
                continue
        yield one
