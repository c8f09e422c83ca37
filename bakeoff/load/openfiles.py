"""How many workers the limit of open files leaves a master room for: each is a connection."""

import logging
import resource
from pathlib import Path
from typing import Any

from bakeoff.errors import StartError

logger = logging.getLogger(__name__)

# More than a master can serve; a limit without end makes other programs slow.
_WANTED = 65_536
# For the page, its visitors, and files.
_SPARE = 64
_WAY_OUT = (
    "raise it before the master starts: `ulimit -n {wanted}` (over the hard limit as root), "
    "LimitNOFILE={wanted} in a systemd unit, --ulimit nofile={wanted} for a container"
)


def raise_limit() -> int:
    """Raises this process's limit of open files as far as it may; the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
        soft = reachable
    return _WANTED if soft == resource.RLIM_INFINITY else soft


class WorkerRoom:
    """Raises this process's limit as far as it may, and says when it will not do.

    StartError where `--expect-workers` asks for more workers than there is room for.
    """

    def __init__(self, environment: Any) -> None:
        self._runner = environment.runner
        self._limit = raise_limit()
        self.workers = self._limit - len([*Path("/proc/self/fd").iterdir()]) - _SPARE
        self._warned = False
        expected = environment.parsed_options.expect_workers
        if expected > self.workers:
            raise StartError(
                f"--expect-workers {expected}: this master may open {self._limit} files "
                f"(RLIMIT_NOFILE), which leaves room for {max(0, self.workers)} workers; "
                + _WAY_OUT.format(wanted=_rounded(expected + self._limit - self.workers))
            )
        environment.events.worker_connect.add_listener(self._on_worker_connect)

    def _on_worker_connect(self, **_: Any) -> None:
        # Locust says so before it books the worker.
        connected = len(self._runner.clients) + 1
        if connected >= self.workers and not self._warned:
            self._warned = True
            logger.error(
                "%d workers are connected, and this master may open %d files (RLIMIT_NOFILE): "
                "no more will get through; %s",
                connected,
                self._limit,
                _WAY_OUT.format(wanted=_rounded(2 * self._limit)),
            )


def _rounded(files: int) -> int:
    """The next power of two, as such limits usually are."""
    return 1 << (files - 1).bit_length()
