"""A change is told from noise, and noise is not called a change."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.noise import FEWEST, LEVEL, beyond_noise, difference, quantile, tail

LOGS = st.lists(st.floats(-20, 20), min_size=FEWEST, max_size=8)


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_the_quantiles_are_those_of_the_tables(freedom: int, t: float) -> None:
    assert quantile(freedom) == pytest.approx(t, abs=6e-4)
    assert tail(t, freedom) == pytest.approx(0.05, abs=1e-4)


@given(st.integers(1, 2000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_what_is_farther_is_less_likely(freedom: int, one: float, other: float) -> None:
    near, far = sorted((one, other))
    assert 1 >= tail(near, freedom) >= tail(far, freedom) - 1e-12 >= -1e-12


@given(LOGS)
def test_the_same_is_no_difference(values: list[float]) -> None:
    found = difference(values, values)
    assert found is not None
    assert found.change == 0
    assert found.chance == 1
    assert beyond_noise([found.chance]) == [False]


@given(LOGS, LOGS)
def test_it_is_the_same_both_ways(before: list[float], now: list[float]) -> None:
    there, back = difference(before, now), difference(now, before)
    assert there is not None
    assert back is not None
    assert there.change == pytest.approx(-back.change)
    assert there.low == pytest.approx(-back.high)
    assert there.chance == pytest.approx(back.chance)


@given(st.lists(st.floats(-5, 5), max_size=FEWEST - 1), LOGS)
def test_of_few_repeats_nothing_is_said(few: list[float], many: list[float]) -> None:
    assert difference(few, many) is None
    assert difference(many, few) is None


@given(st.lists(st.floats(0, 1), max_size=60))
def test_holms_procedure_takes_the_least_likely_first(chances: list[float]) -> None:
    found = beyond_noise(chances)
    kept = [chance for chance, real in zip(chances, found, strict=True) if real]
    left = [chance for chance, real in zip(chances, found, strict=True) if not real]
    assert max(kept, default=0.0) <= min(left, default=1.0)
    assert all(chance <= LEVEL for chance in kept)
    assert beyond_noise([chance / 1e6 for chance in chances]) == [True] * len(chances)


def test_the_range_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(1)
    held = false = 0
    for _ in range(400):
        before, now = ([rng.gauss(mean, 0.05) for _ in range(3)] for mean in (0.0, 0.3))
        found = difference(before, now)
        assert found is not None
        held += found.low <= 0.3 <= found.high
        other = difference(before, [rng.gauss(0.0, 0.05) for _ in range(3)])
        assert other is not None
        false += other.chance < LEVEL
    assert 0.92 < held / 400 < 0.98
    assert false / 400 < 0.08
    assert math.isfinite(quantile(1000))
