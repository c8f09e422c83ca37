"""A request in the making, and then its call."""

import asyncio

from stub_payment.wire.routes import Route


class Stream:
    """What a connection keeps of a stream until it has ended. Equal to itself alone."""

    __slots__ = (
        "age_sweeps",
        "body",
        "content_length",
        "ended",
        "id",
        "length",
        "received",
        "request_id",
        "route",
        "task",
        "timeout_s",
        "window",
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
        self.received = 0  # bytes of DATA frames, as the window counts them
        self.length = 0  # those without padding
        self.ended = False  # whether the request has
        # What the peer granted beside its initial window, less what was sent.
        self.window = 0
        self.age_sweeps = 0  # sweeps since it began to wait for the peer
        self.task: asyncio.Task[None] | None = None
