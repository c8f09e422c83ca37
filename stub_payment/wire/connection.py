"""One connection: what it is made of, its clocks, its end."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

from stub_payment.wire import frames, limits
from stub_payment.wire.bodies import Bodies
from stub_payment.wire.calls import Owner
from stub_payment.wire.express import Express
from stub_payment.wire.frames import ConnectionFault, ErrorCode
from stub_payment.wire.heads import HeadReader, Provider
from stub_payment.wire.limits import Allowance, Budget
from stub_payment.wire.methods import Methods
from stub_payment.wire.outbox import Outbox
from stub_payment.wire.reader import FrameReader
from stub_payment.wire.settings import OURS
from stub_payment.wire.signals import Signals
from stub_payment.wire.streams import Streams
from stub_payment.wire.watch import Watch

_GREETING = frames.settings(OURS) + frames.window_update(
    0, limits.CONNECTION_WINDOW_BYTES - frames.DEFAULT_WINDOW
)


@dataclass(frozen=True)
class Shared:
    """What all connections of an engine have in common."""

    methods: Methods
    provider: Provider
    held: Budget = field(default_factory=lambda: Budget(limits.MAXIMUM_HELD_BYTES))
    connections: "set[Connection]" = field(default_factory=set)

    def sweep(self) -> None:
        """Ends what waits too long for its peer, and sets how many streams a connection may have;
        called every `limits.SWEEP_S`."""
        open_streams = sum(connection.open_streams for connection in self.connections)
        crowded = open_streams > limits.MAXIMUM_OPEN_STREAMS
        maximum = limits.STREAMS_IN_A_CROWD if crowded else limits.MAXIMUM_CONCURRENT_STREAMS
        for connection in list(self.connections):
            connection.sweep(maximum)


class Connection(asyncio.Protocol):
    """Speaks HTTP/2 with one peer."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._chatter = self._allowance(
            "frames that carry nothing", limits.CHATTER_BURST, limits.CHATTER_PER_S
        )
        self._heads = HeadReader(shared.methods, shared.provider)
        self._streams = self._make_streams()
        self._reader = self._make_reader()
        self._transport: asyncio.Transport | None = None
        self._watch = Watch(self._reader, self._streams, self._outbox)
        self._flushing = False
        self._closing = False
        self._closing_sweeps = 0

    def _allowance(self, what: str, burst: int, per_s: float) -> Allowance:
        return Allowance(what, burst, per_s, self._loop.time)

    def _make_streams(self) -> Streams:
        return Streams(
            self._heads,
            Bodies(self._shared.held, self._chatter),
            self._outbox,
            Owner(self._flush_soon, self.retire, self.abort),
            self._allowance("resets", limits.RESETS_BURST, limits.RESETS_PER_S),
            self._chatter,
        )

    def _make_reader(self) -> FrameReader:
        streams = self._streams
        express = Express(self._heads, streams, streams.calls, self._outbox)
        reader = FrameReader(on_block=streams.block, express=express.take)
        settings = self._allowance("SETTINGS", limits.SETTINGS_BURST, limits.SETTINGS_PER_S)
        signals = Signals(reader, streams, self._outbox, self.retire, settings, self._chatter)
        reader.listen({frames.DATA: streams.data, **signals.handlers}, unknown=signals.unknown)
        return reader

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._shared.connections) >= limits.MAXIMUM_CONNECTIONS:
            self.abort()
            return
        self._shared.connections.add(self)
        self._transport.set_write_buffer_limits(high=limits.MAXIMUM_UNSENT_BYTES)
        self._transport.write(_GREETING)

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        self._shared.connections.discard(self)
        self._streams.cancel_all()

    def pause_writing(self) -> None:
        """More is unsent than a peer may leave unread."""
        self.abort()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._reader.feed(data)
        except ConnectionFault as fault:
            self._fail(fault)
        else:
            self._flush()

    # What the engine and the calls do.

    def retire(self) -> None:
        """Takes no new streams, ends with the last one that it has."""
        if not self._streams.refuses_all:
            self._streams.refuses_all = True
            last_id = max(0, self._streams.last_id)
            self._outbox.frames.append(frames.goaway(last_id, ErrorCode.NO_ERROR))
            self._flush_soon()

    def abort(self) -> None:
        """Closes at once."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def open_streams(self) -> int:
        """Requests and answers under way."""
        return len(self._streams)

    def sweep(self, maximum_streams: int) -> None:
        """Ends what waits too long for the peer; from now on it may have so many streams."""
        self._streams.maximum = maximum_streams
        if self._closing:
            self._closing_sweeps += 1
            heard = self._closing_sweeps > 1 and not self._unsent_bytes()
            if heard or self._closing_sweeps * limits.SWEEP_S > limits.BLOCKED_TIMEOUT_S:
                self.abort()
            return
        try:
            self._watch.sweep(self._unsent_bytes())
        except ConnectionFault as fault:
            self._fail(fault)

    def _unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def _fail(self, fault: ConnectionFault) -> None:
        last_id = max(0, self._streams.last_id)
        self._outbox.frames.append(frames.goaway(last_id, fault.code, fault.reason))
        self._streams.cancel_all()
        self._close()

    def _close(self) -> None:
        """Says what is left to say. The peer gets a while to hear it: a socket that is closed on
        unread bytes loses what it sent last."""
        self._flush(closes=False)
        self._closing = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _flush_soon(self) -> None:
        if not self._flushing and not self._closing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self, closes: bool = True) -> None:
        self._flushing = False
        out = self._outbox.frames
        if out and not self._closing and self._transport is not None:
            self._transport.write(b"".join(out))
            out.clear()
        if closes and self._streams.refuses_all and not len(self._streams):
            self._close()
