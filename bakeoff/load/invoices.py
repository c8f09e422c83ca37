"""The invoices that a workload asks for, and the bearer tokens that go with them."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bakeoff.errors import UsageError
from bakeoff.load.engine.client import EncodedHeaders, encode_headers

TOKENS_VARIABLE = "BAKEOFF_TOKENS_FILE"


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice, and the headers of its account."""

    id: str
    headers: EncodedHeaders


class Invoices:
    """All invoices of all accounts."""

    def __init__(self, invoices: list[Invoice]) -> None:
        self._invoices = invoices

    @classmethod
    def from_environment(cls) -> Self:
        """From the file that BAKEOFF_TOKENS_FILE names; UsageError says what is wrong with it.

        It is JSON: {"tokens": {account: bearer token}, "invoices": {account: [invoice ids]}}.
        """
        name = os.environ.get(TOKENS_VARIABLE)
        if not name:
            raise UsageError(
                f"{TOKENS_VARIABLE} is not set: it names the file with tokens and invoices that "
                "`bakeoff up` writes and prints as tokens_file"
            )
        try:
            known = json.loads(Path(name).read_text(encoding="utf-8"))
            headers = {
                account: encode_headers({"Authorization": f"Bearer {token}"})
                for account, token in known["tokens"].items()
            }
            invoices = [
                Invoice(invoice, headers[account])
                for account, ids in sorted(known["invoices"].items())
                for invoice in ids
            ]
        except OSError as error:
            raise UsageError(f"cannot read {name} ({TOKENS_VARIABLE}): {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{name} ({TOKENS_VARIABLE}) does not hold tokens and invoices: {error!r}"
            ) from error
        if not invoices:
            raise UsageError(f"{name} ({TOKENS_VARIABLE}) names no invoice")
        return cls(invoices)

    def pick(self, draw: float) -> Invoice:
        """The invoice for a draw in [0, 1): all are equally likely."""
        return self._invoices[int(draw * len(self._invoices))]
