"""A child of the far end up to the moment when it becomes its program: its user, its logs, its
cores, and that it ends with us."""

import contextlib
import os
import pwd
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bakeoff.hosts.programs import Refusal, checked_file
from bakeoff.hosts.records import ProcessSpec
from bakeoff.prctl import end_with

_LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


def start_child(
    spec: ProcessSpec, command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    """Starts it in a session of its own; Refusal where that will not do.

    The thread that calls this must be there as long as the child.
    """
    user = _user(spec)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(_log(spec.log))
        error_log = stack.enter_context(_log(spec.error_log)) if spec.error_log else log
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=error_log,
                cwd=folder,
                env=environment,
                start_new_session=True,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
                preexec_fn=_preparation(spec.cpus),
            )
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise Refusal(f"cannot start {spec.name} ({' '.join(command)}): {error}") from error


def _user(spec: ProcessSpec) -> pwd.struct_passwd | None:
    if spec.user is None:
        return None
    try:
        user = pwd.getpwnam(spec.user)
    except (KeyError, ValueError) as error:
        raise Refusal(f"there is no user {spec.user!r} to run {spec.name} as") from error
    if user.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise Refusal(f"only root can run {spec.name} as another user ({spec.user})")
    return user


@contextlib.contextmanager
def _log(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(checked_file(path), _LOG_FLAGS, 0o600)
    except OSError as error:
        raise Refusal(f"cannot write the log {path}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _preparation(cpus: frozenset[int] | None) -> Callable[[], None]:
    """What a child does before it becomes its program."""
    parent = os.getpid()

    def prepare() -> None:
        end_with(parent)
        if cpus is not None:
            os.sched_setaffinity(0, cpus)

    return prepare
