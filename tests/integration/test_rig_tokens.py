"""Tokens, and the file in which the load finds them."""

import json
import time
import uuid
from pathlib import Path

import jwt
import pytest

from bakeoff.errors import UsageError
from bakeoff.experiment import LOCAL
from bakeoff.hosts.host import Host
from bakeoff.rig.tokens import Access, Credentials, mint_tokens


def test_a_token_says_what_the_services_check() -> None:
    credentials = Credentials.fresh()
    accounts = [str(uuid.uuid4()) for _ in range(3)]
    tokens = mint_tokens(credentials, accounts)
    assert list(tokens) == accounts
    for account, token in tokens.items():
        claims = jwt.decode(
            token,
            credentials.secret,
            algorithms=["HS256"],
            issuer=credentials.issuer,
            audience=credentials.audience,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        assert claims["sub"] == account
        assert claims["exp"] > time.time() + 3600
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(tokens[accounts[0]], Credentials.fresh().secret, algorithms=["HS256"])


def test_a_secret_is_random_long_and_not_shown() -> None:
    one, other = Credentials.fresh(), Credentials.fresh()
    assert one.secret != other.secret
    assert len(one.secret) >= 32
    assert one.secret not in repr(one)
    assert Credentials.fresh("x" * 40).secret == "x" * 40


def test_the_file_is_whole_and_for_its_owner_alone() -> None:
    invoices = {f"account-{n}": [str(uuid.uuid4()) for _ in range(6000)] for n in range(20)}
    tokens = dict.fromkeys(invoices, "token")
    access = Access(tokens=tokens, invoices=invoices, subscriptions={"account-0": ["s"]})
    with Host(LOCAL, run_id=uuid.uuid4().hex) as host:
        # Larger than one message.
        path = Path(host.write_file("tokens.json", access.document()))
        assert path.stat().st_mode & 0o777 == 0o600
        assert json.loads(path.read_bytes()) == {
            "tokens": tokens,
            "invoices": invoices,
            "subscriptions": {"account-0": ["s"]},
        }
        assert Access.read(path) == access
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("{", "does not hold tokens"),
        ('{"tokens": {"a": "t", "b": "t"}}', "does not hold tokens"),
        ('{"tokens": {"a": "t", "b": "t"}, "invoices": {"a": ["i"], "b": []}}', "of 2 accounts"),
        ('{"tokens": {"a": "t"}, "invoices": {"a": ["i"], "b": ["i"]}}', "of 2 accounts"),
    ],
)
def test_a_bad_tokens_file_is_named(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=says) as caught:
        Access.read(path)
    assert "mine.json" in str(caught.value)
