"""Hostile input: one golden file of answers for both services, one of framings for each."""

import contextlib
import io
import json
import re
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from uuid import uuid4

import pytest

from tests.contract.api import Api
from tests.contract.hostile import framings, routed
from tests.contract.problems import check_answer
from tests.contract.wire import Answer, connect, exchange, host_of

GOLDEN = Path(__file__).parent / "golden"
HEADERS = ("allow", "connection", "content-type", "etag", "retry-after", "www-authenticate")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-9a-f][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
# net/http lets chunks win over a length, and reads on behind them: a difference that is published.
READ_ON = {("go", "length and chunks")}
# What net/http says of its own accord to a coding and a version that it does not know.
OF_THE_SERVER = (501, 505)


def _shown(name: str, answer: Answer) -> str:
    """An answer as it stands in the golden file, ids masked."""
    lines = [f"{header}: {value}" for header in HEADERS for value in answer.values(header)]
    body = answer.body.decode()
    request_id = answer.header("x-request-id")
    if request_id:
        body = body.replace(json.dumps(request_id), '"<request id>"')
    body = UUID.sub("<id>", body)
    return "\n".join([f"## {UUID.sub('<id>', name)}", str(answer.status), *lines, body, ""])


def _compare(path: Path, text: str, update: bool) -> None:
    if update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "see --update-golden"


def _serves(api: Api) -> None:
    api.done(api.send("GET", "/v1/subscriptions"), 200)


def test_what_reaches_the_router_has_one_answer(api: Api, update_golden: bool) -> None:
    shown = []
    for case in routed(api):
        lines = list(case.headers)
        if case.token:
            lines.append(("Authorization", f"Bearer {api.token}"))
        answer = exchange(api.target.base_url, case.method, case.target, lines, case.body)
        assert answer.status < 500, case.name
        check_answer(answer, case.method)
        shown.append(_shown(case.name, answer))
    _serves(api)
    _compare(GOLDEN / "hostile.txt", "\n".join(shown), update_golden)


class _Stream(io.BytesIO):
    """What came over a connection, for one parser after the other."""

    def makefile(self, _: str) -> "_Stream":
        return self

    def close(self) -> None:
        pass


def _answers(received: bytes) -> Iterator[Answer]:
    stream = _Stream(received)
    while stream.tell() < len(received):
        response = HTTPResponse(stream)  # type: ignore[arg-type]
        response.begin()
        body = response.read()
        headers = tuple((name.lower(), value) for name, value in response.getheaders())
        yield Answer(response.status, headers, body)


def _is_a_failure(answer: Answer) -> bool:
    routed = answer.header("x-request-id") is not None
    return answer.status >= 500 and (routed or answer.status not in OF_THE_SERVER)


def _received(base_url: str, sent: bytes) -> bytes:
    """All that comes till the service closes."""
    received = b""
    with connect(base_url) as connection:
        with contextlib.suppress(ConnectionError):  # closed at once, perhaps with an answer
            connection.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65_536):
                received += piece
    return received


@pytest.mark.timeout(900)
def test_a_bad_framing_is_refused_and_hides_nothing(api: Api, update_golden: bool) -> None:
    target = api.target
    target.behind()  # what a server says of itself is known of those of this checkout only
    host, shown = host_of(target.base_url), []
    for name in framings(host, ""):
        hidden, last = f"hidden-{uuid4()}", f"last-{uuid4()}"
        # A good request behind it makes the service close, or answer and close.
        good = f"GET /livez HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {last}\r\nConnection: close"
        sent = framings(host, hidden)[name] + good.encode() + b"\r\n\r\n"
        try:
            answers = list(_answers(_received(target.base_url, sent)))
        except HTTPException as error:
            pytest.fail(f"{name}: {error!r}")
        ids = [answer.header("x-request-id") for answer in answers]
        assert not any(map(_is_a_failure, answers)), (name, answers)
        assert (hidden in ids) == ((target.name, name) in READ_ON), name
        said = [str(a.status) for a, found in zip(answers, ids, strict=True) if found != last]
        after = "serves on" if last in ids else "closes"
        shown.append(f"{name}: {', '.join(said) or 'no answer'}; {after}\n")
    _serves(api)
    _compare(GOLDEN / f"framing_{target.name}.txt", "".join(shown), update_golden)


def test_each_line_of_the_log_stays_one(api: Api) -> None:
    marks = [f"{uuid4().hex}{text}" for text in ('"', "\\", "\\n", "${jndi:x}", "%0a", "</x>")]
    for mark in marks:
        api.done(api.send("GET", "/v1/subscriptions", None, [("X-Request-Id", mark)]), 200)
    lines = api.target.behind().log.read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    found = [line["request_id"] for line in logged if line.get("request_id") in marks]
    assert found == marks


def test_a_hundred_requests_in_one_write_have_a_hundred_answers(api: Api) -> None:
    host = host_of(api.target.base_url)
    ids = [f"{number}-{uuid4().hex}" for number in range(100)]
    requests = [f"GET /livez HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {one}" for one in ids]
    requests[-1] += "\r\nConnection: close"
    sent = "".join(f"{request}\r\n\r\n" for request in requests).encode()
    answers = _answers(_received(api.target.base_url, sent))
    assert [answer.header("x-request-id") for answer in answers] == ids
