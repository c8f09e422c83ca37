"""What a workload asks for, invoices and subscriptions, and the bearer tokens that go with them."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from bakeoff.errors import UsageError
from bakeoff.experiment import TOKENS_VARIABLE
from bakeoff.load.engine.requests import EncodedHeaders, encode_headers


@dataclass(frozen=True, slots=True)
class Owned:
    """An invoice or a subscription, and the headers of its account."""

    id: str
    headers: EncodedHeaders

    def with_headers(self, headers: Mapping[str, str]) -> EncodedHeaders:
        """The headers of its account and these."""
        return EncodedHeaders(self.headers + encode_headers(headers))


class _AllOwned:
    """All of one kind, of all accounts."""

    kind: ClassVar[str]

    def __init__(self, owned: list[Owned]) -> None:
        self._owned = owned

    @classmethod
    def from_environment(cls) -> Self:
        """From the file that BAKEOFF_TOKENS_FILE names; UsageError says what is wrong with it.

        It is JSON: {"tokens": {account: bearer token}, "invoices": {account: [ids]},
        "subscriptions": {account: [ids]}}.
        """
        name = os.environ.get(TOKENS_VARIABLE)
        if not name:
            raise UsageError(
                f"{TOKENS_VARIABLE} is not set: it names the file with tokens and {cls.kind} that "
                "`bakeoff up` writes and prints as tokens_file"
            )
        try:
            known = json.loads(Path(name).read_text(encoding="utf-8"))
            headers = {
                account: encode_headers({"Authorization": f"Bearer {token}"})
                for account, token in known["tokens"].items()
            }
            owned = [
                Owned(one, headers[account])
                for account, ids in sorted(known[cls.kind].items())
                for one in ids
            ]
        except OSError as error:
            raise UsageError(f"cannot read {name} ({TOKENS_VARIABLE}): {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{name} ({TOKENS_VARIABLE}) does not hold tokens and {cls.kind}: {error!r}"
            ) from error
        if not owned:
            raise UsageError(f"{name} ({TOKENS_VARIABLE}) names none of the {cls.kind}")
        return cls(owned)

    def pick(self, draw: float) -> Owned:
        """The one for a draw in [0, 1): all are equally likely."""
        return self._owned[int(draw * len(self._owned))]


class Invoices(_AllOwned):
    """All invoices of all accounts."""

    kind = "invoices"


class Subscriptions(_AllOwned):
    """All subscriptions of all accounts."""

    kind = "subscriptions"
