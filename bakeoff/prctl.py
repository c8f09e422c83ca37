"""What a process asks of the kernel about its own parent and children: prctl, which Python does
not wrap."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# Found at import, so that a child just after its fork loads nothing.
_prctl = ctypes.CDLL(None).prctl


def end_with(parent: int) -> None:
    """Has the kernel kill this process, a child of `parent`, when that ends in any way at all,
    even by SIGKILL. SystemExit where it is gone already.

    It is the thread which started this process that must not end before.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(f"the process {parent}, which started this one, is gone")


def adopt_orphans() -> None:
    """Has whatever is orphaned below this process come to it and not to init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
