"""Signals as an error that unwinds: whatever was started is stopped on the way out."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bakeoff.errors import InterruptedRunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP raises InterruptedRunError in the main thread; a second
    one ends this process at once, and the far ends of the hosts clean up after it."""
    seen: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(InterruptedRunError.exit_code)
        seen.append(number)
        raise InterruptedRunError(f"interrupted by {signal.Signals(number).name}")

    # What is ignored stays ignored, as nohup wants it.
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
