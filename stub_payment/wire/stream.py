"""A request in the making, and then its call."""

import asyncio
from collections.abc import Awaitable, Coroutine

from google.protobuf.message import Message

from stub_payment.wire.routes import Route


class Stream:
    """What a connection keeps of a stream until it has ended. Equal to itself alone."""

    __slots__ = (
        "age_sweeps",
        "answer",
        "blocked",
        "body",
        "content_length",
        "ended",
        "held_bytes",
        "id",
        "length_bytes",
        "received_bytes",
        "request_id",
        "route",
        "task",
        "timeout_s",
        "window_bytes",
    )

    def __init__(
        self, stream_id: int, route: Route, timeout_s: float | None, request_id: bytes | None
    ) -> None:
        self.id = stream_id
        self.route = route
        self.timeout_s = timeout_s
        self.request_id = request_id
        self.content_length: int | None = None
        self.body: bytearray | None = None
        self.received_bytes = 0  # of DATA frames, as the window counts them
        self.length_bytes = 0  # those without padding
        self.ended = False  # whether the request has
        # What the peer granted beside its initial window, less what was sent.
        self.window_bytes = 0
        self.held_bytes = 0  # taken from the budget of unfinished messages
        self.blocked = False  # whether its answer was, at the last sweep
        self.age_sweeps = 0  # sweeps since it began to wait for the peer
        self.task: asyncio.Task[None] | None = None
        self.answer: Awaitable[Message] | None = None

    def close_answer(self, _task: asyncio.Task[None]) -> None:
        """Ends what was to be awaited, if it never was."""
        if isinstance(self.answer, Coroutine):
            self.answer.close()
