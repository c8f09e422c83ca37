"""How long the payment stub takes, asked from outside by its health service.

A servicer's own clock is blind to the engine around it: what waits in the engine has not reached
the servicer yet. The health service goes the same way through the engine and is in no audit.
"""

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_INTERVAL_S = 0.1
_DEADLINE_S = 5.0
_AT_REST = 30


class StubProbe(AbstractContextManager["StubProbe"]):
    """Asks one of the stub's targets ten times a second, while it is entered, from a thread."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._samples: list[tuple[float, float]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="stub-probe", daemon=True)
        self.at_rest_ms: list[float] = []

    def __enter__(self) -> Self:
        # The caller's own share, which the same question under load has too.
        # The first one opens the channel.
        self._ask()
        self.at_rest_ms = [self._ask() for _ in range(_AT_REST)]
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(_DEADLINE_S + 1)
        self._channel.close()

    def between(self, start_s: float, end_s: float) -> list[float]:
        """Milliseconds of each answer asked for between two moments of CLOCK_MONOTONIC."""
        return [taken for at_s, taken in list(self._samples) if start_s <= at_s <= end_s]

    def _ask_on(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            at_s = time.monotonic()
            self._samples.append((at_s, self._ask()))

    def _ask(self) -> float:
        began = time.monotonic()
        try:
            self._health.Check(health_pb2.HealthCheckRequest(), timeout=_DEADLINE_S)
        except grpc.RpcError:
            # No answer is as slow as the deadline; a stub that died is noticed elsewhere.
            return _DEADLINE_S * 1000
        return (time.monotonic() - began) * 1000
