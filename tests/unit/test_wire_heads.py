"""Heads of requests: what is read at a glance is what is read field by field."""

from collections.abc import Mapping
from types import SimpleNamespace

import pytest
from hpack import Encoder
from hypothesis import example, given
from hypothesis import strategies as st

from protos.payment.v1.payment_pb2 import GetPaymentRequest, Payment
from stub_payment.wire.frames import ConnectionFault, ErrorCode
from stub_payment.wire.heads import HeadReader
from stub_payment.wire.huffman import HuffmanError, check, decode
from stub_payment.wire.methods import Method
from tests.fakes.http2 import literal

PATH = "/payment.v1.Payments/GetPayment"
METHODS: Mapping[bytes, Method] = {
    PATH.encode(): Method(GetPaymentRequest.FromString, lambda *_: Payment())
}
STEADY = [
    *((":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", "127.0.0.1:4")),
    *(("content-type", "application/grpc"), ("user-agent", "grpc-go/1"), ("te", "trailers")),
]
NO_TABLE, TABLE = b"\x20", b"\x3f\xe1\x1f"  # of 0 bytes, of 4096
INDEXED_FROM_NOW, NEWEST = b"\x40", b"\xbe"
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
NAMES = st.sampled_from(["grpc-timeout", "x-request-id", "traceparent", "baggage", "x-a"])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
TIMEOUTS = st.one_of(
    st.integers(0, 10**8).flatmap(lambda n: st.sampled_from([f"{n}{u}" for u in "HMSmun"])), VALUES
)


