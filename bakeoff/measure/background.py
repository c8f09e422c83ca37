"""What a service asks the database of its own accord, which is nobody's request.

The contract names these statements and fixes their texts, so they are known by text alone. An
idle sweeper sends one of them a tick.
"""

import re
from collections.abc import Mapping

# The contract's `attempt_sweep` and `key_expire`, byte for byte.
BACKGROUND = (
    "UPDATE payment_attempts SET lease_until = now() + $1::bigint * interval '1 millisecond', "
    "tries = tries + 1 WHERE id = ANY (ARRAY(SELECT id FROM payment_attempts WHERE "
    "state = 'pending' AND lease_until < now() AND next_try_at <= now() ORDER BY next_try_at "
    "LIMIT 10 FOR UPDATE SKIP LOCKED)) RETURNING id, invoice_id, account_id, amount_cents, "
    "currency, tries",
    "DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency_keys "
    "WHERE status IS NOT NULL AND created_at < now() - interval '24 hours' ORDER BY created_at "
    "LIMIT 1000 FOR UPDATE SKIP LOCKED))",
)
_CONSTANT = re.compile(r"'(?:[^']|'')*'|\$\d+|\b\d+\b")
# Drivers write these in upper or lower case.
_TRANSACTION = {"begin", "commit", "rollback"}


def split(calls: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Calls by normalised text: those of requests, and those of the background.

    BEGIN, COMMIT and ROLLBACK are the same statement in either case.
    """
    requests: dict[str, int] = {}
    background: dict[str, int] = {}
    for text, count in calls.items():
        name = text.upper() if text.lower() in _TRANSACTION else text
        kind = background if _without_constants(text) in _KNOWN else requests
        kind[name] = kind.get(name, 0) + count
    return requests, background


def _without_constants(text: str) -> str:
    # pg_stat_statements puts a parameter in the place of each constant.
    return _CONSTANT.sub("?", text)


_KNOWN = frozenset(map(_without_constants, BACKGROUND))
