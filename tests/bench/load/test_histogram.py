"""Percentiles are within one per cent of the exact ones."""

import math

from hypothesis import given
from hypothesis import strategies as st

from bench.load.histogram import Histogram

durations = st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=300)


@given(durations, st.floats(0.01, 1.0))
def test_a_percentile_is_at_most_one_per_cent_too_high(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert exact * (1 - 1e-9) <= histogram.percentile(share) <= exact * 1.01 * (1 + 1e-9)


def test_nothing_measured_is_nought() -> None:
    assert Histogram().percentile(0.99) == 0.0
    assert Histogram().summary() == {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0}


def test_times_too_short_to_matter_are_nought() -> None:
    histogram = Histogram()
    histogram.add(0.0)
    histogram.add(-1e-9)
    assert histogram.percentile(1.0) == 0.0
    assert histogram.count == 2
