"""The summary that `make soak` leaves."""

from pathlib import Path

import pytest

from bakeoff.experiment import ROOT

pytest_plugins = ["pytester"]

_TESTS = """
def test_says():
    print("seed 7")
def test_silent():
    pass
def test_fails():
    print("before")
    assert 1 == 2
"""


def test_the_summary_has_what_tests_said_and_how_they_ended(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(test_it=_TESTS)
    path = tmp_path / "kept" / "soak.md"
    pytester.runpytest_subprocess("-p", "tests.soak", "--summary", str(path))
    text = path.read_text()
    assert "2 passed, 1 failed" in text
    assert "test_it.py::test_says\npassed" in text
    assert "    seed 7\n" in text
    assert "test_silent" not in text
    assert "    before\n" in text
    assert "assert 1 == 2" in text
