"""Reports on a link that delays or repeats them: nothing is lost, and nothing counted twice."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.loadrig import (
    DEADLINE_S,
    assert_balanced,
    locust,
    null_server,
    wait_for,
)

pytestmark = pytest.mark.slow


class Link:
    """A TCP proxy whose directions can be held.

    With `last_to_worker`, the direction to the worker is held once those bytes have passed.
    """

    def __init__(self, last_to_worker: bytes | None) -> None:
        self._last_to_worker = last_to_worker
        self.to_master = threading.Event()
        self.to_worker = threading.Event()
        self.to_master.set()
        self.to_worker.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._target = 0

    def connect(self, master_port: int) -> int:
        """Starts it in front of a port; returns its own."""
        self._target = master_port
        threading.Thread(target=self._accept, daemon=True).start()
        return self.port

    def close(self) -> None:
        """Ends all connections."""
        self.to_master.set()
        self.to_worker.set()
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                worker, _ = self._listener.accept()
            except OSError:
                return
            master = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [worker, master]
            for source, sink, gate in (
                (worker, master, self.to_master),
                (master, worker, self.to_worker),
            ):
                threading.Thread(target=self._copy, args=(source, sink, gate), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, gate: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                gate.wait(DEADLINE_S)
                if gate is self.to_worker and self._last_to_worker and self._last_to_worker in data:
                    gate.clear()
                sink.sendall(data)


@contextmanager
def link(last_to_worker: bytes | None = None) -> Iterator[Link]:
    """A link that is closed with its block."""
    made = Link(last_to_worker)
    try:
        yield made
    finally:
        made.close()


def test_a_late_last_report_is_counted() -> None:
    with (
        null_server() as host,
        link() as way,
        locust(workers=1, master_port=way.connect) as found,
    ):
        assert found.start(host, duration=1.5, rate=300)["success"]
        wait_for("a start", lambda: found.summary()["state"] == "running")
        way.to_master.clear()
        # The schedule is over, the last report is on its way.
        wait_for("the end", lambda: found.summary()["elapsed_s"] >= 1.5)
        time.sleep(1)
        assert found.summary()["complete"] is False
        way.to_master.set()
        found.wait_until("complete")
        measurement = found.measurement()
    assert_balanced(measurement)
    (worker,) = measurement.workers
    assert worker.merged == measurement.counts.sent == measurement.counts.scheduled > 0


def test_a_repeated_last_report_is_merged_once() -> None:
    with (
        null_server() as host,
        # The acknowledgement does not arrive, so the worker goes on repeating. A master that says
        # it is running has sent the go, which may still be under way: holding then could hold it.
        link(last_to_worker=b"bakeoff_go") as way,
        locust(workers=1, master_port=way.connect) as found,
    ):
        found.start(host, duration=1, rate=300)
        found.wait_until("complete")
        wait_for("repeats", lambda: found.measurement().workers[0].repeats >= 2)
        measurement = found.measurement()
        way.to_worker.set()
    assert_balanced(measurement)
    assert measurement.workers[0].reports == measurement.workers[0].last_sequence


def test_quitting_waits_for_the_last_report() -> None:
    with (
        null_server() as host,
        link() as way,
        locust(workers=1, master_port=way.connect) as found,
    ):
        found.start(host, duration=0, rate=300)
        wait_for("answers", lambda: found.summary()["completed"] > 300)
        way.to_master.clear()
        stopped: list[int] = []
        stop = threading.Thread(target=lambda: stopped.append(found.call("/stop", {})[0]))
        stop.start()
        # Longer than the half second that Locust itself waits.
        time.sleep(1.5)
        assert stopped == []
        assert found.summary()["state"] == "stopping"
        way.to_master.set()
        stop.join(DEADLINE_S)
        assert stopped == [200]
        measurement = found.measurement()
    assert measurement.complete
    assert_balanced(measurement)


def test_a_last_report_that_never_comes_is_named() -> None:
    with (
        null_server() as host,
        link() as way,
        locust(workers=1, master_port=way.connect) as found,
    ):
        found.start(host, duration=1, rate=300, request_timeout=0.5)
        wait_for("a start", lambda: found.summary()["state"] == "running")
        way.to_master.clear()
        ended = found.wait_until("incomplete")
        assert ended["complete"] is False
        assert "last report is missing" in ended["failure"]
        assert found.measurement().workers[0].final is False
        way.to_master.set()
