"""The order of a footprint: how often each operation, in turns, and how long it will take."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from bakeoff.footprint.bench import KINDS, set_up
from bakeoff.footprint.plan import Step, expected_s, plan_steps, time_left_s
from bakeoff.footprint.workspace import Workspace
from bakeoff.manifest import load_manifest
from bakeoff.measure.footprint import TimedRun
from bakeoff.measure.operations import OPERATIONS, Repetitions

ALL = {"go": list(OPERATIONS), "rust": list(OPERATIONS)}
TOY = Path(__file__).parents[1] / "fakes" / "toy"


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


def _sources(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.[ch]")}


@pytest.mark.parametrize("skip_cold", [False, True])
@pytest.mark.parametrize("lacks", ["", "leaf", "hub", "test", "check"])
def test_what_is_timed_finds_one_file_changed_since_the_same_work_was_done(
    tmp_path: Path, skip_cold: bool, lacks: str
) -> None:
    """Replays the steps on copies, where each work leaves in its cache which sources it saw."""
    able = {"toy": [name for name in OPERATIONS if not lacks or lacks not in name]}
    shutil.copytree(TOY, tmp_path / "services" / "toy")
    manifest = load_manifest("toy", tmp_path / "services")
    assert manifest.footprint is not None
    workspace = Workspace(tmp_path / "private", manifest, manifest.footprint)
    workspace.refresh()
    untouched = _sources(workspace.folder)
    timed = []
    for step in plan_steps(able, Repetitions(cold=2, incremental=3), skip_cold):
        operation = step.operation
        set_up(workspace, step)
        now = _sources(workspace.folder)
        cache = Path(workspace.environment(KINDS[operation.work])["OUT"])
        seen = cache / f"{operation.work}.json"
        if step.repetition and operation.changed:
            then = json.loads(seen.read_text())
            changed = manifest.footprint.changes[operation.changed].file
            assert {name for name in now if now[name] != then[name]} == {changed}, step
            timed.append(step)
        else:
            assert now == untouched, step
            assert not (step.repetition and list(cache.iterdir())), step
        seen.write_text(json.dumps(now))
    names = [name for name in able["toy"] if not OPERATIONS[name].cold]
    assert Counter(step.name for step in timed) == {
        name: OPERATIONS[name].repeats(Repetitions(cold=2, incremental=3)) for name in names
    }


def test_one_file_is_done_with_before_the_other_is_changed() -> None:
    steps = plan_steps(ALL, Repetitions(), skip_cold=False)
    changed = [step.operation.changed for step in steps if not step.operation.cold]
    assert changed == sorted(changed, key=lambda one: one == "hub")
    assert set(changed) == {"leaf", "hub"}


def test_the_cold_come_first_and_leave_what_the_others_go_on_from() -> None:
    steps = plan_steps(ALL, Repetitions(), skip_cold=False)
    cold = [step.operation.cold for step in steps if step.repetition]
    assert cold == sorted(cold, reverse=True)
    # A cold test run empties the dev build's cache too, so it is filled once more. Then the leaf
    # was changed, and what goes on with the hub goes on from the sources as they are.
    ready = [(step.service, step.name) for step in steps if not step.repetition]
    assert ready == [
        *(("go", "leaf_dev_build"), ("rust", "leaf_dev_build")),
        *(("go", "hub_dev_build"), ("go", "hub_test")),
        *(("rust", "hub_dev_build"), ("rust", "hub_test")),
    ]


def test_without_the_cold_everything_is_built_once_and_not_counted() -> None:
    steps = plan_steps(ALL, Repetitions(), skip_cold=True)
    assert not [step for step in _counted(steps) if step.operation.cold]
    first_counted = next(index for index, step in enumerate(steps) if step.repetition)
    ready = [(step.service, step.operation.work) for step in steps[:first_counted]]
    works = {operation.work for operation in OPERATIONS.values()}
    assert sorted(ready) == sorted((service, work) for service in ALL for work in works)


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
    # With the other file changed it takes about as long; its own go before those of the other.
    hub = Step("hub_test", "rust", 0, 0)
    assert expected_s(hub, [run("rust", 3), run("go", 7)]) == 3
    assert expected_s(hub, [run("go", 7)]) == 7


def test_steps_say_what_they_are() -> None:
    assert (Step("hub_test", "go", 2, 5).where, Step("hub_test", "go", 2, 5).title) == (
        "go  2/5",
        "test run, hub changed",
    )
    ready = Step("leaf_dev_build", "go", 0, 0)
    assert (ready.where, ready.title) == ("go  not counted", "dev build, to go on from")
