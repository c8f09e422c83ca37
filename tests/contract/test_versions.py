"""ETag, If-Match and If-None-Match."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.api import Api
from tests.contract.problems import check_problem
from tests.contract.rig import scaled

HELD = ['"v1"', "*", '"v7","v1"', '"x", "v1"', '\t"v1" ', 'W/"v1","v1"', "nonsense,*"]
NOT_HELD = ['"v0"', '"v2"', "v1", 'W/"v1"', "", '"v1', '"V1"', '"v1";"v1"', "**", '"v01"']


def _path(api: Api, resource: str) -> str:
    made = api.subscription() if resource == "subscriptions" else api.invoice("draft")
    return f"/v1/{resource}/{made['id']}"


def _change(resource: str) -> dict[str, object]:
    return {"price_cents": 5} if resource == "subscriptions" else {"amount_cents": 5}


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
@pytest.mark.parametrize("held", HELD)
def test_if_match_lets_a_known_version_through(api: Api, resource: str, held: str) -> None:
    path = _path(api, resource)
    assert api.done(api.patch(path, _change(resource), held), 200).header("etag") == '"v2"'
    api.done(api.send("DELETE", path, None, [("If-Match", held.replace("v1", "v2"))]), 204)


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
def test_if_match_stops_every_other(api: Api, resource: str) -> None:
    path = _path(api, resource)
    for value in NOT_HELD:
        answer = api.patch(path, _change(resource), value)
        check_problem(answer, "precondition_failed", path)
        answer = api.send("DELETE", path, None, [("If-Match", value)])
        check_problem(answer, "precondition_failed", path)
    assert api.send("GET", path).header("etag") == '"v1"'


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
def test_a_patch_needs_a_version_and_a_delete_does_not(api: Api, resource: str) -> None:
    path = _path(api, resource)
    answer = api.send("PATCH", path, _change(resource))
    check_problem(answer, "precondition_required", path)
    api.done(api.send("DELETE", path), 204)


def test_the_lines_of_a_header_are_one_list(api: Api) -> None:
    path = _path(api, "subscriptions")
    lines = [("If-Match", '"v9"'), ("If-Match", '"v1"')]
    api.done(api.send("PATCH", path, {"price_cents": 1}, lines), 200)
    lines = [("If-None-Match", '"v9"'), ("If-None-Match", '"v2"')]
    api.done(api.send("GET", path, None, lines), 304)


@pytest.mark.parametrize("resource", ["subscriptions", "invoices"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match_spares_a_known_version(api: Api, resource: str, method: str) -> None:
    path = _path(api, resource)
    for value in [*HELD, 'W/"v1"', '"v0", W/"v1"', "W/*"]:
        answer = api.send(method, path, None, [("If-None-Match", value)])
        assert (answer.status, answer.header("etag")) == (304, '"v1"'), value
    for value in [value for value in NOT_HELD if value != 'W/"v1"'] + ['w/"v1"', 'W/W/"v1"']:
        answer = api.send(method, path, None, [("If-None-Match", value)])
        assert (answer.status, answer.header("etag")) == (200, '"v1"'), value


def test_elsewhere_conditions_are_ignored(api: Api) -> None:
    invoice = api.invoice()
    for path in (
        "/v1/subscriptions",
        "/v1/invoices",
        f"/v1/invoices/{invoice['id']}/payment",
        f"/v1/subscriptions/{invoice['subscription_id']}/statement",
    ):
        for name in ("If-Match", "If-None-Match"):
            answer = api.send("GET", path, None, [(name, "*" if "None" in name else '"v9"')])
            assert api.done(answer, 200).header("etag") is None
    path = f"/v1/invoices/{invoice['id']}"
    api.done(api.send("GET", path, None, [("If-Match", '"v9"')]), 200)
    for name in ("If-Modified-Since", "If-Unmodified-Since"):
        api.done(api.send("GET", path, None, [(name, "Sat, 01 Jan 2000 00:00:00 GMT")]), 200)
    lines = [("If-Match", '"v1"'), ("If-None-Match", "*")]
    api.done(api.send("PATCH", path, {"status": "void"}, lines), 200)


def test_writers_that_read_first_lose_no_update(api: Api) -> None:
    path = f"/v1/subscriptions/{api.subscription(price_cents=0)['id']}"
    writers, increments = scaled(50), scaled(100)

    def write(_: int) -> None:
        done, tries = 0, 0
        while done < increments:
            tries += 1
            # One writer at least gets ahead whenever all have tried.
            assert tries <= writers * increments, "others cannot have been first so often"
            read = api.send("GET", path)
            body = {"price_cents": read.json["price_cents"] + 1}
            answer = api.patch(path, body, read.header("etag") or "")
            assert answer.status in (200, 412)
            done += answer.status == 200

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    last = api.send("GET", path)
    assert last.json["price_cents"] == writers * increments
    assert last.header("etag") == f'"v{writers * increments + 1}"'
