"""What owns other things for as long as it is entered: processes, channels, servers, watches."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
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

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._begin(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
