"""Bearer tokens for the seeded accounts, and the document in which the load finds them."""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import jwt
import msgspec

_ALGORITHM = "HS256"
# Longer than any run.
_LIFETIME_S = 48 * 3600


@dataclass(frozen=True)
class Credentials:
    """What a service checks tokens against; the secret is at least 32 bytes long."""

    secret: str = field(repr=False)
    issuer: str
    audience: str

    @classmethod
    def fresh(cls, secret: str | None = None) -> Self:
        """Credentials for one run, with a random secret unless one is given."""
        return cls(secret or secrets.token_urlsafe(48), "bakeoff", "billing")


def mint_tokens(
    credentials: Credentials, accounts: Iterable[str], lifetime_s: float = _LIFETIME_S
) -> dict[str, str]:
    """A bearer token for each account id, good for `lifetime_s` seconds from now."""
    claims = {
        "iss": credentials.issuer,
        "aud": credentials.audience,
        "exp": int(time.time() + lifetime_s),
    }
    return {
        account: jwt.encode(claims | {"sub": account}, credentials.secret, algorithm=_ALGORITHM)
        for account in accounts
    }


def tokens_document(tokens: Mapping[str, str], invoices: Mapping[str, Sequence[str]]) -> bytes:
    """What the file that BAKEOFF_TOKENS_FILE names holds: {"tokens": {account: token},
    "invoices": {account: [id]}}."""
    return msgspec.json.encode({"tokens": tokens, "invoices": invoices})
