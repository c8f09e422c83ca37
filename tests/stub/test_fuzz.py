"""Mutated frames: whatever comes, the engine answers in HTTP/2, and stays as it was."""

import asyncio
import random
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import IO, Any, cast

import psutil
import pytest
import uvloop
from hpack import Decoder

from protos.payment.v1.payment_pb2 import Behaviour, Fault, Latency
from stub_payment.ledger import Ledger, create_ledger
from stub_payment.servicer import Servicer
from stub_payment.wire.connection import Connection, Shared
from stub_payment.wire.methods import Health, methods
from tests.contract.rig import TEST_SEED, scaled
from tests.fakes.http2 import CONTINUATION, END_HEADERS, GOAWAY, HEADERS
from tests.stub.mutants import Mutants
from tests.stub.peer import Peer, call
from tests.stub.process import running, until

FRAMES = scaled(1_000_000)
FRAMES_OVER_SOCKETS = scaled(50_000)
RSS_GROWTH_BYTES = 20_000_000
# Of the frames, before which the memory is not yet as large as it gets.
WARM_UP = 0.1
# What may be handled at once: a segment of 64 kB.
LONGEST_S = 5.0
IDLE_S, IDLE_CPU_S = 2.0, 0.1
FAULTS = [
    Fault(share=0.05, hang=True),
    Fault(share=0.02, reset=True),
    Fault(share=0.02, goaway=True),
    Fault(share=0.05, status_code=13),
]
BEHAVIOURS = [
    Behaviour(remember_request_ids=100),
    Behaviour(latency=Latency(fixed_ms=1), faults=FAULTS),
]


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.ended = False
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended and not self.aborted, "written after the end"
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.aborted

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


def check_written(written: bytes, ended: bool) -> None:
    """It is HTTP/2, as its header blocks are, and there was a GOAWAY where it ended."""
    decoder, block, position, kinds = Decoder(), bytearray(), 0, set()
    while position < len(written):
        end = position + 9 + int.from_bytes(written[position : position + 3], "big")
        kind, flags = written[position + 3], written[position + 4]
        kinds.add(kind)
        if kind in (HEADERS, CONTINUATION):
            block += written[position + 9 : end]
            if flags & END_HEADERS:
                decoder.decode(bytes(block), raw=True)
                block.clear()
        position = end
    assert position == len(written), "half a frame"
    assert not ended or GOAWAY in kinds


async def fuzz(servicer: Servicer, mutants: Mutants, frames: int, process: psutil.Process) -> None:
    """Feeds frames to connections of an engine without sockets."""
    shared = Shared(methods(servicer, Health()), servicer)
    draw = random.Random(TEST_SEED)
    budget = shared.held.left_bytes
    warm_bytes = 0
    longest_s = 0.0
    while mutants.count < frames:
        if draw.random() < 0.02:
            servicer.configure(draw.choice(BEHAVIOURS))
        segments = mutants.connection()
        connection, wire = Connection(shared), Wire()
        connection.connection_made(wire)
        for segment in segments:
            start_s = time.perf_counter()
            connection.data_received(segment)
            longest_s = max(longest_s, time.perf_counter() - start_s)
            if wire.ended or wire.aborted:
                break
            if draw.random() < 0.1:
                shared.sweep()
                await asyncio.sleep(0)
        if draw.random() < 0.2:
            await asyncio.sleep(0.001)
        ended = wire.ended and not wire.aborted
        connection.connection_lost(None)
        check_written(bytes(wire.written), ended)
        if not warm_bytes and mutants.count > frames * WARM_UP:
            warm_bytes = process.memory_info().rss
    # Charges that have begun are executed, whoever left.
    async with asyncio.timeout(60):
        while servicer.snapshot().calls_in_flight:
            await asyncio.sleep(0.01)
    assert shared.connections == set()
    assert shared.held.left_bytes == budget
    grown_bytes = process.memory_info().rss - warm_bytes
    seen = servicer.snapshot()
    print(f"{mutants.count} frames, calls {dict(seen.calls)}, answers {dict(seen.answers)},")
    print(f"longest {longest_s * 1e3:.1f} ms a segment, RSS grown by {grown_bytes / 1e6:.1f} MB")
    assert sum(seen.calls.values()) > frames / 100
    assert longest_s < LONGEST_S
    assert grown_bytes < RSS_GROWTH_BYTES


def play(work: Coroutine[Any, Any, None]) -> None:
    """Runs something in a loop that must not complain."""
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        await work

    uvloop.run(run())
    assert complaints == []


@pytest.mark.timeout(7200)
def test_mutated_frames_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    print(f"seed {TEST_SEED}")
    path = tmp_path / "ledger.sqlite"
    create_ledger(path)
    with Ledger(path) as ledger:
        servicer = Servicer(ledger, 0)
        play(fuzz(servicer, Mutants(TEST_SEED), FRAMES, psutil.Process()))
        servicer.close()
    assert caplog.records == []


@pytest.mark.timeout(7200)
def test_mutated_frames_over_sockets_change_nothing() -> None:
    print(f"seed {TEST_SEED}")
    mutants = Mutants(TEST_SEED + 1)
    with running("wire") as stub:
        stub.configure(faults=FAULTS)
        serving = stub.serving
        files, warm_bytes, ended = serving.num_fds(), 0, 0
        while mutants.count < FRAMES_OVER_SOCKETS:
            with Peer(stub.ports[0], greets=False) as peer:
                peer.send_each(mutants.connection())
                # Half of a connection is as good as an end: it hangs up.
                peer.hang_up()
                peer.end()
                ended += bool(peer.ending.codes)
            if not warm_bytes and mutants.count > FRAMES_OVER_SOCKETS * WARM_UP:
                warm_bytes = serving.memory_info().rss
        stub.configure()
        with Peer(stub.ports[0]) as peer:
            assert peer.send(call(1)).answer(1).payment
        until(lambda: stub.snapshot().calls_in_flight == 0)
        until(lambda: serving.num_fds() == files)
        grown_bytes = serving.memory_info().rss - warm_bytes
        before_s = sum(serving.cpu_times()[:2])
        time.sleep(IDLE_S)  # nothing happens meanwhile, which is what is measured
        idle_s = sum(serving.cpu_times()[:2]) - before_s
        print(f"{mutants.count} frames, {ended} connections were ended by a GOAWAY,")
        print(f"RSS grown by {grown_bytes / 1e6:.1f} MB, {idle_s:.2f} s of CPU in {IDLE_S:.0f} s")
        assert grown_bytes < RSS_GROWTH_BYTES
        assert idle_s < IDLE_CPU_S
        assert ended > 10
        stub.process.terminate()
        stub.process.wait(60)
        errors = cast(IO[str], stub.process.stderr).read()
        assert (stub.process.returncode, errors) == (0, "")
