"""The order of a footprint: how often each operation, in turns, and how long it will take."""

from collections import Counter

from bakeoff.footprint.plan import Step, expected_s, plan_steps, time_left_s
from bakeoff.measure.footprint import TimedRun
from bakeoff.measure.operations import OPERATIONS, Repetitions

ALL = {"go": list(OPERATIONS), "rust": list(OPERATIONS)}


def _counted(steps: list[Step]) -> list[Step]:
    return [step for step in steps if step.repetition]


def test_each_operation_is_done_as_often_as_it_is_said() -> None:
    steps = _counted(plan_steps(ALL, Repetitions(), skip_cold=False))
    for service in ALL:
        assert Counter(step.name for step in steps if step.service == service) == {
            "cold_release_build": 3,
            "cold_dev_build": 1,
            "cold_check": 1,
            "cold_test": 3,
            "leaf_dev_build": 5,
            "hub_dev_build": 5,
            "leaf_check": 5,
            "leaf_test": 5,
            "hub_test": 5,
            "leaf_release_build": 1,
        }


def test_the_services_take_turns() -> None:
    steps = _counted(plan_steps(ALL, Repetitions(), skip_cold=False))
    for name in OPERATIONS:
        order = [step.service for step in steps if step.name == name]
        pairs = list(zip(order[::2], order[1::2], strict=True))
        expected = [("go", "rust"), ("rust", "go")] * 3
        assert pairs == expected[: len(pairs)]
    # Back to back, so that both have the same machine.
    for first, second in zip(steps[::2], steps[1::2], strict=True):
        assert (first.name, first.repetition) == (second.name, second.repetition)


def test_the_cold_come_first_and_leave_what_the_others_go_on_from() -> None:
    steps = plan_steps(ALL, Repetitions(), skip_cold=False)
    cold = [step.operation.cold for step in steps if step.repetition]
    assert cold == sorted(cold, reverse=True)
    # A cold test run empties the dev build's cache too, so it is filled once more.
    ready = [(step.service, step.operation.work) for step in steps if not step.repetition]
    assert ready == [("go", "dev build"), ("rust", "dev build")]


def test_without_the_cold_everything_is_built_once_and_not_counted() -> None:
    steps = plan_steps(ALL, Repetitions(), skip_cold=True)
    assert not [step for step in _counted(steps) if step.operation.cold]
    ready = {(step.service, step.operation.work) for step in steps if not step.repetition}
    works = {operation.work for operation in OPERATIONS.values()}
    assert ready == {(service, work) for service in ALL for work in works}
    first_counted = next(index for index, step in enumerate(steps) if step.repetition)
    assert len(ready) == first_counted


def test_a_service_does_what_it_is_able_to() -> None:
    able = {"go": list(OPERATIONS), "third": ["cold_release_build"], "bare": []}
    steps = plan_steps(able, Repetitions(cold=2), skip_cold=False)
    assert [step.name for step in steps if step.service == "third"] == ["cold_release_build"] * 2
    assert not [step for step in steps if step.service == "bare"]


def test_time_left_is_as_long_as_the_last_of_its_kind() -> None:
    step = Step("leaf_test", "rust", 2, 5)
    usual_s = step.operation.usual_s

    def run(service: str, wall_s: float) -> TimedRun:
        return TimedRun(
            operation="leaf_test",
            service=service,
            repetition=1,
            wall_s=wall_s,
            cpu_s=1,
            peak_rss_bytes=None,
            other_cores=0,
        )

    assert expected_s(step, []) == usual_s
    assert expected_s(step, [run("go", 7)]) == 7
    assert expected_s(step, [run("rust", 3), run("go", 7)]) == 3
    other = Step("cold_test", "go", 1, 3)
    assert time_left_s([step, other], [run("rust", 3)]) == 3 + other.operation.usual_s


def test_steps_say_what_they_are() -> None:
    assert (Step("hub_test", "go", 2, 5).where, Step("hub_test", "go", 2, 5).title) == (
        "go  2/5",
        "test run, hub changed",
    )
    ready = Step("leaf_dev_build", "go", 0, 0)
    assert (ready.where, ready.title) == ("go  not counted", "dev build, to go on from")
