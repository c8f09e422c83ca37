"""A timer of the kernel, exact to microseconds, for event loops whose own timers are not.

libuv's timers (and so uvloop's) tick in whole milliseconds. Python wraps timerfd from 3.13 on;
until then it is called through ctypes.
"""

import ctypes
import os
import time
from typing import Self

_NS = 1_000_000_000
_TFD_TIMER_ABSTIME = 1


class _ItimerSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerFd:
    """A file descriptor that becomes readable at an instant of CLOCK_MONOTONIC.

    Setting it again also takes back that it is readable, so nobody needs to read it.
    """

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, flags)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._settime = libc.timerfd_settime
        self._spec = _ItimerSpec()
        self._reference = ctypes.byref(self._spec)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._fd

    def arm(self, when_ns: int) -> None:
        """Readable from `when_ns` on (CLOCK_MONOTONIC, over 0); at once where that is past."""
        spec = self._spec
        spec.value_s, spec.value_ns = divmod(when_ns, _NS)
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._reference, None)

    def disarm(self) -> None:
        """Not readable until armed again."""
        spec = self._spec
        spec.value_s = spec.value_ns = 0
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._reference, None)

    def close(self) -> None:
        """Gives the descriptor back; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
