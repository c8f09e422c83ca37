"""Does a service answer rightly, and do two services answer alike? Asked before anything is timed.

This is a smoke test of the contract, a second or less; the whole contract has a suite of its own.
"""

import http.client
import json
import random
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bakeoff.errors import WrongAnswerError

_DEADLINE_S = 10.0
_SAMPLE = 20
_KEYS = [
    "invoice_id",
    "status",
    "amount_cents",
    "currency",
    "created_at",
    "subscription",
    "payment",
]


@dataclass(frozen=True)
class Account:
    """A caller: its bearer token and some of its invoices."""

    token: str
    invoices: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """What came back for one request."""

    status: int
    content_type: str
    body: bytes


def verify(
    name: str, base_url: str, accounts: Mapping[str, Account], seed: int
) -> dict[str, Answer]:
    """Asks a service what its contract promises and returns the answers to compare.

    Takes at least two accounts. WrongAnswerError names the request and the difference.
    """
    client = _Client(name, base_url)
    first, second = list(accounts.values())[:2]
    chosen = random.Random(seed).sample(list(first.invoices), min(_SAMPLE, len(first.invoices)))
    answers = {}
    for invoice in chosen:
        path = f"/v1/invoices/{invoice}/payment"
        answers[path] = client.expect(path, 200, first.token)
        _check_body(name, path, invoice, answers[path].body)
    own = f"/v1/invoices/{chosen[0]}/payment"
    client.expect(own, 401, None)
    client.expect(own, 401, first.token[:-4] + "AAAA")
    client.expect(own, 404, second.token)
    client.expect("/v1/invoices/not-an-id/payment", 400, first.token)
    client.expect("/livez", 200, None)
    return answers


def compare(answers: Mapping[str, Mapping[str, Answer]]) -> None:
    """WrongAnswerError where two services answer one request differently."""
    names = list(answers)
    for name in names[1:]:
        for path in answers[names[0]].keys() & answers[name].keys():
            first, other = answers[names[0]][path], answers[name][path]
            if first != other:
                raise WrongAnswerError(
                    f"{names[0]} and {name} answer GET {path} differently, so their times cannot "
                    f"be compared: {_short(first)} and {_short(other)}"
                )


class _Client:
    def __init__(self, name: str, base_url: str) -> None:
        self._name = name
        self._address = urllib.parse.urlsplit(base_url).netloc

    def expect(self, path: str, status: int, token: str | None) -> Answer:
        answer = self._get(path, {"Authorization": f"Bearer {token}"} if token else {})
        if answer.status != status:
            raise WrongAnswerError(
                f"the service {self._name} answers GET {path} with {_short(answer)}; "
                f"the contract wants {status}"
            )
        wanted = "application/json" if status < 400 else "application/problem+json"
        if answer.content_type != wanted:
            raise WrongAnswerError(
                f"the service {self._name} answers GET {path} as {answer.content_type!r}; "
                f"the contract wants {wanted!r}"
            )
        return answer

    def _get(self, path: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(self._address, timeout=_DEADLINE_S)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return Answer(
                response.status, response.headers.get("Content-Type", ""), response.read()
            )
        except (OSError, http.client.HTTPException) as error:
            raise WrongAnswerError(
                f"the service {self._name} does not answer GET {path} at {self._address}: {error!r}"
            ) from error
        finally:
            connection.close()


def _check_body(name: str, path: str, invoice: str, body: bytes) -> None:
    try:
        found = json.loads(body)
        right = list(found) == _KEYS and found["invoice_id"] == invoice
    except (ValueError, TypeError, KeyError):
        right = False
    if not right:
        raise WrongAnswerError(
            f"the service {name} answers GET {path} with a body that is not the contract's: "
            f"{body[:200]!r}; its keys are {', '.join(_KEYS)}"
        )


def _short(answer: Answer) -> str:
    return f"{answer.status} {answer.body[:160]!r}"
