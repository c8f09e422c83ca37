"""Valid streams in odd forms: both engines give the same answer."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.rig import TEST_SEED, scaled
from tests.stub.conftest import ENGINES
from tests.stub.peer import Peer
from tests.stub.process import Stub
from tests.stub.received import Answer
from tests.stub.wild import Connection, Wild

STREAMS = scaled(1000)
MOST_ON_A_CONNECTION = 8
UNIMPLEMENTED, NOT_FOUND = 12, 5


def told(answer: Answer) -> tuple[Any, ...]:
    """What an answer says, but for the words that are an engine's own."""
    fields = answer.fields
    own_words = answer.status in (UNIMPLEMENTED, NOT_FOUND)
    said = None if own_words else fields.get("grpc-message", "")
    assert answer.ended, answer
    return fields[":status"], fields["content-type"], answer.status, said, answer.body


def answers_to(port: int, sent: Connection) -> list[tuple[Any, ...]]:
    with Peer(port, greets=False, acknowledges=sent.acknowledges) as peer:
        peer.send_each(sent.segments)
        return [told(peer.answer(stream)) for stream in sent.streams]


@pytest.mark.timeout(1800)
def test_both_engines_answer_odd_streams_alike(stub_on: Callable[[str], Stub]) -> None:
    print(f"seed {TEST_SEED}")
    # grpcio takes no padding, so it has the same without.
    wilds = {engine: Wild(TEST_SEED, pads=engine == "wire") for engine in ENGINES}
    stubs = [stub_on(engine) for engine in ENGINES]
    for stub in stubs:
        stub.reset()
        stub.configure(remember_request_ids=10 * STREAMS)
    ports = [stub.ports[0] for stub in stubs]
    streams, request_ids, statuses = 0, [], set()
    with ThreadPoolExecutor(len(stubs)) as pool:
        while streams < STREAMS:
            calls = min(1 + streams % MOST_ON_A_CONNECTION, STREAMS - streams)
            sent = [wilds[stub.engine].connection(calls) for stub in stubs]
            first, second = pool.map(answers_to, ports, sent)
            assert first == second, sent
            streams += calls
            request_ids += sent[0].request_ids
            statuses |= {status for _, _, status, _, _ in first}
    assert {0, 3, 5, 12} <= statuses
    for stub in stubs:
        assert sorted(stub.snapshot().request_ids) == sorted(request_ids)
    print(f"{streams} streams, statuses {sorted(statuses)}")
