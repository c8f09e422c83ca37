"""What a person is told: times as they are spoken, and nothing where nothing is known."""

import io
import re

import pytest
from rich.console import Console

from bakeoff.display import Display


@pytest.mark.parametrize(
    ("left_s", "says"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.7, "60:00"), (-5, "0:00")]
)
def test_time_left_has_no_sixtieth_second(
    left_s: float, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.display.time.monotonic", lambda: 100.0)
    display = Display()
    display.plan(left_s)
    display.phase("go  1/3", "cold test run", 20)
    assert f"about {says} left" in capsys.readouterr().out


def test_a_rate_that_nobody_has_is_not_shown() -> None:
    display = Display()
    display.phase("go  1/3", "cold test run", 20)
    display.tick(5, None, None)
    console = Console(file=io.StringIO(), width=100)
    console.print(display._status)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "cold test run" in text
    assert not re.search(r"p99|/s", text)
    display.tick(5, 1234, 2.5)
    console.print(display._status)
    assert "1,234/s" in console.file.getvalue()  # type: ignore[attr-defined]
