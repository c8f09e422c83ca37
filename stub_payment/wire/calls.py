"""Calls of the servicer: a message in, an answer or a status into the outbox."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError, Message

from stub_payment.refusal import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    UNKNOWN,
    Refusal,
    ResetConnection,
)
from stub_payment.wire.methods import Method
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.stream import Stream

MAXIMUM_REQUEST_ID_BYTES = 128  # of those that are remembered; the services allow 64

# An encoded answer, a message to await, or what went wrong.
Outcome = bytes | Awaitable[Message] | Exception

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owner:
    """What a call does to its connection."""

    flush_soon: Callable[[], None]
    retire: Callable[[], None]
    abort: Callable[[], None]


class Calls:
    """Calls of one connection."""

    def __init__(self, outbox: Outbox, end: Callable[[Stream], None], owner: Owner) -> None:
        self._outbox = outbox
        self._end = end
        self._owner = owner

    def start(self, stream: Stream, method: Method, message: bytes) -> None:
        """Answers at once where the servicer does, else when it has."""
        if stream.timeout_s == 0:
            self.refuse(stream, Refusal(DEADLINE_EXCEEDED, "the deadline had passed"))
        else:
            self.settle(stream, self.ask(method, message, stream.request_id))

    def ask(self, method: Method, message: bytes, request_id: bytes | None) -> Outcome:
        """What the servicer makes of a message."""
        try:
            if request_id is None and (encoded := method.at_once(message)) is not None:
                return encoded
            answer = method.call(
                method.parse(message),
                None if request_id is None else _text(request_id),
                self._owner.retire,
            )
            return answer.SerializeToString() if isinstance(answer, Message) else answer
        except DecodeError:
            return Refusal(INTERNAL, "the request is no message of this method")
        except Exception as error:  # noqa: BLE001 -- whatever it is, `settle` sees to it
            return error

    def settle(self, stream: Stream, outcome: Outcome) -> None:
        """Gives a stream what the servicer made of its message, now or when that is there."""
        if isinstance(outcome, bytes):
            self._answer(stream, outcome)
        elif isinstance(outcome, Exception):
            self._fail(stream, outcome)
        else:
            stream.answer = outcome
            stream.task = asyncio.get_running_loop().create_task(self._wait(stream, outcome))

    def refuse(self, stream: Stream, refusal: Refusal) -> None:
        """Ends a stream with a status."""
        self._outbox.refuse(stream, refusal)
        self._end(stream)

    def _answer(self, stream: Stream, message: bytes) -> None:
        if self._outbox.answer(stream, message):
            self._end(stream)

    def _fail(self, stream: Stream, error: Exception) -> None:
        match error:
            case Refusal():
                self.refuse(stream, error)
            case ResetConnection():
                self._owner.abort()
            case _:  # a bug of ours: its caller hears of it
                _log.error("a call failed", exc_info=error)
                self.refuse(stream, Refusal(UNKNOWN, "the stub failed; its error output says how"))

    async def _wait(self, stream: Stream, answer: Awaitable[Message]) -> None:
        """A task of its own, which is cancelled where the caller leaves."""
        deadline = asyncio.timeout(stream.timeout_s)
        try:
            async with deadline:
                message = await answer
        except Exception as error:  # noqa: BLE001 -- its caller hears of it
            if deadline.expired() and isinstance(error, TimeoutError):
                error = Refusal(DEADLINE_EXCEEDED, "the deadline passed")
            self._fail(stream, error)
        else:
            self._answer(stream, message.SerializeToString())
        self._owner.flush_soon()


def _text(request_id: bytes) -> str:
    return request_id[:MAXIMUM_REQUEST_ID_BYTES].decode(errors="replace")
