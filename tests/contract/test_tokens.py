"""Who is let in: bearer tokens, checked before anything is looked at."""

import time

import pytest

from bakeoff.rig.tokens import Credentials
from tests.contract.api import Api
from tests.contract.problems import check_problem
from tests.contract.tokens import HEADER, bad_tokens, claims_of, good_tokens, signed
from tests.contract.wire import Answer, exchange

PATH = "/v1/subscriptions"
ANY = Credentials("x" * 32, "bakeoff", "billing")


def _get(api: Api, *authorization: str) -> Answer:
    lines = [("Authorization", value) for value in authorization]
    return exchange(api.target.base_url, "GET", PATH, lines)


@pytest.mark.parametrize("name", bad_tokens(ANY, "a"))
def test_a_bad_token_is_unauthenticated(api: Api, name: str) -> None:
    token = bad_tokens(api.target.behind().credentials, api.account)[name]
    answer = _get(api, f"Bearer {token}")
    check_problem(answer, "unauthenticated", PATH)
    assert answer.header("www-authenticate") == "Bearer"


@pytest.mark.parametrize("name", good_tokens(ANY, "a"))
def test_a_good_token_is_let_in(api: Api, name: str) -> None:
    token = good_tokens(api.target.behind().credentials, api.account)[name]
    assert _get(api, f"Bearer {token}").status == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_compared_without_case(api: Api, scheme: str) -> None:
    assert _get(api, f"{scheme} {api.token}").status == 200


def test_any_other_authorization_is_unauthenticated(api: Api) -> None:
    token = api.token
    for values in (
        [],
        [""],
        [token],
        ["Bearer"],
        [f"Basic {token}"],
        [f"Bearer{token}"],
        [f"Bearer\t{token}"],
        [f"Bearer {token} {token}"],
        [f"Bearer {token},"],
        [f"Bearer {token}"] * 2,
        [f"Bearer {token}", "Basic eDp5"],
    ):
        check_problem(_get(api, *values), "unauthenticated", PATH)


def test_a_token_is_good_while_it_has_not_expired(api: Api) -> None:
    credentials = api.target.behind().credentials
    expires_at = time.time() + 2
    token = signed(credentials, HEADER, claims_of(credentials, api.account, exp=expires_at))
    deadline_s = time.monotonic() + 30
    while True:
        asked_at = time.time()
        answer = _get(api, f"Bearer {token}")
        if answer.status == 401:
            assert time.time() >= expires_at
            return
        assert (answer.status, asked_at < expires_at) == (200, True)
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
