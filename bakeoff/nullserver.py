"""A server with known answers: what the generator is held against.

`python -m bakeoff.nullserver --mode MODE --port 0` prints one JSON line {"port": N} when it
listens and ends on SIGTERM. Modes: `at-once`; `fixed` (--ms); `lognormal` (median --ms, --sigma);
`stall` (--ms, but holds everything for the first --hold-ms of each --period-ms); `mm1` (one server
with a queue, exponential service of mean --ms).

With --request-ids each answer has an X-Request-Id of its own, so that no two have the same head.
With --log FILE it keeps, for each request to a path that ends in /NUMBER, the number and when it
was received and answered (nanoseconds of CLOCK_MONOTONIC), and writes them on SIGTERM as rows of
three 64-bit integers.
"""

import argparse
import asyncio
import heapq
import itertools
import json
import random
import re
import signal
import socket
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic_ns
from typing import cast

import uvloop

from bakeoff.timerfd import TimerFd

_NS_IN_MS = 1_000_000
_BODY = b'{"ok":true}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(_BODY)
_END = b"\r\n\r\n"
_NUMBER = re.compile(rb"[A-Z]+ \S*?/(\d+) HTTP")

# When a request that was received at an instant is to be answered; both in nanoseconds.
AnswerAt = Callable[[int], int]


class Server:
    """Answers requests at the instants that `answer_at` names (None: at once), with the next of
    `answers`."""

    def __init__(self, answer_at: AnswerAt | None, answers: Iterator[bytes], *, log: bool) -> None:
        self.answer_at = answer_at
        self.answers = answers
        self.log: array[int] | None = array("q") if log else None
        self._due: list[tuple[int, int, int, int, asyncio.Transport]] = []
        self._order = 0
        self._timer = TimerFd()
        asyncio.get_running_loop().add_reader(self._timer.fileno(), self._tick)

    def take(self, received_ns: int, number: int, transport: asyncio.Transport) -> None:
        """A request is in."""
        if self.answer_at is None:
            self._answer(received_ns, number, transport)
            return
        due_ns = self.answer_at(received_ns)
        self._order += 1
        first = self._due[0][0] if self._due else None
        heapq.heappush(self._due, (due_ns, self._order, received_ns, number, transport))
        if first is None or due_ns < first:
            self._timer.arm(due_ns)

    def _tick(self) -> None:
        due = self._due
        while due and due[0][0] <= monotonic_ns():
            _, _, received_ns, number, transport = heapq.heappop(due)
            self._answer(received_ns, number, transport)
        if due:
            self._timer.arm(due[0][0])
        else:
            self._timer.disarm()

    def _answer(self, received_ns: int, number: int, transport: asyncio.Transport) -> None:
        if self.log is not None:
            self.log.extend((number, received_ns, monotonic_ns()))
        if not transport.is_closing():
            transport.write(next(self.answers))


class Requests(asyncio.Protocol):
    """Reads requests without a body."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        server = self._server
        plain = server.answer_at is None and server.log is None and not self._rest
        if plain and data.endswith(_END) and data.count(_END) == 1:
            # Nothing to know of the request but that it is there.
            self._transport.write(next(server.answers))
            return
        received_ns = monotonic_ns()
        *requests, self._rest = (self._rest + data).split(_END)
        for request in requests:
            found = _NUMBER.match(request)
            server.take(received_ns, int(found[1]) if found else -1, self._transport)


def same_answers() -> Iterator[bytes]:
    """The same answer again and again."""
    return itertools.repeat(_HEAD + b"\r\n" + _BODY)


def answers_with_ids() -> Iterator[bytes]:
    """Answers that differ in their X-Request-Id, as long as a UUID."""
    return (
        b"%bX-Request-Id: %036x\r\n\r\n%b" % (_HEAD, number, _BODY) for number in itertools.count()
    )


def fixed(ms: float) -> AnswerAt:
    """Answers after `ms`."""
    delay_ns = int(ms * _NS_IN_MS)
    return lambda received_ns: received_ns + delay_ns


def lognormal(median_ms: float, sigma: float, rng: random.Random) -> AnswerAt:
    """Answers after a lognormal time."""
    scale_ns = median_ms * _NS_IN_MS
    return lambda received_ns: received_ns + int(scale_ns * rng.lognormvariate(0, sigma))


def stall(ms: float, hold_ms: float, period_ms: float, start_ns: int) -> AnswerAt:
    """Answers after `ms`, but what comes in the first `hold_ms` of a period waits for its end."""
    delay_ns, hold_ns, period_ns = (int(one * _NS_IN_MS) for one in (ms, hold_ms, period_ms))

    def answer_at(received_ns: int) -> int:
        phase_ns = (received_ns - start_ns) % period_ns
        return received_ns + max(0, hold_ns - phase_ns) + delay_ns

    return answer_at


def mm1(mean_ms: float, rng: random.Random) -> AnswerAt:
    """One server with a queue: each waits for those before it, then an exponential time."""
    free_ns = 0

    def answer_at(received_ns: int) -> int:
        nonlocal free_ns
        service_ns = int(rng.expovariate(1) * mean_ms * _NS_IN_MS)
        free_ns = max(received_ns, free_ns) + service_ns
        return free_ns

    return answer_at


def policy(options: argparse.Namespace) -> AnswerAt | None:
    """The mode that the arguments ask for."""
    rng = random.Random(options.seed)
    modes: dict[str, Callable[[], AnswerAt | None]] = {
        "at-once": lambda: None,
        "fixed": lambda: fixed(options.ms),
        "lognormal": lambda: lognormal(options.ms, options.sigma, rng),
        "stall": lambda: stall(options.ms, options.hold_ms, options.period_ms, monotonic_ns()),
        "mm1": lambda: mm1(options.ms, rng),
    }
    return modes[options.mode]()


async def serve(options: argparse.Namespace) -> None:
    """Serves until SIGTERM or SIGINT, then writes the log."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    answers = answers_with_ids() if options.request_ids else same_answers()
    server = Server(policy(options), answers, log=options.log is not None)
    listener = await loop.create_server(
        lambda: Requests(server), options.host, options.port, backlog=socket.SOMAXCONN
    )
    print(json.dumps({"port": listener.sockets[0].getsockname()[1]}), flush=True)
    await stopped.wait()
    listener.close()
    if options.log is not None and server.log is not None:
        Path(options.log).write_bytes(server.log.tobytes())


def main() -> None:
    """`python -m bakeoff.nullserver`."""
    parser = argparse.ArgumentParser(description="A server with known answers.")
    parser.add_argument(
        "--mode",
        choices=["at-once", "fixed", "lognormal", "stall", "mm1"],
        default="at-once",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ms", type=float, default=2.0)
    parser.add_argument("--sigma", type=float, default=0.5)
    parser.add_argument("--hold-ms", type=float, default=500.0)
    parser.add_argument("--period-ms", type=float, default=5000.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--request-ids", action="store_true")
    parser.add_argument("--log")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
