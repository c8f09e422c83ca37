"""What `make bench` makes of its figures, and how it waits for programs."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain

import numpy as np
import pytest

from benchmarks import end_to_end, generator, stubs
from benchmarks.figures import interleaved, lines, summed_up
from benchmarks.lateness import compared
from benchmarks.page import AIMS, page
from benchmarks.processes import announced, line_of
from benchmarks.ratios import DIFFERENCES, RATIOS, ratios
from benchmarks.windows import Window


def test_contestants_take_turns_and_their_medians_are_kept_with_the_range() -> None:
    order: list[str] = []

    def measured(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = interleaved({"a": lambda: measured("a"), "b": lambda: measured("b")}, 3)
    assert order == ["a", "b"] * 3
    assert summed_up(found) == {
        **{"a": 3.0, "a_low": 1.0, "a_high": 5.0},
        **{"b": 4.0, "b_low": 2.0, "b_high": 6.0},
    }
    _, first, second = lines(summed_up(found))
    assert first.split() == ["a", "3.00", "1.00", "5.00"]
    assert second.split() == ["b", "4.00", "2.00", "6.00"]


def test_ratios_are_of_what_is_there() -> None:
    found = {
        **{"generator_us_per_request": 20.0, "wrk_us_per_request": 10.0},
        **{"stub_wire_us_per_call": 10.0},
    }
    assert ratios(found) == {"generator_over_wrk": 2.0}


def test_each_service_and_stub_is_measured_for_its_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ratio is left out where a figure is lacking, so a key that is misspelt would not show."""
    measured: list[tuple[str, str, list[str]]] = []

    def window(*aim: object) -> Window:
        *_, command, contestant = aim
        assert isinstance(contestant, end_to_end.Contestant) and isinstance(command, list)
        measured.append((contestant.service, contestant.stub, command))
        return Window(1000, {"stub": 0.1})

    monkeypatch.setattr(stubs, "commands", lambda: {one: [one] for one in ("wire", "grpcio", "go")})
    monkeypatch.setattr(end_to_end, "_rig", lambda: nullcontext((None, None, "")))
    monkeypatch.setattr(end_to_end, "_window", window)
    found = end_to_end.measure(1)
    wanted = {key for key in chain(*RATIOS.values()) if "_service" in key or "end_to_end" in key}
    assert len(wanted) == 8 and wanted <= {*found}
    assert {(service, stub) for service, stub, _ in measured} == {
        (service, stub) for service in ("go", "rust") for stub in ("wire", "grpcio", "go")
    }
    assert all(command == [stub] for _, stub, command in measured)


def test_the_generator_is_measured_for_its_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each head is another, too, and wrk beside it on the same server."""

    def window(name: str) -> Callable[..., float]:
        def measured(url: str, rate_rps: float | None = None) -> float:
            servers[name].append(url if rate_rps is None else f"{url} at {rate_rps}")
            return 1.0

        return measured

    servers: dict[str, list[str]] = {"ours": [], "wrk": [], "fast_http_user": []}
    monkeypatch.setattr(generator, "null_server", lambda *said: nullcontext(" ".join(said)))
    monkeypatch.setattr("shutil.which", lambda _: "wrk")
    for name in servers:
        monkeypatch.setattr(generator, name, window(name))
    found = generator.measure(1)
    wanted = {key for name, keys in RATIOS.items() if "generator" in name for key in keys}
    assert len(wanted) == 5 and wanted <= {*found}
    assert servers["wrk"] == ["", "--request-ids"]
    assert servers["ours"] == ["", "--request-ids", " at 1000", " at 4000"]


def test_a_program_that_says_nothing_is_ended_and_named() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as silent,
        pytest.raises(AssertionError, match=r"sleep.*after 0\.2 s"),
    ):
        line_of(silent, silent.stdout, b"{", 0.2)
    assert silent.returncode != 0


def test_a_program_that_ends_before_it_serves_is_named() -> None:
    with pytest.raises(AssertionError, match="has ended"), announced([sys.executable, "-c", "1"]):
        raise AssertionError("not reached")


def test_the_page_has_each_figure_once_and_what_was_aimed_at() -> None:
    found = summed_up(
        {"generator_us_per_request": [21.0, 20.0, 30.0], "wrk_us_per_request": [10.0, 12.0, 11.0]}
    )
    rows = page(found | ratios(found), repeats=3).splitlines()
    assert "| generator_us_per_request | 21 | 20 | 30 |" in rows
    assert "| generator_over_wrk | 1.91 | at most 1.4 |" in rows
    assert sum("wrk_us_per_request" in row for row in rows) == 1
    assert {*AIMS} <= {*RATIOS, *DIFFERENCES}


def test_a_stall_in_one_of_many_windows_is_in_the_lateness() -> None:
    quiet, stalled = np.zeros(1000, np.int64), np.zeros(1000, np.int64)
    stalled[:200] = 5_000_000  # 2 % of all arrivals of ten windows
    found = compared([quiet] * 9 + [stalled], [quiet + 1_000_000] * 10)
    assert (found["lateness_p50_ms"], found["lateness_p99_ms"]) == (0.0, 5.0)
    assert (found["lateness_p50_over_bare_ms"], found["lateness_p99_over_bare_ms"]) == (-1.0, 4.0)
