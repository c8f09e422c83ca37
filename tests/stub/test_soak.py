"""Calls for a long time: memory and open files stay as they are."""

import asyncio
import time

import psutil
import pytest
import uvloop

from tests.contract.rig import scaled
from tests.stub.pipeline import Pipeline
from tests.stub.process import running, until

CALLS = scaled(2_000_000)
CONNECTIONS = 16
AT_ONCE = 32
# After this part of the calls the memory is as large as it gets.
WARM_UP = 0.2
CALLS_A_CONNECTION = 5000
RSS_GROWTH_BYTES = 20_000_000


@pytest.mark.timeout(7200)
def test_memory_and_files_stay_as_they_are() -> None:
    with running("wire") as stub:
        serving = stub.serving
        files = serving.num_fds()
        left = iter(range(CALLS // AT_ONCE))
        warm: list[int] = []

        async def calls() -> int:
            """One connection after the other, until all calls are made; how many were good."""
            good = 0
            while True:
                client = await Pipeline.connect(stub.ports[0])
                for _ in range(CALLS_A_CONNECTION // AT_ONCE):
                    number = next(left, None)
                    if number is None:
                        break
                    if number == round(CALLS // AT_ONCE * WARM_UP):
                        warm.append(serving.memory_info().rss)
                    client.send([""] * AT_ONCE)
                    await client.done()
                good += client.good
                await client.close()
                if number is None:
                    return good

        async def run() -> int:
            return sum(await asyncio.gather(*(calls() for _ in range(CONNECTIONS))))

        start_s = time.monotonic()
        good = uvloop.run(run())
        took_s = time.monotonic() - start_s
        assert good == CALLS // AT_ONCE * AT_ONCE
        seen = stub.snapshot()
        assert (seen.calls["GetPayment"], seen.answers[0], seen.calls_in_flight) == (good, good, 0)
        until(lambda: serving.num_fds() == files)
        _check_memory(serving, warm[0])
        print(f"{good} calls in {took_s:.0f} s, {seen.process_cpu_s[0] / good * 1e6:.1f} us a call")


def _check_memory(serving: psutil.Process, warm_bytes: int) -> None:
    grown_bytes = serving.memory_info().rss - warm_bytes
    print(f"RSS {warm_bytes / 1e6:.1f} MB, grown by {grown_bytes / 1e6:.2f} MB")
    assert grown_bytes < RSS_GROWTH_BYTES
