"""The split of the cores between service and rig."""

import pytest

from bakeoff.rig.cores import plan_cores


@pytest.mark.parametrize(
    ("usable", "wanted", "service", "rig"),
    [
        ([0, 1], None, {1}, {0}),
        ([0, 1, 2, 3], None, {2, 3}, {0, 1}),
        ([0, 1, 2, 3], 1, {3}, {0, 1, 2}),
        ([4, 2, 7], None, {7}, {2, 4}),
        ([0, 1], 9, {1}, {0}),
    ],
)
def test_the_highest_cores_go_to_the_service(
    usable: list[int], wanted: int | None, service: set[int], rig: set[int]
) -> None:
    plan = plan_cores(usable, wanted, pin=True)
    assert plan.service == frozenset(service)
    assert plan.rig == frozenset(rig)
    assert plan.service_threads == len(service)


@pytest.mark.parametrize(("usable", "pin"), [([0], True), ([0, 1, 2], False)])
def test_one_core_or_no_pin_leaves_all_to_all(usable: list[int], pin: bool) -> None:
    plan = plan_cores(usable, None, pin=pin)
    assert plan.service is None
    assert plan.rig is None
    assert plan.service_threads == len(usable)
