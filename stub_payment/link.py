"""The socket between the parent and one serving process: frames of a kind and a payload.

Its end of file is also how each side learns that the other is gone, however it went.
"""

import asyncio
import socket
import struct
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct(">BI")  # kind, bytes of payload


class Kind(IntEnum):
    """What a frame is. CONFIGURE, SNAPSHOT and RESET are each answered by one REPLY."""

    START = 1  # parent: ProcessOptions as JSON
    READY = 2  # process: its port in decimal
    FAILED = 3  # process: why it cannot serve, as text
    CONFIGURE = 4  # parent: a Behaviour
    SNAPSHOT = 5  # parent
    RESET = 6  # parent
    REPLY = 7  # process: Counters after SNAPSHOT, else empty
    DRAIN = 8  # parent: seconds of grace; the process ends by itself, without a reply


class Frame(NamedTuple):
    kind: Kind
    payload: bytes


class Link:
    """One end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Raises OSError where the other side is gone."""
        self._writer.write(HEADER.pack(kind, len(payload)) + payload)
        await self._writer.drain()

    async def receive(self) -> Frame | None:
        """The next frame, or None when the other side is gone."""
        try:
            kind, size = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            return Frame(Kind(kind), await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def close(self) -> None:
        """Ends the link at once; a `receive` that waits returns None."""
        self._writer.transport.abort()


async def open_link(end: socket.socket) -> Link:
    """A link over one end of a socket pair."""
    return Link(*await asyncio.open_unix_connection(sock=end))