def block_of(fields: list[tuple[str, str]], huffman: bool = True) -> bytes:
    """A block of a client that gave its table up."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode(fields, huffman=huffman).removeprefix(NO_TABLE)


def new_reader(wants_request_ids: bool = True) -> HeadReader:
    return HeadReader(METHODS, SimpleNamespace(remembers_request_ids=wants_request_ids))


def reader_after(
    fields: list[tuple[str, str]], wants_request_ids: bool = True, huffman: bool = True
) -> HeadReader:
    """A reader whose client gave its table up, and sent such blocks since."""
    reader = new_reader(wants_request_ids)
    for given_up in (NO_TABLE, b"", b""):
        reader.read(given_up + block_of(fields, huffman))
    return reader


@given(FIELDS, TIMEOUTS, st.booleans(), st.integers(4, len(STEADY)), st.data())
def test_what_is_known_changes_nothing(
    before: list[tuple[str, str]],
    timeout: str,
    huffman: bool,
    changing_at: int,
    data: st.DataObject,
) -> None:
    """Wherever a client has the fields that change, and though it may move them."""
    alike = st.tuples(*(st.tuples(st.just(name), VALUES) for name, _ in before)).map(list)
    fields = data.draw(st.one_of(alike, alike, FIELDS))
    fields = [(name, timeout if name == "grpc-timeout" else value) for name, value in fields]
    moved_to = data.draw(st.sampled_from([changing_at, changing_at, len(STEADY), 4]))
    known = reader_after([*STEADY[:changing_at], *before, *STEADY[changing_at:]], huffman=huffman)
    block = block_of([*STEADY[:moved_to], *fields, *STEADY[moved_to:]], huffman)
    at_a_glance, length = known.read(block)
    field_by_field, whole_length = new_reader().read(NO_TABLE + block)
    assert at_a_glance[1:] == field_by_field[1:]
    assert (at_a_glance[0].method, length) == (field_by_field[0].method, whole_length)
    assert str(at_a_glance[0].refusal) == str(field_by_field[0].refusal)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["1S", "99u", "999u", "0S"]),
            st.one_of(st.sampled_from(["7", "0190f5a0-7b7a"]), VALUES),
        ),
        max_size=9,
    ),
    st.sampled_from(["x-request-id", "traceparent"]),
    st.booleans(),
    st.integers(4, len(STEADY)),
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_what_is_before_the_last_value_is_remembered_as_it_was(
    calls: list[tuple[str, str]],
    name: str,
    timeout_is_last: bool,
    changing_at: int,
    huffman: bool,
    wants_request_ids: bool,
    data: st.DataObject,
) -> None:
    """Few time-outs and one value that is free, whatever stands after it; and bytes that are other
    than in a block before."""
    known = new_reader(wants_request_ids)
    known.skip(NO_TABLE)
    for timeout, value in calls:
        changing = [("grpc-timeout", timeout), (name, value)]
        if timeout_is_last:
            changing.reverse()
        block = block_of([*STEADY[:changing_at], *changing, *STEADY[changing_at:]], huffman)
        at_a_glance, _ = known.read(block)
        field_by_field, _ = new_reader(wants_request_ids).read(NO_TABLE + block)
        assert at_a_glance[1:] == field_by_field[1:]
        assert at_a_glance[0].method == field_by_field[0].method
        odd = bytearray(block)
        odd[data.draw(st.integers(0, len(odd) - 1))] = data.draw(st.integers(0, 255))
        head = known.glance(bytes(odd), 0, len(odd))
        assert head is None or head == new_reader(wants_request_ids).read(NO_TABLE + odd)[0]


@given(
    st.lists(st.tuples(NAMES, VALUES, VALUES), max_size=5),
    st.binary(max_size=9),
    st.booleans(),
    st.booleans(),
)
def test_a_block_like_one_before_is_taken_at_a_glance(
    fields: list[tuple[str, str, str]], around: bytes, huffman: bool, wants_request_ids: bool
) -> None:
    """So is one that stands between other bytes, of which none is looked at."""
    fields = [field for field in fields if field[0] != "grpc-timeout"]
    before, now = ([(field[0], field[at]) for field in fields] for at in (1, 2))
    reader = reader_after([*STEADY, *before], wants_request_ids, huffman)
    block = block_of([*STEADY, *now], huffman)
    for _ in range(2):  # the second time what is before the last value is known
        head = reader.glance(around + block + around, len(around), len(around + block))
        assert head == new_reader(wants_request_ids).read(NO_TABLE + block)[0]


@pytest.mark.parametrize("cut", [-30, -3, -1, 1, 3, 30])
@pytest.mark.parametrize("wants_request_ids", [True, False])
def test_a_block_that_ends_elsewhere_is_not_taken_at_a_glance(
    cut: int, wants_request_ids: bool
) -> None:
    fields = [*STEADY, ("grpc-timeout", "1S"), ("x-request-id", "0190f5a0-7b7a-7000")]
    block = block_of(fields)
    reader = reader_after(fields, wants_request_ids)
    assert reader.glance(block, 0, len(block)) is not None
    assert reader.glance(block + bytes(30), 0, len(block) + cut) is None


@pytest.mark.parametrize("odd", [b"\x10", b"\xff\xff", b"\xff\xc7"])
def test_a_value_that_is_no_code_is_not_taken_behind_what_is_known(odd: bytes) -> None:
    fields = [*STEADY, ("grpc-timeout", "1S"), ("x-request-id", "0190f5a0-7b7a-7000")]
    reader = reader_after(fields, wants_request_ids=False)
    block = block_of(fields)
    assert reader.glance(block, 0, len(block)) is not None
    block = block[: -len(odd)] + odd
    assert reader.glance(block, 0, len(block)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-request-id", "a\nb"),
        ("traceparent", "a\0b"),
        ("grpc-timeout", "1 S"),
        ("grpc-timeout", "0S"),
        ("x-request-id", "a" * 300),
    ],
)
@pytest.mark.parametrize("huffman", [True, False])
def test_what_is_odd_is_not_taken_at_a_glance(name: str, value: str, huffman: bool) -> None:
    changing = {"grpc-timeout": "1S", "x-request-id": "a", "traceparent": "b"}
    reader = reader_after([*STEADY, *changing.items()], huffman=huffman)
    block = block_of([*STEADY, *{**changing, name: value}.items()], huffman)
    assert reader.glance(block, 0, len(block)) is None


def test_another_name_of_the_same_length_is_not_taken_at_a_glance() -> None:
    reader = reader_after([*STEADY, ("x-a", "1"), ("x-request-id", "2")], huffman=False)
    block = block_of([*STEADY, ("x-a", "1"), ("x-request-if", "3")], huffman=False)
    assert reader.glance(block, 0, len(block)) is None
    assert reader.read(block)[0][2] is None


def test_a_block_that_is_long_is_not_taken_at_a_glance() -> None:
    """However short those like it were: it might hold more than a list of headers may."""
    names = [f"x-{number:02}" for number in range(20)]
    reader = reader_after([*STEADY, *((name, "a") for name in names)], huffman=False)
    for length, is_known in ((1, True), (9, True), (100, False)):
        block = block_of([*STEADY, *((name, "b" * length) for name in names)], huffman=False)
        assert (reader.glance(block, 0, len(block)) is not None) == is_known


def test_what_is_like_blocks_before_goes_into_a_table_that_was_taken_back() -> None:
    steady = b"".join(literal(name.encode(), value.encode()) for name, value in STEADY)
    reader = new_reader()
    for table, request_id in ((NO_TABLE, b"1"), (b"", b"2"), (TABLE, b"3"), (b"", b"4")):
        reader.read(table + steady + literal(b"x-request-id", request_id, INDEXED_FROM_NOW))
    assert reader.read(steady + NEWEST)[0][2] == b"4"


def test_what_is_behind_a_known_beginning_goes_into_a_table_that_was_taken_back() -> None:
    steady = b"".join(literal(name.encode(), value.encode()) for name, value in STEADY)
    coded = b"\x86" + Encoder().huffman_coder.encode(b"01234567")
    block = steady + INDEXED_FROM_NOW + b"\x0cx-request-id" + coded
    reader = new_reader(wants_request_ids=False)
    for table in (NO_TABLE, b"", b"", b"", TABLE, b"", b""):
        reader.read(table + block)
    oldest = b"\xc0"  # of three that were indexed since
    assert reader.read(steady + oldest)[0][0].method is not None


@pytest.mark.parametrize("name", ["x-bin", "content-length"])
def test_what_has_a_form_is_never_taken_at_a_glance(name: str) -> None:
    block = block_of([*STEADY, (name, "5555")])
    assert reader_after([*STEADY, (name, "5555")]).glance(block, 0, len(block)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("te", "gzip"),
        (":path", PATH),
        ("connection", "close"),
        ("content-length", "5x"),
        ("x-request-id", "a\nb"),
        ("X-Request-Id", "a"),
        ("traceparent", "a\0b"),
    ],
)
@pytest.mark.parametrize("huffman", [True, False])
def test_what_is_malformed_is_seen_behind_a_known_beginning(
    name: str, value: str, huffman: bool
) -> None:
    reader = reader_after([*STEADY, ("x-request-id", "a"), ("traceparent", "b")], huffman=huffman)
    with pytest.raises(ConnectionFault) as caught:
        reader.read(block_of([*STEADY, (name, value)], huffman))
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("length", range(1, 8))
def test_a_block_that_is_cut_is_no_block(length: int) -> None:
    fields = [*STEADY, ("grpc-timeout", "1S"), ("x-request-id", "0123456789")]
    reader = reader_after(fields)
    with pytest.raises(ConnectionFault) as caught:
        reader.read(block_of(fields)[:-length])
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


def test_a_client_that_takes_its_table_back_is_believed() -> None:
    """What it then indexes is found, though the block begins like those before."""
    reader = reader_after(STEADY)
    encoder = Encoder()
    encoder.header_table_size = 0
    encoder.encode([])
    encoder.header_table_size = 4096
    for _ in range(3):
        block = encoder.encode([*STEADY, ("x-request-id", "again")])
        (route, _timeout, request_id), _length = reader.read(block)
        assert route.method is METHODS[PATH.encode()]
        assert request_id == b"again"


def test_a_request_id_is_left_alone_where_nobody_wants_it() -> None:
    fields = [*STEADY, ("x-request-id", "0190f5a0")]
    assert reader_after(fields, False).read(block_of(fields))[0][2] is None
    assert reader_after(fields).read(block_of(fields))[0][2] == b"0190f5a0"


def test_two_methods_have_a_beginning_each() -> None:
    other = [(name, "/no.such/Method" if name == ":path" else value) for name, value in STEADY]
    reader = reader_after(STEADY)
    for _ in range(2):
        assert reader.read(block_of(other))[0][0].refusal is not None
        assert reader.read(block_of(STEADY))[0][0].method is not None


@given(st.binary(max_size=12))
@example(b"\xff")  # padding of eight bits
@example(b"\xff\xff\xff\xff")  # EOS
@example(b"\xff\xff\xff\xf3")  # a line feed, and padding
@example(b"\xff\xff\xff\xf7")  # a carriage return, and padding
@example(b"\xff\xc7")  # a zero byte, and padding
def test_what_huffman_refuses_has_no_value_and_the_other_way_round(coded: bytes) -> None:
    try:
        value = decode(coded)
    except HuffmanError:
        with pytest.raises(HuffmanError):
            check(coded)
        return
    check(coded)
    assert Encoder().huffman_coder.encode(value) == coded or not value


# `accept-encoding: gzip, deflate` of the static table: 60 bytes of a list.
INDEXED_FIELD = b"\x90"


@pytest.mark.parametrize("indexed", [50, 267])
def test_small_fields_come_to_no_list_that_is_too_large(indexed: int) -> None:
    """A byte each, and 60 of what a list of headers may have: read alike at a glance or not."""
    begins = b"\x83\x86\x04\x1f" + PATH.encode() + b"\x0f\x10\x10application/grpc"
    before, large = (
        begins + INDEXED_FIELD * indexed + b"\x00\x03x-a" + value
        for value in (b"\x00", b"\x7e" + b"a" * 126)
    )
    reader = new_reader()
    for given_up in (NO_TABLE, b"", b""):
        reader.read(given_up + before)
    assert (reader.glance(large, 0, len(large)) is None) == (indexed > 64)
    if indexed > 64:
        with pytest.raises(ConnectionFault) as caught:
            reader.read(large)
        assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def kept(reader: HeadReader) -> int:
    """How many heads are kept by what is before their values."""
    return sum(len(known.heads) for known in reader._known)


def test_what_is_kept_of_a_connection_has_a_bound() -> None:
    reader = new_reader(wants_request_ids=False)
    for number in range(50):
        fields = [*STEADY, (f"x-{number}", "a"), ("grpc-timeout", "1S")]
        for given_up in (NO_TABLE, b"", b""):
            reader.read(given_up + block_of(fields))
    for changing in ([], [("x-a", "a")]):
        for microseconds in range(2000):
            reader.read(block_of([*STEADY, ("grpc-timeout", f"{microseconds + 1}u"), *changing]))
            assert kept(reader) <= 192
        assert kept(reader) > 0
    assert len(reader._known) <= 8


@pytest.mark.parametrize("agent", ["grpc-go/1", "grpc-go/1" * 40])
@pytest.mark.parametrize(
    ("changing", "is_kept"),
    [
        ([("x-a", "a")], True),
        ([("grpc-timeout", "1S"), ("x-request-id", "a")], True),
        ([("grpc-timeout", "1S")], True),
        ([("x-a", "a"), ("grpc-timeout", "1S")], False),
        ([("x-a", "a"), ("x-request-id", "a")], False),
    ],
)
def test_a_head_is_kept_where_one_value_is_free_and_the_last(
    agent: str, changing: list[tuple[str, str]], is_kept: bool
) -> None:
    """And where what is before it is short."""
    fields = [(name, agent if name == "user-agent" else value) for name, value in STEADY]
    fields += changing
    assert kept(reader_after(fields, wants_request_ids=True)) == 0
    assert kept(reader_after(fields, wants_request_ids=False)) == (is_kept and len(agent) < 160)


def test_a_head_is_not_kept_where_its_free_value_is_plain() -> None:
    fields = [*STEADY, ("grpc-timeout", "1S"), ("x-request-id", "a")]
    assert kept(reader_after(fields, wants_request_ids=False, huffman=False)) == 0


def test_request_ids_are_heard_as_soon_as_they_are_wanted() -> None:
    provider = SimpleNamespace(remembers_request_ids=False)
    reader = HeadReader(METHODS, provider)
    block = block_of([*STEADY, ("x-request-id", "0190f5a0")])
    for given_up in (NO_TABLE, b"", b"", b""):
        assert reader.read(given_up + block)[0][2] is None
    provider.remembers_request_ids = True
    assert reader.read(block)[0][2] == b"0190f5a0"


def test_a_plain_value_is_not_taken_for_a_code() -> None:
    """Zeros, which no header may have, and as a code are the digits 0."""
    zeros = bytes(5)
    check(zeros)
    reader = reader_after([*STEADY, ("x-request-id", "0" * 8)], wants_request_ids=False)
    block = block_of([*STEADY, ("x-request-id", "0" * 8)])
    assert block.endswith(b"\x85" + zeros)
    assert reader.glance(block, 0, len(block)) is not None
    plain = block.removesuffix(b"\x85" + zeros) + b"\x05" + zeros
    assert reader.glance(plain, 0, len(plain)) is None


def test_a_block_that_goes_on_after_one_that_is_known_is_another() -> None:
    fields = [*STEADY, ("grpc-timeout", "1S")]
    reader = reader_after(fields, wants_request_ids=False)
    block = block_of(fields)
    assert reader.glance(block + block, 0, len(block)) is not None
    longer = block_of([*fields, ("connection", "close")])
    assert longer.startswith(block)
    with pytest.raises(ConnectionFault):
        reader.read(longer)


def test_a_long_block_is_not_taken_at_a_glance() -> None:
    reader = new_reader()
    long = block_of([*STEADY, ("x-49", "a" * 126), *[("x-b", "b" * 126)] * 20], huffman=False)
    for _ in range(2):
        reader.read(long)
    assert len(long) > 1024 and reader.glance(long, 0, len(long)) is None


@given(st.binary(max_size=40).filter(lambda text: not set(text) & set(b"\0\r\n")))
def test_huffman_reads_what_hpack_writes(text: bytes) -> None:
    coded = Encoder().huffman_coder.encode(text)
    for _ in range(2):  # the second time its steps are known
        check(coded)
    assert decode(coded) == text


def test_huffman_needs_no_symbols_where_its_steps_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    coded = Encoder().huffman_coder.encode(b"0190f5a0-7b7a-7000-8000-00805f9b34fb")
    check(coded)
    monkeypatch.delattr("stub_payment.wire.huffman.decode")
    check(coded)
    with pytest.raises(NameError):  # what has no end is decoded, to say why
        check(coded + b"\xff")


def test_huffman_does_not_mistake_what_is_known_for_what_is_not() -> None:
    """A code may pass through the state that stands for steps that are not known."""
    check(Encoder().huffman_coder.encode(b"a \x16e"))
    with pytest.raises(HuffmanError):
        check(b"\xff\xff\xff\xff\x17")


@pytest.mark.parametrize(
    "coded",
    [
        b"\xff" * 4,  # EOS
        b"\x1f\xff",  # 'a' and eleven ones: more padding than a byte
        b"\x18",  # 'a' and zeros
        Encoder().huffman_coder.encode(b"a\r"),
    ],
)
def test_huffman_refuses(coded: bytes) -> None:
    for read in (check, decode, check):
        with pytest.raises(HuffmanError):
            read(coded)
