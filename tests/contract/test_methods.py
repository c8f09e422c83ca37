"""Routes, methods, HEAD, OPTIONS, ids in paths, queries, request ids, health."""

from uuid import NAMESPACE_DNS, uuid1, uuid3, uuid4

import pytest

from tests.contract.api import SUBSCRIPTION, Api
from tests.contract.problems import ID, NO_ROUTE, QUERY, check_problem, is_made_id
from tests.contract.wire import Answer, exchange

ID_HERE = str(uuid4())
ALLOWED = {
    "/v1/subscriptions": "GET,HEAD,POST,OPTIONS",
    "/v1/invoices": "GET,HEAD,POST,OPTIONS",
    f"/v1/subscriptions/{ID_HERE}": "GET,HEAD,PATCH,DELETE,OPTIONS",
    f"/v1/invoices/{ID_HERE}": "GET,HEAD,PATCH,DELETE,OPTIONS",
    f"/v1/invoices/{ID_HERE}/pay": "POST,OPTIONS",
    f"/v1/invoices/{ID_HERE}/payment": "GET,HEAD,OPTIONS",
    f"/v1/subscriptions/{ID_HERE}/statement": "GET,HEAD,OPTIONS",
    "/livez": "GET,HEAD,OPTIONS",
    "/readyz": "GET,HEAD,OPTIONS",
}
METHODS = [
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"),
    *("PROPFIND", "FOO", "get", "GETS", "X" * 30),
]
UNKNOWN_ROUTES = [
    *("/", "/v1", "/v1/", "/v2/invoices", "/V1/invoices", "/v1/Invoices", "/v1/invoice"),
    *("/v1/invoices/", "/v1/subscriptions/", "//v1/invoices", "/v1//invoices", "/livez/"),
    f"/v1/invoices/{ID_HERE}/",
    f"/v1/invoices/{ID_HERE}/pay/",
    f"/v1/invoices/{ID_HERE}/payments",
    f"/v1/invoices/{ID_HERE}/statement",
    f"/v1/subscriptions/{ID_HERE}/pay",
    f"/v1/subscriptions/{ID_HERE}/statement/x",
    "/v1/invoices//payment",
    "/v1/invoices//pay",
    "/v1/subscriptions//statement",
]
BAD_IDS = [
    *("0", "-1", str(2**63), "x", "%00", "%2e%2e", "..", ".", "%2f", "%ff", "%F0%9F%92%B8"),
    *("1%20OR%201=1", "null", "undefined"),
    ID_HERE.upper(),
    f"{{{ID_HERE}}}",
    ID_HERE.replace("-", ""),
    f"urn:uuid:{ID_HERE}",
    ID_HERE[:-1],
    f"{ID_HERE}0",
    f"%20{ID_HERE}",
    f"%{ord(ID_HERE[0]):x}{ID_HERE[1:]}",
    f"{ID_HERE};x=1",
]
GOOD_IDS = [
    str(uuid1()),
    str(uuid3(NAMESPACE_DNS, "x")),
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
]
BAD_QUERIES = [
    *("x=1", "a[]=", ";", "&", "=", "limit", "after", "limit=", "after=", "limit=1&", "&limit=1"),
    *("limit=1&limit=1", "limit=1&&limit=2", "limit=0", "limit=-1", "limit=101", "limit=abc"),
    *("limit=+1", "limit=01", "limit=1.0", "limit=1e1", "limit=%31", "limit=1%20", "limit=\uff11"),
    *("Limit=1", "%6cimit=1", "limit=1;after=x", "limit=99999999999999999999", "limit=1&x"),
    "after=" + "A" * 44,
    "?limit=1",
]


def _alike(head: Answer, get: Answer) -> None:
    """HEAD has GET's status and headers, but for those of the single request."""
    own = {"x-request-id", "date"}
    assert head.status == get.status
    assert sorted(pair for pair in head.headers if pair[0] not in own) == sorted(
        pair for pair in get.headers if pair[0] not in own
    )
    assert head.body == b""


@pytest.mark.parametrize("path", ALLOWED)
@pytest.mark.parametrize("method", METHODS)
def test_each_path_allows_just_its_methods(api: Api, path: str, method: str) -> None:
    allowed = ALLOWED[path]
    # Neither a token nor a good id is needed to be told.
    for tried in (path, path.replace(ID_HERE, "bad")):
        answer = api.send(method, tried, token=False)
        if method == "OPTIONS":
            assert (answer.status, answer.header("allow")) == (204, allowed)
        elif method in allowed.split(","):
            assert answer.status == (200 if path in ("/livez", "/readyz") else 401)
        else:
            check_problem(answer, "method_not_allowed", tried)
            assert answer.header("allow") == allowed


@pytest.mark.parametrize("path", UNKNOWN_ROUTES)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "FOO"])
def test_an_unknown_route_is_not_found(api: Api, path: str, method: str) -> None:
    answer = api.send(method, path, token=False)
    check_problem(answer, "not_found", path, detail=NO_ROUTE)


