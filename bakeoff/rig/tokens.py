"""Bearer tokens for the seeded accounts, and the document in which the load finds them."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import jwt
import msgspec

from bakeoff.errors import UsageError

_ALGORITHM = "HS256"
# The checks before a round play an account and a stranger.
_ACCOUNTS = 2
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


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What lets a load in, all by account: bearer tokens, and ids to ask for. The tokens file,
    which BAKEOFF_TOKENS_FILE names, holds it as JSON."""

    tokens: dict[str, str]
    invoices: dict[str, list[str]]
    subscriptions: dict[str, list[str]] = {}

    def document(self) -> bytes:
        """The tokens file's content."""
        return msgspec.json.encode(self)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a tokens file; UsageError names it and what is wrong with it."""
        try:
            found = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise UsageError(f"cannot read the tokens file {path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise UsageError(f"the tokens file {path} does not hold tokens: {error}") from error
        known = [account for account in found.tokens if found.invoices.get(account)]
        if len(known) < _ACCOUNTS:
            raise UsageError(
                f"the tokens file {path} has to hold tokens and invoices of {_ACCOUNTS} accounts, "
                "as the one that `bakeoff up` writes"
            )
        return found
