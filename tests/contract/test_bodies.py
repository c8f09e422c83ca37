"""What a body has to be: type, size, form, fields, limits."""

import json
import socket
import time
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.api import SUBSCRIPTION, Api
from tests.contract.problems import FIELDS, FORM, UNREADABLE, check_problem
from tests.contract.wire import connect, exchange_raw, host_of, receive

PATH = "/v1/subscriptions"
VALID = json.dumps(SUBSCRIPTION).encode()
MAXIMUM_BYTES = 1 << 20
OVER_INT64 = 1 << 63

TYPES = [
    "application/json",
    "Application/JSON",
    "application/json;charset=utf-8",
    'application/json; charset="UTF-8"',
    "application/json \t; \t charset=utf-8 \t",
]
BAD_TYPES = [
    "",
    "text/plain",
    "application/json; charset=utf-16",
    "application/json; charset=utf8",
    "application/json;",
    "application/json; charset=utf-8; charset=utf-8",
    "application/json; a=b",
    "application/json,application/json",
    "application/jsonp",
    "application/merge-patch+json",
    "multipart/form-data; boundary=x",
    "*/*",
]
BAD_FORMS: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n",
    "null": b"null",
    "array": b"[]",
    "string": b'"x"',
    "number": b"1",
    "true": b"true",
    "NaN": b'{"plan":NaN}',
    "Infinity": b'{"plan":-Infinity}',
    "byte order mark": b"\xef\xbb\xbf" + VALID,
    "UTF-16": json.dumps(SUBSCRIPTION).encode("utf-16"),
    "bad UTF-8": b'{"plan":"\xff"}',
    "overlong UTF-8": b'{"plan":"\xc0\xaf"}',
    "UTF-8 of a surrogate": b'{"plan":"\xed\xa0\x80"}',
    "lone high surrogate": b'{"plan":"\\ud83d"}',
    "lone low surrogate": b'{"plan":"\\ude00"}',
    "surrogates the wrong way round": b'{"plan":"\\ude00\\ud83d"}',
    "lone surrogate in a name": b'{"\\ud83d":1}',
    "NUL escaped": b'{"plan":"\\u0000"}',
    "NUL escaped in a name": b'{"pl\\u0000an":"team"}',
    "NUL raw": b'{"plan":"\x00"}',
    "control character": b'{"plan":"a\nb"}',
    "duplicate": b'{"plan":"team","plan":"team"}',
    "duplicate after unescaping": b'{"plan":"team","pl\\u0061n":"team"}',
    "duplicate of an unknown name": b'{"x":1,"x":2}',
    "array inside": b'{"plan":["team"]}',
    "object inside": b'{"plan":{}}',
    "array in an unknown name": b'{"x":[]}',
    "deep": b'{"plan":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep and never closed": b"[" * 100_000,
    "garbage behind": VALID + b"x",
    "two documents": VALID + VALID,
    "cut off": VALID[:-1],
    "trailing comma": b'{"plan":"team",}',
    "comment": b'{"plan":"team"/**/}',
    "single quotes": b"{'plan':'team'}",
    "no quotes": b'{plan:"team"}',
    "plus": b'{"price_cents":+1}',
    "leading zero": b'{"price_cents":01}',
    "no digit before the point": b'{"price_cents":.5}',
    "no digit after the point": b'{"price_cents":1.}',
    "hexadecimal": b'{"price_cents":0x10}',
    "capitals": b'{"price_cents":NULL}',
    "bad escape": b'{"plan":"\\x41"}',
    "short escape": b'{"plan":"\\u00"}',
    "form feed": b'\x0c{"plan":"team"}',
    "no-break space": b'\xc2\xa0{"plan":"team"}',
    "NUL behind": VALID + b"\x00",
}
STRING = "has to be a string"
INTEGER = "has to be an integer"
REQUIRED = "is required"
UNKNOWN = ("", "has a field that this operation does not take")
PLAN = "has to be starter, team or business"
CURRENCY = "is not a known currency"
PRICE = "has to be from 0 to 1000000000000"


def _json(**changed: object) -> bytes:
    return json.dumps(SUBSCRIPTION | changed).encode()


def _number(text: str) -> bytes:
    return b'{"plan":"team","price_cents":%s,"currency":"EUR"}' % text.encode()


