"""The address that is aimed at, taken apart once."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from bakeoff.load.engine.answers import Connection, Owner
from bakeoff.load.engine.poller import Poller
from bakeoff.load.engine.sockets import SocketConnection
from bakeoff.load.engine.tls import TlsConnection

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """Where to connect, the Host header, and what goes before each path."""

    host: str
    port: int
    tls: bool
    authority: str
    prefix: str

    def connection(self, owner: Owner, poller: Poller) -> Connection:
        """A connection to it that is not open yet."""
        if self.tls:
            return TlsConnection(owner, self.host, self.port)
        return SocketConnection(owner, poller, self.host, self.port)


def parse_target(url: str) -> Target:
    """The target behind `http://host[:port][/prefix]`; ValueError says what is wrong with it."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"the host {url!r} must be http://HOST[:PORT] or https://HOST[:PORT]")
    if parts.query or parts.fragment or parts.username:
        raise ValueError(f"the host {url!r} must have no user, query or fragment")
    default = _PORTS[parts.scheme]
    port = parts.port or default
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Target(
        host=parts.hostname,
        port=port,
        tls=parts.scheme == "https",
        authority=name if port == default else f"{name}:{port}",
        prefix=parts.path.rstrip("/"),
    )
