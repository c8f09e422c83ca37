"""An HTTP/1.1 client on asyncio that keeps connections, and heeds `Connection: close`."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.contract.problems import PREFIX
from tests.contract.wire import Headers, request_bytes

DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, times on the monotonic clock. Status 0: no answer, and `failure`
    says why not."""

    sent_s: float
    done_s: float
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str = ""

    @property
    def took_s(self) -> float:
        """From before it had a connection until its answer."""
        return self.done_s - self.sent_s

    @property
    def problem(self) -> str:
        """The name of the problem that it is, or empty."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        return str(json.loads(self.body)["type"]).removeprefix(PREFIX)

    @property
    def closes(self) -> bool:
        """Whether the connection was to be closed."""
        return self.headers.get("connection") == "close"


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Client:
    """Requests of one account, each on an idle connection or on a new one."""

    def __init__(self, base_url: str, token: str) -> None:
        parts = urlsplit(base_url)
        assert parts.hostname is not None and parts.port is not None
        self._address = (parts.hostname, parts.port)
        self._host = parts.netloc
        self._token = token
        self._idle: list[Connection] = []
        self.under_way = 0

    async def send(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Outcome:
        """One request, never sent twice."""
        more = [("Authorization", f"Bearer {self._token}")]
        if body is not None:
            more.append(("Content-Type", "application/json"))
        data = request_bytes(method, path, self._host, [*more, *headers], body)
        sent_s = time.monotonic()
        self.under_way += 1
        try:
            async with asyncio.timeout(deadline_s):
                status, found, content = await self._exchange(data)
        except (OSError, EOFError, TimeoutError) as error:
            return Outcome(sent_s, time.monotonic(), failure=f"{type(error).__name__}: {error}")
        finally:
            self.under_way -= 1
        return Outcome(sent_s, time.monotonic(), status, found, content)

    async def get(self, path: str, request_id: str = "") -> Outcome:
        """A GET."""
        return await self.send("GET", path, [("X-Request-Id", request_id)] if request_id else ())

    async def pay(self, invoice: str, key: str, deadline_s: float = DEADLINE_S) -> Outcome:
        """A payment of an invoice under a key."""
        path, headers = f"/v1/invoices/{invoice}/pay", [("Idempotency-Key", key)]
        return await self.send("POST", path, headers, b"{}", deadline_s)

    async def open(self, count: int) -> None:
        """Opens so many connections, to be used later."""
        self._idle += await asyncio.gather(*(self._connect() for _ in range(count)))

    def close(self) -> None:
        """Closes what is idle."""
        while self._idle:
            self._idle.pop()[1].close()

    async def _connect(self) -> Connection:
        return await asyncio.open_connection(*self._address)

    async def _exchange(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(first.split(" ")[1]), headers, body


async def open_load(
    send: Callable[[int], Coroutine[Any, Any, Outcome]],
    rate_per_s: float,
    goes_on: Callable[[], bool],
) -> list[Outcome]:
    """Sends requests at a rate, whatever becomes of them, while `goes_on`; all outcomes, in the
    order of sending. `send` is given the number of the request."""
    start_s = time.monotonic()
    sent: list[asyncio.Task[Outcome]] = []
    while goes_on():
        due = int((time.monotonic() - start_s) * rate_per_s) + 1
        sent += [asyncio.create_task(send(number)) for number in range(len(sent), due)]
        await asyncio.sleep(1 / rate_per_s)
    return list(await asyncio.gather(*sent))


def of_status(outcomes: Sequence[Outcome], *statuses: int) -> list[Outcome]:
    """Those with one of these statuses."""
    return [outcome for outcome in outcomes if outcome.status in statuses]