BAD_FIELDS: list[tuple[bytes, list[tuple[str, str]]]] = [
    (b"{}", [("plan", REQUIRED), ("price_cents", REQUIRED), ("currency", REQUIRED)]),
    (
        b'{"currency":null,"price_cents":"1","plan":1}',
        [("plan", STRING), ("price_cents", INTEGER), ("currency", STRING)],
    ),
    (_json(plan=None), [("plan", STRING)]),
    (_json(plan=True), [("plan", STRING)]),
    *(
        (_number(text), [("price_cents", INTEGER)])
        for text in (
            *("null", "true", '"1"', '"12.30"', "1.0", "1e3", "1E0", "-0", "0.5", "1e400"),
            *(str(OVER_INT64), str(-OVER_INT64 - 1), "9" * 1000),
        )
    ),
    (_json(x=1), [UNKNOWN]),
    (_json(x=1, y=2), [UNKNOWN]),
    (_json(status="active"), [UNKNOWN]),
    (b'{"Plan":"team","price_cents":1,"currency":"EUR"}', [("plan", REQUIRED), UNKNOWN]),
    (b'{"plan":"team","price_cents":1,"currency":"EUR","PLAN":"team"}', [UNKNOWN]),
    (b'{"":1}', [("plan", REQUIRED), ("price_cents", REQUIRED), ("currency", REQUIRED), UNKNOWN]),
    # Wrong fields are said before limits are looked at.
    (_json(plan="x", currency=1), [("currency", STRING)]),
]
BAD_LIMITS: list[tuple[bytes, list[tuple[str, str]]]] = [
    *((_json(plan=plan), [("plan", PLAN)]) for plan in ("", "Team", "team ", "x" * 1_000_000)),
    (_json(plan="‮maet 🧾"), [("plan", PLAN)]),
    *(
        (_number(text), [("price_cents", PRICE)])
        for text in ("-1", str(10**12 + 1), str(OVER_INT64 - 1), str(-OVER_INT64), str(2**53 + 1))
    ),
    *(
        (_json(currency=code), [("currency", CURRENCY)])
        for code in ("", "usd", "XXX", "EURO", "EU", "Eur", "ÄÖÜ")
    ),
    (
        _json(plan="x", price_cents=-1, currency="x"),
        [("plan", PLAN), ("price_cents", PRICE), ("currency", CURRENCY)],
    ),
]
GOOD: dict[str, bytes] = {
    "white space": b' \t\r\n{ "plan" : "team" , "price_cents":1 , "currency":"EUR" } \n',
    "any order": b'{"currency":"EUR","price_cents":0,"plan":"team"}',
    "escapes": b'{"pl\\u0061n":"te\\u0061m","price_cents":1,"currency":"\\u0045UR"}',
    "the most": _number(str(10**12)),
    "full size": VALID + b" " * (MAXIMUM_BYTES - len(VALID)),
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_a_good_body_is_taken(api: Api, body: bytes) -> None:
    created = api.done(api.send("POST", PATH, body), 201).json
    assert created["price_cents"] == json.loads(body)["price_cents"]


@pytest.mark.parametrize("body", BAD_FORMS.values(), ids=BAD_FORMS)
def test_a_body_that_is_no_flat_object_is_malformed(api: Api, body: bytes) -> None:
    check_problem(api.send("POST", PATH, body), "malformed", PATH, detail=FORM)


@pytest.mark.parametrize(("body", "errors"), BAD_FIELDS, ids=lambda value: repr(value)[:60])
def test_wrong_fields_are_named_in_order(
    api: Api, body: bytes, errors: list[tuple[str, str]]
) -> None:
    answer = api.send("POST", PATH, body)
    check_problem(answer, "malformed", PATH, detail=FIELDS, errors=errors)


@pytest.mark.parametrize(("body", "errors"), BAD_LIMITS, ids=lambda value: repr(value)[:60])
def test_values_out_of_limits_are_named_in_order(
    api: Api, body: bytes, errors: list[tuple[str, str]]
) -> None:
    check_problem(api.send("POST", PATH, body), "invalid", PATH, errors=errors)


def test_an_invoice_s_fields_have_their_order_and_limits(api: Api) -> None:
    path = "/v1/invoices"
    uuid = "has to be a lower-case UUID"
    fields: Any = [
        ("subscription_id", REQUIRED),
        ("amount_cents", REQUIRED),
        ("currency", REQUIRED),
    ]
    answer = api.send("POST", path, b"{}")
    check_problem(answer, "malformed", path, detail=FIELDS, errors=fields)
    for bad in (1, None, "", str(uuid4()).upper(), uuid4().hex, f"{{{uuid4()}}}"):
        body = {"currency": 1, "amount_cents": "1", "status": None, "subscription_id": bad}
        said = uuid if isinstance(bad, str) else STRING
        fields = [
            ("subscription_id", said),
            ("status", STRING),
            ("amount_cents", INTEGER),
            ("currency", STRING),
        ]
        answer = api.send("POST", path, body)
        check_problem(answer, "malformed", path, detail=FIELDS, errors=fields)
    body = {"subscription_id": str(uuid4()), "status": "paid", "amount_cents": 0, "currency": "X"}
    limits = [
        ("status", "has to be draft or open"),
        ("amount_cents", "has to be from 1 to 1000000000000"),
        ("currency", CURRENCY),
    ]
    check_problem(api.send("POST", path, body), "invalid", path, errors=limits)


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
def test_a_patch_has_its_own_fields(api: Api, resource: str) -> None:
    made = api.subscription() if resource == "subscriptions" else api.invoice("draft")
    path = f"/v1/{resource}/{made['id']}"
    nothing = [("", "has to name at least one field")]
    answer = api.patch(path, b"{}")
    check_problem(answer, "malformed", path, detail=FIELDS, errors=nothing)
    fixed: list[dict[str, object]] = [
        {"subscription_id": made["id"]},
        {"id": made["id"]},
        {"created_at": made["created_at"]},
        {"payment_id": None},
        {"x": 1},
    ]
    for body in [*fixed, *([{"currency": "EUR"}] if resource == "subscriptions" else [])]:
        answer = api.patch(path, body)
        check_problem(answer, "malformed", path, detail=FIELDS, errors=[UNKNOWN])
    said = "active, past_due or canceled" if resource == "subscriptions" else "draft, open or void"
    for status in ("paid", "Active", ""):
        answer = api.patch(path, {"status": status})
        check_problem(answer, "invalid", path, errors=[("status", f"has to be {said}")])
    assert api.get(path) == made


@pytest.mark.parametrize("kind", TYPES)
def test_a_good_type_is_taken(api: Api, kind: str) -> None:
    api.done(api.send("POST", PATH, VALID, [("Content-Type", kind)]), 201)
    coded = [("Content-Type", kind), ("Content-Encoding", "identity")]
    api.done(api.send("POST", PATH, VALID, coded), 201)


@pytest.mark.parametrize(
    "headers",
    [
        *([("Content-Type", kind)] for kind in BAD_TYPES),
        [("Content-Type", "application/json")] * 2,
        *(
            [("Content-Type", "application/json"), ("Content-Encoding", coding)]
            for coding in ("gzip", "identity, gzip", "x", "deflate")
        ),
    ],
)
def test_any_other_type_is_refused(api: Api, headers: list[tuple[str, str]]) -> None:
    # A body that is malformed too: the type comes first.
    answer = api.send("POST", PATH, b"{", headers)
    check_problem(answer, "unsupported_media_type", PATH)


@pytest.mark.parametrize("method", ["POST", "PATCH", "pay"])
def test_no_body_and_no_type_is_refused(api: Api, method: str) -> None:
    invoice = api.invoice()["id"]
    path = {"POST": PATH, "PATCH": f"/v1/invoices/{invoice}", "pay": f"/v1/invoices/{invoice}/pay"}
    headers = [("If-Match", "*"), ("Idempotency-Key", str(uuid4()))]
    answer = api.send("PATCH" if method == "PATCH" else "POST", path[method], None, headers)
    check_problem(answer, "unsupported_media_type", path[method])


def test_a_body_that_is_too_large_is_refused_before_it_is_read(api: Api) -> None:
    head = [("Content-Type", "application/json"), ("Content-Length", str(MAXIMUM_BYTES + 1))]
    # Not one byte of it comes.
    answer = api.send("POST", PATH, None, head)
    check_problem(answer, "body_too_large", PATH)
    assert (answer.header("connection") or "").lower() == "close"


def _request(api: Api, *headers: str) -> bytes:
    lines = [
        *(f"POST {PATH} HTTP/1.1", f"Host: {host_of(api.target.base_url)}"),
        *(f"Authorization: Bearer {api.token}", "Content-Type: application/json"),
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def test_a_body_in_chunks_is_taken_and_has_the_same_limit(api: Api) -> None:
    head = _request(api, "Transfer-Encoding: chunked")
    chunks = [_chunk(VALID[:5]), _chunk(VALID[5:]), b"0\r\n\r\n"]
    answer = exchange_raw(api.target.base_url, [head, *chunks], "POST")
    assert answer.status == 201
    many = [_chunk(b" " * 65_536)] * 17
    answer = exchange_raw(api.target.base_url, [head, _chunk(VALID), *many, b"0\r\n\r\n"], "POST")
    check_problem(answer, "body_too_large", PATH)
    assert (answer.header("connection") or "").lower() == "close"


@pytest.mark.parametrize("headers", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_breaks_off_could_not_be_read(api: Api, headers: str) -> None:
    with connect(api.target.base_url) as connection:
        connection.sendall(_request(api, headers) + b"50\r\n" + VALID)
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = receive(connection, "POST")
        except (ConnectionError, OSError):
            return  # a client that closed its half may be taken for gone
    check_problem(answer, "malformed", PATH, detail=UNREADABLE)


def test_bad_chunks_could_not_be_read(api: Api) -> None:
    head = _request(api, "Transfer-Encoding: chunked")
    answer = exchange_raw(api.target.base_url, [head, b"zz\r\n\r\n"], "POST")
    check_problem(answer, "malformed", PATH, detail=UNREADABLE)


def test_a_slow_body_has_four_seconds(api: Api) -> None:
    with connect(api.target.base_url, deadline_s=40) as connection:
        began_s = time.monotonic()
        connection.sendall(_request(api, f"Content-Length: {len(VALID)}") + VALID[:10])
        answer = receive(connection, "POST")
        took_s = time.monotonic() - began_s
    check_problem(answer, "body_timeout", PATH)
    assert (answer.header("connection") or "").lower() == "close"
    assert took_s > 3.5


def test_a_body_where_none_is_taken_is_ignored(api: Api) -> None:
    path = f"{PATH}/{api.subscription()['id']}"
    for method, status in (("GET", 200), ("DELETE", 204)):
        kind = [("Content-Type", "text/plain")]
        api.done(api.send(method, path, b"\xff" * 100, kind), status)
