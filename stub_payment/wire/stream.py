"""A request in the making, and then its call."""

import asyncio
from collections.abc import Awaitable, Coroutine

from google.protobuf.message import Message

from stub_payment.wire.routes import Route


class Stream:
    """What a connection keeps of a stream until it has ended. Equal to itself alone."""

    # Of the class until they change: most streams are answered before any of them does.
    content_length: int | None = None
    body: bytearray | None = None
    received_bytes = 0  # of DATA frames, as the window counts them
    length_bytes = 0  # those without padding
    ended = False  # whether the request has
    window_bytes = 0  # what the peer granted beside its initial window, less what was sent
    held_bytes = 0  # taken from the budget of messages
    blocked = False  # whether its answer was, at the last sweep
    age_sweeps = 0  # since it began to wait for the peer
    task: asyncio.Task[None] | None = None
    answer: Awaitable[Message] | None = None

    def __init__(
        self, stream_id: int, route: Route, timeout_s: float | None, request_id: bytes | None
    ) -> None:
        self.id = stream_id
        self.route = route
        self.timeout_s = timeout_s
        self.request_id = request_id

    def close_answer(self, _task: asyncio.Task[None]) -> None:
        """Ends what was to be awaited, if it never was."""
        if isinstance(self.answer, Coroutine):
            self.answer.close()
