"""Many calls at once: none is lost, none is answered twice."""

import asyncio
import struct
from uuid import uuid4

import pytest
import uvloop

from stub_payment.payments import payment_of_invoice
from tests.contract.rig import scaled
from tests.fakes.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    frame,
    literal,
    settings,
    window_update,
)
from tests.stub.peer import CALL, Peer, asked, call
from tests.stub.process import Stub

IN_FLIGHT = 512
BURSTS = scaled(200)
CONNECTIONS = 100
CALLS = scaled(10_000)
DEADLINE_S = 120.0


class Client(asyncio.Protocol):
    """A connection that makes calls and counts their answers; nothing else is read of these."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.good = 0
        self._rest = b""
        self._waits: dict[int, asyncio.Future[None]] = {}
        self._stream = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
