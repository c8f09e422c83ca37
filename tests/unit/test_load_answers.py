"""Answers whose heads have come before are not parsed again, and come out as if they were."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.load.engine import answers
from bakeoff.load.engine.answers import Connection

Note = tuple[object, ...]


class Owner:
    """Notes what it hears, and has a request with the number of each answer ready."""

    def __init__(self) -> None:
        self.sent_ns = 1
        self.notes: list[Note] = []
        self.connection: Connection

    def answered(self, done_ns: int, status: int, body: bytes, received: bytes) -> bytes | None:
        ready = self.connection.ready
        self.notes.append((status, body, received, ready))
        self.connection.ready = False
        return b"%d" % len(self.notes) if ready else None

    def broken(self, done_ns: int, reason: str) -> None:
        self.notes.append(("broken", reason))

    def lost(self) -> None:
        self.notes.append(("lost",))


class Fed(Connection):
    """A connection that is handed what it receives."""

    fed = 0

    def __init__(self, owner: "Owner") -> None:
        super().__init__(owner)
        self.requests: list[bytes] = []

    async def open(self) -> None:
        raise NotImplementedError

    def write(self, request: bytes) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        self.ready = False
        self.closing = True

    def receive(self, *pieces: bytes) -> None:
        """Hands over pieces as long as the connection is open."""
        feed = self._parser.feed_data

        def counted(data: Any) -> None:
            self.fed += 1
            feed(data)

        self._feed = counted
        for piece in pieces:
            if not self.closing:
                request = self.data_received(piece)
                if request is not None:
                    self.requests.append(request)


class Forgetful(dict[bytes, tuple[int, int]]):
    """Remembers nothing."""

    def __setitem__(self, head: bytes, found: tuple[int, int]) -> None:
        pass


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[bytes, tuple[int, int]]]:
    mine: dict[bytes, tuple[int, int]] = {}
    monkeypatch.setattr(answers, "_known", mine)
    yield mine


def connected() -> tuple[Fed, Owner]:
    owner = Owner()
    owner.connection = Fed(owner)
    assert isinstance(owner.connection, Fed)
    return owner.connection, owner


def answer(body: bytes, status: int = 200, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body)


def with_id(number: int) -> bytes:
    return answer(b"abc", head=b"X-Request-Id: %d\r\n" % number)


def test_a_head_that_has_come_before_is_not_parsed_again() -> None:
    connection, owner = connected()
    connection.receive(answer(b"abc"), answer(b"xyz"), answer(b"\r\n\r"))
    assert connection.fed == 1
    assert [note[1] for note in owner.notes] == [b"abc", b"xyz", b"\r\n\r"]
    # Nor on another connection.
    other, owner = connected()
    other.receive(answer(b"123"))
    assert (other.fed, owner.notes) == (0, [(200, b"123", answer(b"123"), True)])


@pytest.mark.parametrize(
    "one",
    [
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n" + answer(b"a"),
        b"\r\n\r\n" + answer(b"a"),
    ],
    ids=["chunks", "hints", "empty lines before"],
)
def test_a_head_that_does_not_say_all_is_not_remembered(
    one: bytes, known: dict[bytes, object]
) -> None:
    connection, owner = connected()
    connection.receive(one, one)
    assert (connection.fed, known) == (2, {})
    assert [note[:2] for note in owner.notes] == [(200, b"a")] * 2


def test_an_empty_answer_is_known_too() -> None:
    connection, owner = connected()
    nothing = b"HTTP/1.1 204 X\r\n\r\n"
    connection.receive(nothing, nothing, answer(b""), answer(b""))
    assert connection.fed == 2
    assert [note[:2] for note in owner.notes] == [(204, b"")] * 2 + [(200, b"")] * 2


@pytest.mark.parametrize("cut", [1, 20, 33, 50, 75, 80, 90])
def test_what_is_announced_is_not_taken_for_the_answer(cut: int) -> None:
    connection, owner = connected()
    whole = b"HTTP/1.1 103 X\r\nLink: x\r\n\r\n" + answer(b"abcdefghijklmnopqrstuvwxyz")
    for _ in range(2):
        connection.receive(whole[:cut], whole[cut:])
    assert owner.notes == [(200, b"abcdefghijklmnopqrstuvwxyz", whole, True)] * 2


def test_the_rest_of_an_answer_is_not_looked_up() -> None:
    inner = answer(b"abc")
    outer = answer(inner)
    cut = len(outer) - len(inner)
    connection, owner = connected()
    connection.receive(inner, outer[:cut], outer[cut:])
    assert [note[1] for note in owner.notes] == [b"abc", inner]


def test_what_nobody_asked_for_is_no_answer() -> None:
    for known in (False, True):
        connection, owner = connected()
        if known:
            connection.receive(answer(b"abc"))
        owner.notes.clear()
        connection.ready = True
        connection.receive(answer(b"abc"), answer(b"abc"))
        assert (owner.notes, connection.closing) == ([], True)


def test_an_answer_that_leaves_http_is_none() -> None:
    connection, owner = connected()
    connection.receive(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    assert owner.notes == [("broken", "bad HTTP answer: it leaves HTTP")]


def test_a_head_that_came_in_two_pieces_is_not_remembered(known: dict[bytes, object]) -> None:
    connection, owner = connected()
    whole = answer(b"abc")
    cut = whole.index(b"\r\n\r\n")
    connection.receive(whole[:cut], whole[cut:])
    assert (len(owner.notes), known) == (1, {})


def test_a_known_head_with_another_length_is_parsed() -> None:
    connection, owner = connected()
    whole = answer(b"abc")
    connection.receive(whole, whole[:-1], whole[-1:], whole, whole + whole)
    assert connection.fed == 4
    assert [note[0] for note in owner.notes] == [200, 200, 200, "broken"]


def test_an_answer_that_ends_the_connection_is_not_remembered(known: dict[bytes, object]) -> None:
    last = answer(b"abc", head=b"Connection: close\r\n")
    for _ in range(2):
        connection, owner = connected()
        connection.receive(last)
        assert (connection.fed, owner.notes) == (1, [(200, b"abc", last, False)])
        assert connection.requests == []
    assert known == {}


def test_the_next_request_comes_with_the_end_of_its_answer() -> None:
    connection, _ = connected()
    whole = answer(b"abc")
    # Parsed, looked up, and in pieces.
    connection.receive(whole, whole, whole[:9], whole[9:], whole)
    assert connection.fed == 3
    assert connection.requests == [b"1", b"2", b"3", b"4"]


def test_after_an_answer_in_pieces_heads_are_looked_up_again() -> None:
    connection, _ = connected()
    whole = answer(b"abc")
    connection.receive(whole, whole[:9], whole[9:])
    before = connection.fed
    connection.receive(whole, whole)
    assert connection.fed == before


def test_but_not_where_most_heads_are_new() -> None:
    connection, _ = connected()
    whole = answer(b"abc")
    connection.receive(*map(with_id, range(answers._PATIENCE + 1)), whole[:9], whole[9:])
    before = connection.fed
    connection.receive(with_id(0))
    assert connection.fed == before + 1


def test_where_each_head_is_another_few_are_looked_up(known: dict[bytes, object]) -> None:
    connection, owner = connected()
    rounds = 10
    connection.receive(*map(with_id, range(answers._PATIENCE * rounds)))
    assert len(owner.notes) == connection.fed == answers._PATIENCE * rounds
    # Remembered is one in so many, and the one that was looked up after it.
    assert len(known) == answers._PATIENCE + 2 * (rounds - 1)
    # And when they are the same again, that is found out.
    connection.receive(*[answer(b"abc")] * 3 * answers._PATIENCE)
    before = connection.fed
    connection.receive(*[answer(b"abc")] * answers._PATIENCE)
    assert connection.fed == before


def test_what_was_new_for_a_while_is_forgiven() -> None:
    connection, _ = connected()
    connection.receive(*map(with_id, range(2 * answers._PATIENCE)))
    connection.receive(*[answer(b"abc")] * 4 * answers._PATIENCE)
    before = connection.fed
    connection.receive(answer(b"another"), answer(b"abc"), answer(b"abc"))
    assert connection.fed == before + 1


def test_where_most_heads_are_new_few_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, owner = connected()
    looked_up: list[bytes] = []
    meet = connection._met

    def met(data: bytes, *found: Any) -> None:
        looked_up.append(data)
        meet(data, *found)

    monkeypatch.setattr(connection, "_met", met)
    rounds = 10 * answers._PATIENCE
    for number in range(rounds):
        connection.receive(answer(b"abc"), with_id(2 * number), with_id(2 * number + 1))
    assert len(owner.notes) == 3 * rounds
    assert len(looked_up) < rounds / 2


def test_no_more_heads_are_remembered_than_is_said(known: dict[bytes, object]) -> None:
    for number in range(3 * answers._KNOWN_AT_MOST):
        connection, owner = connected()
        connection.receive(with_id(number), with_id(number))
        assert connection.fed == 1
        assert len(owner.notes) == 2
        assert len(known) <= answers._KNOWN_AT_MOST


BODIES = st.sampled_from([b"", b"a", b"bc", b"\r\n\r\n", answer(b"a")])
ONES = st.one_of(
    BODIES.map(answer),
    BODIES.map(lambda body: answer(body, 500)),
    BODIES.map(lambda body: answer(body, head=b"Connection: close\r\n")),
    BODIES.map(lambda body: answer(body, head=b"Connection: keep-alive\r\n")),
    st.sampled_from(
        [
            answer(b"a").replace(b"1.1", b"1.0"),
            answer(b"abc")[:-1],
            answer(b"abc") + b"d",
            b"HTTP/1.1 103 X\r\n\r\n" + answer(b"a"),
            b"HTTP/1.1 204 X\r\n\r\n",
            b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            b"HTTP/1.1 200 X\r\n\r\nabc",
            b"HTP/1.1 200 X\r\n\r\n",
        ]
    ),
)
CUTS = st.lists(st.integers(1, 80), max_size=3)


def heard_twice(
    pieces: list[bytes], memory: dict[bytes, tuple[int, int]]
) -> tuple[list[Note], bool]:
    """What comes of pieces, the second time with all heads known that can be, and whether the
    connection is closed at last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_known", memory)
        connection, owner = connected()
        connection.receive(*pieces)
        notes = owner.notes
        if connection.closing:
            connection, owner = connected()
        connection.receive(*pieces)
    return (notes if notes is owner.notes else notes + owner.notes), connection.closing


@given(st.lists(st.tuples(ONES, CUTS), max_size=12))
def test_what_is_known_changes_no_answer(all_of_it: list[tuple[bytes, list[int]]]) -> None:
    pieces = [
        piece
        for one, cuts in all_of_it
        for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(one)], strict=True)
        if (piece := one[start:end])
    ]
    assert heard_twice(pieces, {}) == heard_twice(pieces, Forgetful())
