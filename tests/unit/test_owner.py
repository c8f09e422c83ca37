"""An owner ends what it began: all of it, the last first, however it comes to that."""

from contextlib import ExitStack

import pytest

from bakeoff.owner import Owner


class _Parts(Owner):
    """Begins parts by name, and notes what became of each; `fails` cannot begin."""

    def __init__(self, *names: str, fails: str = "", fails_to_end: str = "") -> None:
        self.noted: list[str] = []
        self._names = names
        self._fails = fails
        self._fails_to_end = fails_to_end

    def _begin(self, stack: ExitStack) -> None:
        for name in self._names:
            self.add(name, stack)

    def add(self, name: str, stack: ExitStack | None = None) -> None:
        """Begins a part; without a stack, one that comes later."""
        if name == self._fails:
            raise ValueError(name)
        self.noted.append(f"+{name}")
        (stack or self._stack).callback(self._end, name)

    def _end(self, name: str) -> None:
        self.noted.append(f"-{name}")
        if name == self._fails_to_end:
            raise KeyError(name)


def test_what_was_begun_is_ended_the_last_first() -> None:
    with _Parts("a", "b") as parts:
        parts.add("later")
        assert parts.noted == ["+a", "+b", "+later"]
    assert parts.noted[3:] == ["-later", "-b", "-a"]


def test_where_one_cannot_begin_those_before_it_are_ended() -> None:
    parts = _Parts("a", "b", "c", fails="c")
    with pytest.raises(ValueError, match="c"):
        parts.__enter__()
    assert parts.noted == ["+a", "+b", "-b", "-a"]


def test_an_error_of_the_body_goes_on() -> None:
    parts = _Parts("a")
    with pytest.raises(ZeroDivisionError), parts:
        raise ZeroDivisionError
    assert parts.noted == ["+a", "-a"]


def test_one_that_cannot_end_keeps_no_other_alive() -> None:
    parts = _Parts("a", "b", fails_to_end="b")
    with pytest.raises(KeyError), parts:
        pass
    assert parts.noted == ["+a", "+b", "-b", "-a"]


def test_it_may_be_entered_again() -> None:
    parts = _Parts("a")
    for _ in range(2):
        with parts:
            pass
    assert parts.noted == ["+a", "-a"] * 2


class _Slow(_Parts):
    """Gets ready in its own time, unless it `fails`; the last part of it comes then."""

    def await_ready(self) -> None:
        self.add("ready")


def test_entered_it_is_ready() -> None:
    with _Slow("a") as slow:
        assert slow.noted == ["+a", "+ready"]
    assert slow.noted == ["+a", "+ready", "-ready", "-a"]


def test_one_that_gets_ready_beside_others_is_ended_with_all_that_came_later() -> None:
    with _Slow("a").starting() as slow:
        assert slow.noted == ["+a"]
        slow.await_ready()
    assert slow.noted == ["+a", "+ready", "-ready", "-a"]


@pytest.mark.parametrize("beside", [False, True])
def test_one_that_does_not_get_ready_is_ended(beside: bool) -> None:
    slow = _Slow("a", fails="ready")
    with pytest.raises(ValueError, match="ready"), slow.starting() if beside else slow:
        slow.await_ready()
    assert slow.noted == ["+a", "-a"]
