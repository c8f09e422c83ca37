"""What owns other things for as long as it is entered: processes, channels, servers, watches."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self


class Owner(ABC):
    """A context manager that ends on exit what it began on entry, the last first.

    Where something cannot begin, what had begun until then is ended, and the error goes on. No
    error of the body is held back.
    """

    # What it owns; more may be entered on it until the exit.
    _stack: ExitStack

    @abstractmethod
    def _begin(self, stack: ExitStack) -> None:
        """Begins everything and enters it on `stack`, each as soon as it has to be ended."""

    def await_ready(self) -> None:  # noqa: B027 - most are ready once they have begun
        """Waits for what `_begin` did not; an error says what does not get ready."""

    @contextmanager
    def starting(self) -> Iterator[Self]:
        """It has begun, and gets ready while its user does other things, till `await_ready`."""
        self._begin_all()
        with self._stack:
            yield self

    def _begin_all(self) -> None:
        with ExitStack() as stack:
            self._begin(stack)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        self._begin_all()
        with ExitStack() as undo:
            undo.push(self)
            self.await_ready()
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
