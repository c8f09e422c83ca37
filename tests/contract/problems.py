"""The contract's table of problems, and what every answer has to have."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from tests.contract.wire import Answer

PREFIX = "https://bakeoff.invalid/problems/"
ID = "The id in the path is not a lower-case UUID."
QUERY = "The query is not one that this operation takes."
KEY = "The Idempotency-Key header is missing, repeated or not 1 to 255 visible ASCII characters."
UNREADABLE = "The body could not be read."
FORM = "The body is not a flat JSON object with distinct names."
FIELDS = "The body has fields that are wrong."
NO_SUBSCRIPTION = "There is no such subscription."
NO_INVOICE = "There is no such invoice."
NO_ROUTE = "There is no such resource."


class Problem(NamedTuple):
    """A row of the table; `detail` is empty where there are several."""

    status: int
    title: str
    detail: str


PROBLEMS: Mapping[str, Problem] = {
    "malformed": Problem(400, "Malformed request", ""),
    "unauthenticated": Problem(401, "Unauthenticated", "A valid bearer token is required."),
    "payment_declined": Problem(
        402, "Payment declined", "The payment provider declined the payment."
    ),
    "forbidden": Problem(403, "Forbidden", "The token's account does not exist."),
    "not_found": Problem(404, "Not found", ""),
    "method_not_allowed": Problem(
        405, "Method not allowed", "The resource does not support this method."
    ),
    "body_timeout": Problem(408, "Body too slow", "The body did not arrive in time."),
    "already_paid": Problem(409, "Already paid", "The invoice is paid."),
    "has_invoices": Problem(409, "Has invoices", "The subscription has invoices."),
    "not_draft": Problem(409, "Not a draft", "The invoice is not a draft."),
    "not_payable": Problem(409, "Not payable", "Only an open invoice can be paid."),
    "payment_in_progress": Problem(
        409, "Payment in progress", "A payment of the invoice is in progress."
    ),
    "transition_not_allowed": Problem(
        409, "Transition not allowed", "The status cannot change to this one."
    ),
    "precondition_failed": Problem(412, "Precondition failed", "The resource has another version."),
    "body_too_large": Problem(413, "Body too large", "The body is over 1 MiB."),
    "unsupported_media_type": Problem(
        415,
        "Unsupported media type",
        "The body has to be application/json in UTF-8, without an encoding.",
    ),
    "idempotency_key_reused": Problem(
        422, "Idempotency key reused", "The key was used for another request."
    ),
    "invalid": Problem(422, "Invalid fields", "The body has values that are not allowed."),
    "precondition_required": Problem(
        428, "Precondition required", "The request needs an If-Match header."
    ),
    "payment_outcome_unknown": Problem(
        503, "Payment outcome unknown", "The payment may have been made; send the same key again."
    ),
}
RETRIED = ("payment_in_progress",)


def check_problem(
    answer: Answer,
    name: str,
    path: str,
    *,
    detail: str = "",
    errors: Sequence[tuple[str, str]] | None = None,
    status: int | None = None,
    **more: str | None,
) -> None:
    """The answer is this problem, byte for byte, for a request to `path`."""
    problem = PROBLEMS[name]
    expected: dict[str, object] = {
        "type": PREFIX + name,
        "title": problem.title,
        "status": status or problem.status,
        "detail": detail or problem.detail,
        "instance": path,
        "request_id": answer.header("x-request-id"),
        **more,
    }
    if errors is not None:
        expected["errors"] = [{"field": field, "detail": text} for field, text in errors]
    body = json.dumps(expected, separators=(",", ":"), ensure_ascii=False)
    assert (answer.status, answer.body.decode()) == (expected["status"], body)
    assert answer.header("content-type") == "application/problem+json"


def check_answer(answer: Answer, method: str) -> None:
    """What the contract asks of every answer, whatever was asked."""
    request_id = answer.header("x-request-id")
    assert request_id is not None, answer
    if answer.status in (204, 304):
        assert answer.body == b""
        assert answer.header("content-type") is None, answer
        assert answer.header("content-length") is None, answer
    else:
        assert answer.header("content-length") is not None, answer
        if method != "HEAD":
            assert answer.header("content-length") == str(len(answer.body))
        kind = "application/problem+json" if answer.status >= 400 else "application/json"
        if answer.header("content-type") != kind:  # a 503 of /readyz is no problem
            assert (answer.status, answer.header("content-type")) == (503, "application/json")
    assert answer.header("www-authenticate") == ("Bearer" if answer.status == 401 else None)
    again = answer.status in (503, 504) or any(
        f'"{PREFIX}{name}"'.encode() in answer.body for name in RETRIED
    )
    if method != "HEAD":
        assert answer.header("retry-after") == ("1" if again else None), answer
    if answer.status not in (204, 405):
        assert answer.header("allow") is None, answer


def is_made_id(text: str | None) -> bool:
    """Whether a service made this id: a version 4 UUID in lower case."""
    try:
        found = UUID(text or "")
    except ValueError:
        return False
    return found.version == 4 and str(found) == text
