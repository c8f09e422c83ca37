"""Histograms filled and read with numpy are HdrHistogram's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.measure import histograms
from bakeoff.measure.measurement import LATENCY_MAXIMUM_US

values = st.lists(st.integers(0, LATENCY_MAXIMUM_US), min_size=1, max_size=50)


@given(values)
def test_values_fall_into_the_same_counters(values_us: list[int]) -> None:
    ours, theirs = histograms.new(), histograms.new()
    histograms.record(ours, np.array(values_us))
    for value in values_us:
        assert theirs.record_value(value)
    assert (histograms.counters(ours) == histograms.counters(theirs)).all()
    assert histograms.count(ours) == theirs.get_total_count() == len(values_us)


@given(values)
def test_percentiles_are_the_same(values_us: list[int]) -> None:
    histogram = histograms.new()
    histograms.record(histogram, np.array(values_us))
    wanted = [0.1, 50.0, 90.0, 99.0, 99.9, 100.0]
    theirs = histogram.get_percentile_to_value_dict(wanted)
    found = histograms.percentiles_ms(histogram, wanted)
    assert found == {percentile: value / 1000 for percentile, value in theirs.items()}


@given(values)
def test_encoding_keeps_everything(values_us: list[int]) -> None:
    histogram = histograms.new()
    histograms.record(histogram, np.array(values_us))
    decoded = histograms.decode(histograms.encode(histogram))
    assert (histograms.counters(decoded) == histograms.counters(histogram)).all()
    assert histograms.count(decoded) == len(values_us)


@given(values, values)
def test_merging_adds(first_us: list[int], second_us: list[int]) -> None:
    parts = []
    for part_us in (first_us, second_us):
        part = histograms.new()
        histograms.record(part, np.array(part_us))
        parts.append(part)
    whole = histograms.new()
    histograms.record(whole, np.array(first_us + second_us))
    merged = histograms.merge(parts)
    assert (histograms.counters(merged) == histograms.counters(whole)).all()


def test_values_beyond_the_ends_count_at_the_ends() -> None:
    histogram = histograms.new()
    histograms.record(histogram, np.array([-5, 2**50]))
    assert histograms.count(histogram) == 2
    assert histogram.get_count_at_value(0) == 1
    assert histogram.get_count_at_value(LATENCY_MAXIMUM_US) == 1


def test_an_empty_histogram_has_no_percentiles() -> None:
    empty = histograms.decode(histograms.encode(histograms.new()))
    assert histograms.percentiles_ms(empty, [50.0]) == {50.0: None}


@pytest.mark.parametrize("text", ["", "nonsense", "AAAA", "ü"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an encoded HdrHistogram"):
        histograms.decode(text)
