"""Everything that can go wrong, as one tree.

    BakeoffError                    exit code
    ├── UsageError                  2   wrong arguments, experiment or paths
    │   └── ResultsError            2   a results folder that cannot be read or written
    ├── RigError                    3   a part of the rig could not start or died
    │   ├── MissingToolError        3   something has to be installed first
    │   ├── StartError              3   a part did not become ready
    │   ├── PartDiedError           3   a part that served died
    │   ├── BuildError              3   a service did not build
    │   └── HostError               3   a host's far end cannot be reached or refuses
    ├── InvalidRunError             4   no figure of the run may be printed
    │   └── WrongAnswerError        4   a service answers wrongly
    ├── CheckFailedError            1   a check failed, was inconclusive or had no data
    └── InterruptedRunError         130 stopped by a signal; what was finished is kept

A message says what happened, where, which setting has to do with it, and the
way out. Only `bakeoff.cli` turns an error into an exit code.
"""

from typing import ClassVar


class BakeoffError(Exception):
    """The root: an error that a user can understand and act on."""

    exit_code: ClassVar[int] = 3


class UsageError(BakeoffError):
    """Wrong arguments, a wrong experiment, or a path that will not do."""

    exit_code = 2


class ResultsError(UsageError):
    """A results folder that cannot be written, read, or is none."""


class RigError(BakeoffError):
    """A part of the rig could not start, or died."""

    exit_code = 3


class MissingToolError(RigError):
    """A toolchain or program is missing; the message has the line that installs it."""


class StartError(RigError):
    """A part did not become ready within its deadline."""


class PartDiedError(RigError):
    """A part that was serving is gone."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


class BuildError(RigError):
    """A service did not build."""


class HostError(RigError):
    """The far end of a host cannot be reached, broke off, or refuses a request."""


class InvalidRunError(BakeoffError):
    """The run ended, but no figure of it may be printed."""

    exit_code = 4


class WrongAnswerError(InvalidRunError):
    """A service answers wrongly, or two services answer differently."""


class CheckFailedError(BakeoffError):
    """A `--check` failed, was inconclusive, or had no data."""

    exit_code = 1


class InterruptedRunError(BakeoffError):
    """Stopped by a signal; the finished rounds are kept."""

    exit_code = 130
