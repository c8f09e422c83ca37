"""Calls whose HEADERS come before the DATA of others, and whose requests end in a frame of their
own: as tonic's client sends them."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stub_payment.refusal import DEADLINE_EXCEEDED, NOT_FOUND, OK
from stub_payment.wire import limits
from stub_payment.wire import streams as streams_module
from stub_payment.wire.streams import Streams
from tests.fakes.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    REFUSED_STREAM,
    frame,
    message,
    reset,
    settings,
    window_update,
)
from tests.stub.peer import asked
from tests.unit.knowncalls import check_alike, head, peer_whose_calls_are_known
from tests.unit.wirepeer import WirePeer, in_loop

# Of a size that is no chatter, as are those of the calls that end otherwise.
INVOICE = "0190f5a0-7b7a-7000-8000-000000000001"
REFUSED, LATER, LEAVES = (f"{word} {INVOICE}" for word in ("refused", "later", "leaves"))


def ended(stream: int) -> bytes:
    return frame(DATA, END_STREAM, stream)


def body(stream: int, invoice_id: str = INVOICE) -> bytes:
    """A message, and the end of the request after it."""
    return frame(DATA, 0, stream, asked(invoice_id)) + ended(stream)


Head = Callable[[int], bytes]
# What may follow the HEADERS of a call, frame by frame.
Body = Callable[[int], list[bytes]]
BODIES: list[Body] = [
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE)) + ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE)), ended(stream)],
    lambda stream: [frame(DATA, END_STREAM, stream, asked(INVOICE))],
    lambda stream: [frame(DATA, 0, stream, asked(REFUSED)), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(LATER)), ended(stream)],
    lambda stream: [frame(DATA, END_STREAM, stream, asked(LATER))],
    lambda stream: [frame(DATA, 0, stream, message(b"\xff" * 20)), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked("tiny")), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked("x" * 3000)), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, message(bytes(16_379))), ended(stream)],
    # In more frames, or others.
    lambda stream: [frame(DATA, 0, stream), frame(DATA, 0, stream, asked(INVOICE)), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE)), frame(DATA, 0, stream), ended(stream)],
    lambda stream: [
        frame(DATA, 0, stream, asked(INVOICE)[:20]),
        frame(DATA, END_STREAM, stream, asked(INVOICE)[20:]),
    ],
    lambda stream: [
        frame(DATA, 0, stream, asked(INVOICE)),
        frame(DATA, END_STREAM | PADDED, stream, bytes([3]) + bytes(3)),
    ],
    lambda stream: [frame(DATA, PADDED, stream, b"\2" + asked(INVOICE) + bytes(2)), ended(stream)],
    lambda stream: [frame(DATA, 0x40, stream, asked(INVOICE)), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE)), frame(DATA, 0x41, stream)],
    lambda stream: [
        frame(DATA, 0, stream, asked(INVOICE)),
        frame(HEADERS, END_HEADERS | END_STREAM, stream),
    ],
    # What is no message, or no whole one.
    lambda stream: [ended(stream)],
    lambda stream: [frame(200, 0, stream, asked(INVOICE)), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE)[:-1]), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE) + b"\0"), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, message(b"x" * 20, flag=1)), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE) * 2), ended(stream)],
    lambda stream: [
        frame(DATA, 0, stream, asked(INVOICE)),
        frame(DATA, END_STREAM, stream, asked(INVOICE)),
    ],
    # Given up, or never ended.
    lambda stream: [reset(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE)), reset(stream)],
    lambda stream: [],
    # With signals between.
    lambda stream: [frame(PING, 0, 0, bytes(8)), body(stream)],
    lambda stream: [
        frame(DATA, 0, stream, asked(INVOICE)),
        window_update(stream, 9),
        ended(stream),
    ],
    lambda stream: [settings((INITIAL_WINDOW_SIZE, 10)), body(stream)],
    lambda stream: [settings((INITIAL_WINDOW_SIZE, 65_535)), body(stream)],
    lambda stream: [
        settings((INITIAL_WINDOW_SIZE, 10)),
        window_update(stream, 1000),
        frame(DATA, 0, stream, asked(INVOICE)[:20]),
        frame(DATA, END_STREAM, stream, asked(INVOICE)[20:]),
    ],
    lambda stream: [
        settings((INITIAL_WINDOW_SIZE, 10)),
        window_update(stream, 1000),
        frame(DATA, END_STREAM, stream, asked(INVOICE)),
    ],
    # What ends the connection.
    lambda stream: [frame(DATA, END_STREAM, stream, asked(LATER)) * 2],
    lambda stream: [body(stream), ended(stream)],
    lambda stream: [frame(DATA, 0, stream, asked(INVOICE)), ended(stream + 2)],
    lambda stream: [head(stream)],
    lambda stream: [frame(DATA, 0, stream, message(bytes(16_380)))],
]
HEADS: list[Head] = [
    head,
    lambda stream: head(stream, {"grpc-timeout": "0n"}),
    lambda stream: head(stream, {"content-length": str(len(asked(INVOICE)))}),
    lambda stream: head(stream, {":path": "/no.such/Method"}),
    lambda stream: head(stream, {"content-type": "text/plain"}),
]
CALLS = st.tuples(
    st.sampled_from([*HEADS[:1] * 8, *HEADS[1:]]),
    st.sampled_from([*BODIES[:3] * 20, *BODIES]),
)


def in_turns(calls: list[list[bytes]], choices: list[int]) -> Iterator[bytes]:
    """The frames of calls in an order that HTTP/2 allows: a choice of 0 begins the next call, other
    ones go on with one that has begun."""
    waiting = [list(frames) for frames in calls]
    begun: list[list[bytes]] = []
    at = 0
    while waiting or any(begun):
        choice = choices[at % len(choices)] if choices else 0
        at += 1
        going = [frames for frames in begun if frames]
        if waiting and (choice == 0 or not going):
            begun.append(waiting.pop(0))
            yield begun[-1].pop(0)
        else:
            yield going[choice % len(going)].pop(0)


@given(
    st.lists(CALLS, max_size=8),
    st.lists(st.integers(0, 5), max_size=20),
    st.lists(st.integers(1, 600), max_size=9),
    st.booleans(),
)
@in_loop
async def test_calls_are_answered_alike_in_any_order_of_their_frames(
    calls: list[tuple[Head, Body]], choices: list[int], sizes: list[int], wants_request_ids: bool
) -> None:
    def session(first: int) -> bytes:
        ids = range(first, first + 2 * len(calls), 2)
        frames = [
            [begin(stream), *rest(stream)] for stream, (begin, rest) in zip(ids, calls, strict=True)
        ]
        return b"".join(in_turns(frames, choices))

    await check_alike(session, sizes, wants_request_ids)


@pytest.mark.parametrize("begin", HEADS)
@pytest.mark.parametrize("rest", BODIES)
@pytest.mark.parametrize("calls_before", [0, 2])
@in_loop
async def test_each_body_is_answered_as_its_frames_are(
    begin: Head, rest: Body, calls_before: int
) -> None:
    """After the HEADERS of others, and before their DATA."""

    def session(first: int) -> bytes:
        streams = range(first, first + 2 * calls_before, 2)
        own = first + 2 * calls_before
        heads = b"".join(head(stream) for stream in streams)
        bodies = b"".join(body(stream) for stream in streams)
        return heads + begin(own) + b"".join(rest(own)) + bodies

    await check_alike(session, [], False)


@pytest.mark.parametrize("left", range(4))
@in_loop
async def test_the_last_ids_are_used_up_alike(left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first = peer_whose_calls_are_known()
    monkeypatch.setattr(streams_module, "_LAST_STREAM_ID", first + 2 * left)

    def session(first: int) -> bytes:
        ids = range(first, first + 8, 2)
        return b"".join(map(head, ids)) + b"".join(map(body, ids))

    await check_alike(session, [], False)


@pytest.mark.parametrize("is_ended_apart", [False, True])
@in_loop
async def test_a_call_may_be_cut_anywhere(is_ended_apart: bool) -> None:
    """Behind another, with which it comes."""
    size = 200
    for at in range(1, size):
        peer, first = peer_whose_calls_are_known(wants_request_ids=False)
        stream = first + 2
        rest = body(stream) if is_ended_apart else frame(DATA, END_STREAM, stream, asked(INVOICE))
        sent = head(stream) + rest
        assert len(sent) < size
        peer.send(head(first), body(first), sent[:at]).send(sent[at:])
        assert [peer.answers[known].status for known in (first, stream)] == [OK, OK]
        assert peer.connection.open_streams == 0


@in_loop
async def test_no_stream_is_opened_for_calls_that_come_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer, first = peer_whose_calls_are_known(wants_request_ids=False)
    monkeypatch.setattr(Streams, "opened", None)
    streams = range(first, first + 20, 2)
    peer.send(*map(head, streams), *(body(stream, f"{INVOICE}-{stream}") for stream in streams))
    for stream in streams:
        assert peer.answers[stream].payment.invoice_id == f"{INVOICE}-{stream}"
    assert peer.connection.open_streams == 0


@in_loop
async def test_data_that_come_later_need_no_way_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Streams, "data", None)
    peer, first = peer_whose_calls_are_known(wants_request_ids=False)
    streams = range(first, first + 20, 2)
    peer.send(*map(head, streams))
    assert peer.connection.open_streams == len(streams)
    for stream in reversed(streams):
        peer.send(body(stream))
    assert [peer.answers[stream].status for stream in streams] == [OK] * len(streams)
    assert peer.connection.open_streams == 0


@in_loop
async def test_requests_that_have_not_ended_count_as_streams() -> None:
    peer, first = peer_whose_calls_are_known()
    peer.connection.sweep(2)
    streams = range(first, first + 8, 2)
    peer.send(*map(head, streams))
    assert peer.connection.open_streams == 2
    assert [peer.answers[stream].reset_with for stream in streams[2:]] == [REFUSED_STREAM] * 2
    later = first + 8
    peer.send(*(body(stream) for stream in streams[:2]), head(later), body(later))
    for stream in (*streams[:2], later):
        assert peer.answers[stream].status == OK
    assert peer.connection.open_streams == 0


@in_loop
async def test_a_request_that_never_ends_is_not_waited_for() -> None:
    peer, first = peer_whose_calls_are_known()
    peer.send(head(first), head(first + 2), body(first + 2))
    assert peer.answers[first + 2].status == OK
    peer.sweep(limits.REQUEST_TIMEOUT_S + 1)
    assert peer.ending.codes == [ENHANCE_YOUR_CALM]


@in_loop
async def test_calls_that_have_begun_are_answered_by_a_connection_that_leaves() -> None:
    peer, first = peer_whose_calls_are_known()
    streams = range(first, first + 6, 2)
    bodies = [body(stream) for stream in streams[1:]]
    later = first + 6
    peer.send(*map(head, streams), body(first, LEAVES), *bodies, head(later), body(later))
    assert peer.ending.last_stream == streams[-1]
    assert [peer.answers[stream].status for stream in streams] == [OK] * len(streams)
    assert later not in peer.answers


@in_loop
async def test_a_call_without_time_is_refused_when_its_data_come() -> None:
    peer, first = peer_whose_calls_are_known()
    peer.send(head(first, {"grpc-timeout": "0n"}), head(first + 2))
    peer.send(body(first), body(first + 2))
    assert [peer.answers[first + at].status for at in (0, 2)] == [DEADLINE_EXCEEDED, OK]


@in_loop
async def test_what_a_call_was_promised_is_kept_for_its_data() -> None:
    """The request ID; and the servicer may refuse it then."""
    peer, first = peer_whose_calls_are_known()
    peer.send(head(first, {"x-request-id": "one"}), head(first + 2, {"x-request-id": "two"}))
    peer.send(body(first + 2), body(first))
    peer.send(head(first + 4))
    peer.send(body(first + 4, REFUSED))
    assert peer.answers[first].payment.idempotency_key == "one"
    assert peer.answers[first + 2].payment.idempotency_key == "two"
    assert peer.answers[first + 4].status == NOT_FOUND


def empty_frames(peer: WirePeer, stream: int, count: int) -> None:
    peer.send(*[frame(DATA, 0, stream)] * count)


@pytest.mark.parametrize("between", [True, False])
@in_loop
async def test_empty_frames_are_in_a_row_where_no_other_is_between(between: bool) -> None:
    peer, first = peer_whose_calls_are_known()
    peer.send(head(first))
    empty_frames(peer, first, limits.MAXIMUM_EMPTY_DATA)
    peer.send(head(first + 2), body(first + 2) if between else b"")
    empty_frames(peer, first, limits.MAXIMUM_EMPTY_DATA)
    assert peer.ending.codes == ([] if between else [ENHANCE_YOUR_CALM])


@pytest.mark.parametrize("invoice_id", ["tiny", INVOICE])
@in_loop
async def test_small_frames_that_end_nothing_are_chatter(
    invoice_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHATTER_BURST", 5)
    monkeypatch.setattr(limits, "CHATTER_PER_S", 0)
    peer, first = peer_whose_calls_are_known()
    streams = range(first, first + 20, 2)
    peer.send(*(head(stream) + body(stream, invoice_id) for stream in streams))
    assert peer.ending.codes == ([] if invoice_id == INVOICE else [ENHANCE_YOUR_CALM])
