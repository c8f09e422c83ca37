"""What a running comparison tells whoever watches: a protocol, so that only `display` prints."""

from typing import Protocol


class Progress(Protocol):
    """Told about the stages of a run as they happen. Times in seconds."""

    def note(self, text: str) -> None:
        """Something worth a line of its own: a build, a warning, a block that is run again."""

    def plan(self, total_s: float) -> None:
        """About how long all that is left will take."""

    def phase(self, where: str, name: str, duration_s: float) -> None:
        """A phase begins; `where` says which block and service, such as `block 2/6  rust`."""

    def tick(self, elapsed_s: float, rate_rps: float | None, p99_ms: float | None) -> None:
        """The running phase: seconds since its start, the last second's rate and p99."""


class Silent:
    """Tells nobody."""

    def note(self, text: str) -> None:
        """Dropped."""

    def plan(self, total_s: float) -> None:
        """Dropped."""

    def phase(self, where: str, name: str, duration_s: float) -> None:
        """Dropped."""

    def tick(self, elapsed_s: float, rate_rps: float | None, p99_ms: float | None) -> None:
        """Dropped."""