def test_options_of_everything_is_an_unknown_route(api: Api) -> None:
    check_problem(api.send("OPTIONS", "*", token=False), "not_found", "*", detail=NO_ROUTE)


def test_head_is_get_without_a_body(api: Api) -> None:
    invoice = api.invoice()
    subscription = f"/v1/subscriptions/{invoice['subscription_id']}"
    for path in (
        *("/v1/subscriptions", "/v1/invoices", subscription, f"{subscription}/statement"),
        *(f"/v1/invoices/{invoice['id']}", f"/v1/invoices/{invoice['id']}/payment"),
        *("/livez", "/readyz", "/v1/invoices?limit=0", f"/v1/invoices/{uuid4()}", "/v1/invoices/x"),
    ):
        _alike(api.send("HEAD", path), api.send("GET", path))
    _alike(
        api.send("HEAD", "/v1/invoices", token=False),
        api.send("GET", "/v1/invoices", token=False),
    )


@pytest.mark.parametrize("bad", BAD_IDS)
def test_a_bad_id_is_malformed(api: Api, bad: str) -> None:
    for path in (f"/v1/invoices/{bad}", f"/v1/subscriptions/{bad}/statement"):
        check_problem(api.send("GET", path), "malformed", path, detail=ID)
    path = f"/v1/invoices/{bad}/pay"
    check_problem(api.pay(bad, "k"), "malformed", path, detail=ID)


@pytest.mark.parametrize("good", GOOD_IDS)
def test_an_id_of_any_version_is_good(api: Api, good: str) -> None:
    for path in (f"/v1/invoices/{good}", f"/v1/subscriptions/{good}/statement"):
        assert api.send("GET", path).status == 404


@pytest.mark.parametrize("query", BAD_QUERIES)
@pytest.mark.parametrize("path", ["/v1/subscriptions", "/v1/invoices"])
def test_a_list_takes_no_other_query(api: Api, path: str, query: str) -> None:
    raw = query.encode().decode("latin-1")  # as the bytes on the wire
    answer = exchange(
        api.target.base_url,
        "GET",
        f"{path}?{raw}",
        [("Authorization", f"Bearer {api.token}")],
    )
    if query.isascii():
        check_problem(answer, "malformed", path, detail=QUERY)
    else:
        assert answer.status == 400  # of a target that is no URI, whoever refuses it


def test_no_other_operation_takes_a_query(api: Api) -> None:
    invoice = api.invoice("draft")
    own = f"/v1/invoices/{invoice['id']}"
    statement = f"/v1/subscriptions/{invoice['subscription_id']}/statement"
    key = [("Idempotency-Key", "k"), ("If-Match", "*")]
    for method, path, body in (
        ("GET", own, None),
        ("HEAD", own, None),
        ("PATCH", own, {"status": "open"}),
        ("DELETE", own, None),
        ("GET", f"{own}/payment", None),
        ("GET", statement, None),
        ("POST", f"{own}/pay", {}),
        ("POST", "/v1/subscriptions", SUBSCRIPTION),
        ("POST", "/v1/invoices", {}),
    ):
        for query in ("limit=1", "x", "&"):
            answer = api.send(method, f"{path}?{query}", body, key)
            assert answer.status == 400
            if method != "HEAD":
                check_problem(answer, "malformed", path, detail=QUERY)
    assert api.done(api.send("GET", f"{own}?"), 200).json == invoice


@pytest.mark.parametrize("given", ["x", "a" * 64, "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~", "${jndi:x}"])
def test_a_request_id_is_taken(api: Api, given: str) -> None:
    for path in ("/v1/subscriptions", "/nowhere", "/livez"):
        answer = api.send("GET", path, None, [("X-Request-Id", given)])
        assert answer.header("x-request-id") == given


@pytest.mark.parametrize("given", [[""], ["a" * 65], ["a b"], ["a\tb"], ["é"], ["a", "b"]])
def test_any_other_request_id_is_replaced(api: Api, given: list[str]) -> None:
    lines = [("X-Request-Id", value) for value in given]
    answer = api.send("GET", "/v1/subscriptions", None, lines)
    assert is_made_id(answer.header("x-request-id"))
    assert is_made_id(api.send("GET", "/nowhere").header("x-request-id"))


def test_health_is_told_to_everybody(api: Api) -> None:
    live = api.send("GET", "/livez", token=False)
    assert (live.status, live.body) == (200, b'{"status":"ok"}')
    ready = api.send("GET", "/readyz", token=False)
    assert list(ready.json) == ["status", "database", "payments"]
    assert (ready.status, ready.json["status"], ready.json["database"]) == (200, "ready", "ok")
    assert ready.json["payments"] in ("ok", "unavailable", "unknown")


def test_accept_is_ignored(api: Api) -> None:
    for accept in ("text/html", "application/xml;q=1, */*;q=0", "", "x"):
        answer = api.send("GET", "/v1/subscriptions", None, [("Accept", accept)])
        assert api.done(answer, 200).header("content-type") == "application/json"
