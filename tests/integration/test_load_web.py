"""The guard before Locust's page: what it refuses, and that the page itself still works."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.integration.loadrig import DEADLINE_S, TOKEN, Locust, locust, null_server

pytestmark = pytest.mark.slow

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """A server that may be aimed at."""
    with null_server() as host:
        yield host


@pytest.fixture(scope="module")
def guarded(target: str) -> Iterator[Locust]:
    """A local Locust with everything that the harness sets."""
    environment = {
        "BAKEOFF_TARGETS": json.dumps({"null": target}),
        "BAKEOFF_ALLOWED_HOSTS": "bench.example",
    }
    with locust(workers=0, environment=environment) as found:
        yield found


def ask(found: Locust, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
    """One request with exactly these headers (and Host and Content-Length)."""
    base = urlsplit(found.base)
    assert base.hostname
    connection = http.client.HTTPConnection(base.hostname, base.port, timeout=DEADLINE_S)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body or None, sent)
        answer = connection.getresponse()
        allowed = answer.getheader("Access-Control-Allow-Origin")
        assert allowed is None
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "10.0.0.1"])
def test_foreign_hosts_are_refused(guarded: Locust, host: str) -> None:
    named = host.format(port=urlsplit(guarded.base).port)
    assert ask(guarded, "GET", "/", Host=named)[0] == 403
    assert ask(guarded, "POST", "/stop", Host=named, X_Bakeoff_Run=TOKEN)[0] == 403


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "bench.example"])
def test_our_own_names_are_taken(guarded: Locust, host: str) -> None:
    named = host.format(port=urlsplit(guarded.base).port)
    assert ask(guarded, "GET", "/stats/requests", Host=named)[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_foreign_origins_are_refused_even_with_the_token(guarded: Locust, origin: str) -> None:
    headers = {"Origin": origin, "X_Bakeoff_Run": TOKEN, "Content_Type": FORM}
    assert ask(guarded, "POST", "/stop", **headers)[0] == 403
    assert ask(guarded, "POST", "/swarm", "user_count=1", **headers)[0] == 403
    assert ask(guarded, "GET", "/bakeoff/measurements?summary=1", **headers)[0] == 403
    assert ask(guarded, "OPTIONS", "/swarm", **headers)[0] == 403


@pytest.mark.parametrize("path", ["/stop", "/swarm", "/stats/reset", "/user"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_nothing_changes_by_reading(guarded: Locust, path: str, method: str) -> None:
    assert ask(guarded, method, path, X_Bakeoff_Run=TOKEN)[0] == 403


def test_a_text_form_is_refused(guarded: Locust) -> None:
    headers = {"Content_Type": "text/plain", "X_Bakeoff_Run": TOKEN}
    assert ask(guarded, "POST", "/swarm", "user_count=1", **headers)[0] == 403
    assert ask(guarded, "POST", "/swarm", "user_count=1", X_Bakeoff_Run=TOKEN)[0] == 403


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], "ü"])
def test_a_change_needs_the_token_or_the_page_itself(guarded: Locust, token: str | None) -> None:
    headers = {"Content_Type": FORM}
    if token is not None:
        headers["X_Bakeoff_Run"] = token
    status, said = ask(guarded, "POST", "/stats/reset", **headers)
    assert status == 403
    assert TOKEN not in said
    from_the_page = {"Content_Type": FORM, "Origin": guarded.base}
    assert ask(guarded, "POST", "/stats/reset", **from_the_page)[0] == 200
    with_the_token = {"Content_Type": FORM, "X_Bakeoff_Run": TOKEN}
    assert ask(guarded, "POST", "/stats/reset", **with_the_token)[0] == 200


def test_only_the_rigs_services_can_be_aimed_at(guarded: Locust, target: str) -> None:
    assert (
        guarded.call("/swarm", {"user_count": 1, "spawn_rate": 1, "host": "http://10.0.0.1"})[0]
        == 403
    )
    assert guarded.summary()["state"] == "idle"


def test_a_target_can_be_chosen_by_name(guarded: Locust, target: str) -> None:
    measurement = guarded.run("http://ignored.example", target="null", rate=100)
    assert measurement.counts.answered > 0


def test_the_page_shows_our_fields(guarded: Locust) -> None:
    status, page = ask(guarded, "GET", "/")
    assert status == 200
    for name in ("rate", "arrivals", "seed", "duration", "request_timeout", "target"):
        assert f'"{name}"' in page
    assert "bakeoff_run" not in page
    assert TOKEN not in page


def test_there_is_no_measurement_before_the_first_run() -> None:
    with locust(workers=0) as found:
        assert found.call("/bakeoff/measurements")[0] == 404
        summary = found.summary()
    assert summary["state"] == "idle"
    assert summary["complete"] is False
