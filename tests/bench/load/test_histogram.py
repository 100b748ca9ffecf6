"""Percentiles are within one part in a thousand of the exact ones, and are HdrHistogram's own."""

import math

from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.load.histogram import DIGITS, HIGHEST, LOWEST, Histogram

durations = st.lists(st.floats(1e-6, 3e3), min_size=1, max_size=300)


def of(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(durations, st.floats(0.01, 1.0))
def test_a_percentile_is_at_most_one_part_in_a_thousand_off(values: list[float], share: float) -> None:
    histogram = of(values)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert exact - 1.01e-6 <= histogram.percentile(share) <= exact * 1.001 + 1e-6


@settings(max_examples=15)
@given(durations)
def test_it_is_the_library_s_own_histogram(values: list[float]) -> None:
    theirs = HdrHistogram(LOWEST, HIGHEST, DIGITS)
    for value in values:
        theirs.record_value(int(value * 1e6))
    ours = of(values)
    assert HdrHistogram.decode(ours.encoded()).get_total_count() == len(values)
    made = ours.hdr()
    assert [made.get_count_at_index(at) for at in ours.counts] == list(ours.counts.values())
    for share in (1, 50, 99, 100):
        assert round(ours.percentile(share / 100) * 1e6) == theirs.get_value_at_percentile(share)


@given(durations, durations)
def test_merging_is_as_if_all_had_been_counted_in_one_place(some: list[float], others: list[float]) -> None:
    merged = of(some)
    merged.merge(Histogram(of(others).counts))
    assert merged.counts == of(some + others).counts
    assert merged.count == len(some) + len(others)


def test_nothing_measured_is_nought() -> None:
    assert Histogram().percentile(0.99) == 0.0
    assert set(Histogram().summary().values()) == {0}


def test_times_too_short_to_matter_are_nought() -> None:
    histogram = Histogram()
    histogram.add(0.0)
    histogram.add(-1e-9)
    assert histogram.percentile(1.0) == 0.0
    assert histogram.count == 2


@given(durations, st.floats(0.01, 1.0))
def test_in_few_buckets_it_is_at_most_one_part_in_thirty_too_high(values: list[float], share: float) -> None:
    fine, coarse = of(values), of(values).coarse()
    assert coarse.count == fine.count
    assert fine.percentile(share) <= coarse.percentile(share) <= fine.percentile(share) * 31 / 30 + 1e-6
    assert coarse.coarse().counts == coarse.counts
