"""What grows is told from what only jumps about."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.scenarios.growth import growth


def test_a_line_grows_by_what_it_rises() -> None:
    assert growth([0, 1, 2, 3], [10, 12, 14, 16]) == pytest.approx(6)
    assert growth([0, 10], [5, 5]) == 0
    assert growth([3], [5]) is None


def test_peaks_and_a_warm_up_do_not_count() -> None:
    noise = random.Random(1)
    flat = [100 + noise.uniform(-3, 3) for _ in range(1800)]
    for at in range(0, 1800, 60):
        flat[at] += 500
    grown = growth(list(range(1800)), flat)
    assert grown is not None
    assert abs(grown) < 1


def test_a_slow_leak_under_noise_is_found() -> None:
    noise = random.Random(2)
    leaking = [100 + at * 0.01 + noise.uniform(-10, 10) for at in range(1800)]
    grown = growth(list(range(1800)), leaking)
    assert grown is not None
    assert 14 < grown < 22


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=500), st.floats(-100, 100))
def test_where_it_starts_does_not_matter(values: list[float], more: float) -> None:
    times = [float(at) for at in range(len(values))]
    assert growth(times, [value + more for value in values]) == pytest.approx(growth(times, values), abs=1e-3)
