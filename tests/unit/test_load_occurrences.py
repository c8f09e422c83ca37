"""How often numbers come: as numpy's own way, for near and far ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.load.occurrences import counted, occurrences

NEAR = st.lists(st.integers(-3, 900))
FAR = st.lists(st.integers(-(2**62), 2**62))


@given(st.one_of(NEAR, FAR, st.builds(list.__add__, NEAR, FAR)))
def test_numbers_are_counted_as_numpy_counts_them(numbers: list[int]) -> None:
    values = np.array(numbers, np.int64)
    expected, times = np.unique(values, return_counts=True)
    different, counts = occurrences(values)
    assert different.dtype == counts.dtype == values.dtype
    assert different.tolist() == expected.tolist()
    assert counts.tolist() == times.tolist()
    assert counted(values) == dict(zip(expected.tolist(), times.tolist(), strict=True))


def test_many_numbers_that_lie_close_together_are_counted_too() -> None:
    values = np.arange(20_000, dtype=np.int64) % 7 + 10**15
    assert counted(values) == {10**15 + one: len(values[one::7]) for one in range(7)}
