"""Axes hold what is put on them, in order, and name few round values."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plot import Even, Logarithmic, Nines, compact, spans_decades, ticks

AMOUNTS = st.floats(1e-6, 1e15)


@given(st.floats(0, 1e12))
def test_ticks_are_few_even_and_reach_far_enough(most: float) -> None:
    found = ticks(most)
    assert found[0] == 0
    assert found[-1] >= most * (1 - 1e-6)
    assert 2 <= len(found) <= 7


@given(st.lists(AMOUNTS, min_size=1), AMOUNTS, AMOUNTS)
def test_what_is_more_is_further_along(values: list[float], one: float, other: float) -> None:
    for scale in (Logarithmic(values), Even(max(values))):
        less, more = sorted((one, other))
        assert 0 <= scale.share(less) <= scale.share(more) <= 1
        assert scale.share(scale.ticks[-1]) <= 1
        assert 1 <= len(scale.ticks) <= 25


@given(st.lists(AMOUNTS, min_size=1))
def test_a_logarithmic_axis_holds_its_values(values: list[float]) -> None:
    scale = Logarithmic(values)
    assert scale.share(0) == 0
    assert scale.share(min(values)) < 1
    assert scale.share(max(values)) <= 1


def test_powers_of_ten_are_as_far_from_each_other() -> None:
    scale = Logarithmic([1, 10_000])
    assert list(scale.ticks) == pytest.approx([1, 10, 100, 1000, 10_000])
    assert [scale.share(tick) for tick in scale.ticks] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert list(Logarithmic([50, 4000]).ticks) == pytest.approx([50, 100, 200, 500, 1000, 2000, 5000])


def test_each_nine_is_as_far_from_the_one_before() -> None:
    scale = Nines(4)
    assert [scale.name(tick) for tick in scale.ticks] == ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"]
    assert [scale.share(tick) for tick in (0, 0.9, 0.99, 0.999, 0.9999, 1)] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"), (0.0312, "0.0312"), (1.654, "1.65"), (17.48, "17.5"), (940, "940"), (4000, "4000"), (16_266, "16.3k"),
        (2_400_000, "2.4M"), (3e9, "3G"), (-12_500, "-12.5k"), (1e15, "1e+03T"),
    ],
)  # fmt: skip
def test_values_are_said_shortly(value: float, said: str) -> None:
    assert compact(value) == said


def test_decades_are_seen() -> None:
    assert spans_decades([1, 20])
    assert not spans_decades([1, 10])
    assert not spans_decades([0, 0])
    assert math.isfinite(Logarithmic([]).share(5))
