"""How long the stub waits for a peer: each limit by itself, on connections that wait at once."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from protos.payment.v1.payment_pb2 import Latency
from stub_payment.payments import payment_of_invoice
from tests.fakes.http2 import (
    CONTINUATION,
    DATA,
    ENHANCE_YOUR_CALM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    SETTINGS_TIMEOUT,
    frame,
    settings,
    window_update,
)
from tests.stub.peer import Peer, asked, call, head
from tests.stub.process import running, until
from tests.stub.received import Ending

SETTINGS_S, FRAME_S, BLOCKED_S, REQUEST_S = 2.0, 10.0, 10.0, 20.0
# What the stub may be early by: it looks every half a second.
SWEEP_S = 0.6
SLACK = 10
PAUSE_S = 0.2
# Longer than any limit: the latency of calls whose answers the peer waits for.
LONG_MS = 22_000.0


@dataclass(frozen=True)
class Wait:
    """What is sent, before nothing more comes but the parts of `slowly`, one every PAUSE_S; when
    the connection ends, and with which code."""

    sent: bytes
    after_s: float
    code: int = ENHANCE_YOUR_CALM
    slowly: Iterable[bytes] = ()
    greets: bool = True
    window: int = 65_535


HALF = frame(DATA, 0, 1, asked())[:-1]
BLOCK = frame(HEADERS, 0, 1, b"\x83")
WAITS = {
    "nothing": Wait(b"", SETTINGS_S, SETTINGS_TIMEOUT, greets=False),
    "half a preface": Wait(PREFACE[:10], SETTINGS_S, SETTINGS_TIMEOUT, greets=False),
    "no SETTINGS": Wait(PREFACE, SETTINGS_S, SETTINGS_TIMEOUT, greets=False),
    "half of SETTINGS": Wait(
        PREFACE + settings((4, 100))[:-1], SETTINGS_S, SETTINGS_TIMEOUT, greets=False
    ),
    "half a frame": Wait(head(1) + HALF, FRAME_S),
    "half the head of a frame": Wait(call(1)[:5], FRAME_S),
    "half a header block": Wait(BLOCK, FRAME_S),
    "half a continuation": Wait(BLOCK + frame(CONTINUATION, 0, 1), FRAME_S),
    "a frame a byte at a time": Wait(
        head(1) + frame(DATA, 0, 1, bytes(16_000))[:20], FRAME_S, slowly=[b"\0"] * 1000
    ),
    "half a request": Wait(head(1), REQUEST_S),
    "half a message": Wait(head(1) + frame(DATA, 0, 1, asked()[:9]), REQUEST_S),
    "a request a byte at a time": Wait(
        head(1) + frame(DATA, 0, 1, b"\0\0\x10\0\0"),
        REQUEST_S,
        slowly=[frame(DATA, 0, 1, b"x")] * 1000,
    ),
    "no window": Wait(call(1), BLOCKED_S, window=0),
    "a window a byte at a time": Wait(
        call(1), BLOCKED_S, slowly=[window_update(1, 1)] * 1000, window=1
    ),
}


@pytest.fixture(scope="module")
def endings() -> Iterator[Callable[[str], Ending]]:
    """How each of them ended, on a stub of its own. Beside them are a connection that does nothing
    and one whose call takes longer than any limit: their peer owes nothing."""
    with running("wire") as stub, ThreadPoolExecutor(len(WAITS)) as pool:
        stub.configure(latency=Latency(fixed_ms=LONG_MS))
        port = stub.ports[0]
        with Peer(port) as idle, Peer(port) as patient:
            patient.send(call(1))
            until(lambda: stub.snapshot().calls_in_flight == 1)
            stub.configure()
            futures = {name: pool.submit(_ending, port, wait) for name, wait in WAITS.items()}
            endings = {name: future.result() for name, future in futures.items()}
            assert patient.answer(1).payment == payment_of_invoice("inv-1")
            assert idle.send(call(1)).answer(1).payment == payment_of_invoice("inv-1")
        assert stub.snapshot().calls_in_flight == 0
        yield endings.__getitem__


def _ending(port: int, wait: Wait) -> Ending:
    over = threading.Event()

    def dribble() -> None:
        for part in wait.slowly:
            if over.wait(PAUSE_S):
                return
            peer.send(part)

    entries = [] if wait.window == 65_535 else [(INITIAL_WINDOW_SIZE, wait.window)]
    with Peer(port, *entries, greets=wait.greets, acknowledges=False) as peer:
        peer.send(wait.sent)
        more = threading.Thread(target=dribble)
        more.start()
        try:
            return peer.end(REQUEST_S * SLACK)
        finally:
            over.set()
            more.join()


@pytest.mark.parametrize("name", WAITS)
def test_a_peer_that_leaves_the_stub_waiting_is_left(
    endings: Callable[[str], Ending], name: str
) -> None:
    wait, ending = WAITS[name], endings(name)
    assert ending.codes == [wait.code]
    assert wait.after_s - SWEEP_S < ending.after_s < wait.after_s * SLACK
