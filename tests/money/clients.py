"""Clients that pay, and note what they sent and what they were told."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import TypeVar

from tests.contract.api import Api
from tests.contract.rig import TEST_SEED
from tests.contract.wire import Answer, connect, host_of, request_bytes
from tests.money.history import FINAL, Call
from tests.money.link import RESET

BODY = b"{}"
# The same to a reader of JSON, another request to the service.
OTHER_BODY = b"{ }"
Given = TypeVar("Given")
Result = TypeVar("Result")


class Clients:
    """Any number of clients of one account, to be used from many threads; `calls` is their log."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.calls: list[Call] = []
        self._lock = threading.Lock()

    def pay(self, invoice: str, key: str, body: bytes = BODY) -> Call:
        """Sends one request, and notes what came back."""
        began_s = time.monotonic()
        try:
            answer: Answer | None = self.api.pay(invoice, key, body)
        except (OSError, HTTPException):
            answer = None
        return self._noted(invoice, key, body, began_s, answer)

    def insist(self, invoice: str, key: str, deadline_s: float, pause_s: float = 0.05) -> Call:
        """Sends the same until the answer is a final one; AssertionError after `deadline_s`."""
        end_s = time.monotonic() + deadline_s
        while True:
            call = self.pay(invoice, key)
            if call.status in FINAL:
                return call
            assert time.monotonic() < end_s, f"no final answer within {deadline_s} s: {call}"
            time.sleep(pause_s)

    def hang_up(self, invoice: str, key: str, delay_s: float, abrupt: bool) -> Call:
        """Sends one request and hangs up `delay_s` later, whatever has come back; `abrupt` by a
        reset of the connection."""
        base_url = self.api.target.base_url
        headers = [
            ("Authorization", f"Bearer {self.api.token}"),
            ("Content-Type", "application/json"),
            ("Idempotency-Key", key),
        ]
        path = f"/v1/invoices/{invoice}/pay"
        began_s = time.monotonic()
        with connect(base_url) as connection:
            connection.sendall(request_bytes("POST", path, host_of(base_url), headers, BODY))
            time.sleep(delay_s)
            if abrupt:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return self._noted(invoice, key, BODY, began_s, None)

    def _noted(
        self, invoice: str, key: str, body: bytes, began_s: float, answer: Answer | None
    ) -> Call:
        call = Call(invoice, key, body, began_s, time.monotonic(), None)
        if answer is not None:
            call = call._replace(
                status=answer.status,
                content=answer.body,
                replayed=answer.header("idempotency-replayed") == "true",
            )
        with self._lock:
            self.calls.append(call)
        return call


def at_once(
    work: Callable[[Given], Result], given: Iterable[Given], workers: int = 32
) -> list[Result]:
    """The work on each, by so many threads; an error of one is raised."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, given))


def seeded(test: str) -> random.Random:
    """Chance of the run's seed, which is printed, and of no other test's."""
    print(f"{test}: BAKEOFF_SEED={TEST_SEED}")
    return random.Random(f"{TEST_SEED}/{test}")
