"""Requests as they go out: nothing of the one before is left in the next."""

import pytest

from bakeoff.load import wire
from bakeoff.load.engine.books import Books
from bakeoff.load.engine.requests import Request, Requests, encode_headers


@pytest.fixture
def requests() -> Requests:
    return Requests(Books(), "host:1", "/v1")


def parts(request: Request) -> tuple[str, list[str], int, int | None]:
    """The request line, the headers, the index of the name, and what is expected."""
    data, tag, expect = request
    line, *headers = data.decode().removesuffix("\r\n\r\n").split("\r\n")
    return line, headers, tag // wire.TAG_NAMES, expect


def test_what_changes_from_one_get_to_the_next_is_in_it(requests: Requests) -> None:
    path, json = "/a", encode_headers({"Accept": "application/json"})
    get_a = ("GET /v1/a HTTP/1.1", ["Host: host:1"], 0, None)
    for _ in range(2):
        assert parts(requests.get(path)) == get_a
        assert parts(requests.get(path, expect=404)) == (*get_a[:3], 404)
        assert parts(requests.get(path, name="other")) == (*get_a[:2], 1, None)
        assert parts(requests.get(path, headers=json)) == (
            *(get_a[0], ["Host: host:1", "Accept: application/json"], 0, None),
        )
        assert parts(requests.get(path)) == get_a
        assert parts(requests.get("/b")) == ("GET /v1/b HTTP/1.1", ["Host: host:1"], 2, None)


def test_headers_that_change_in_place_are_encoded_again(requests: Requests) -> None:
    path, headers = "/a", {"Accept": "text/plain"}
    first = requests.get(path, headers=headers)
    headers["Accept"] = "application/json"
    assert parts(first)[1] == ["Host: host:1", "Accept: text/plain"]
    assert parts(requests.get(path, headers=headers))[1] == [
        *("Host: host:1", "Accept: application/json")
    ]


def test_a_bad_path_is_refused_each_time(requests: Requests) -> None:
    path = "/a b"
    for _ in range(2):
        with pytest.raises(ValueError, match="no space or control character"):
            requests.get(path)
