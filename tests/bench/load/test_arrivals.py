"""Schedules have the rates that are asked for, in order, and the same again from the same seed."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.failure import BenchError
from bench.load.arrivals import moments
from bench.load.job import Arrivals

rates = st.floats(0.5, 200.0)
WARM, DURATION = 2.0, 10.0


def of(kind: str, rate: float, to: float = 0.0, seed: int = 0) -> list[float]:
    return list(moments(Arrivals(kind=kind, rate=rate, to=to), WARM, DURATION, seed))  # type: ignore[arg-type]


def within(series: list[float], since: float, until: float) -> int:
    return sum(since <= moment < until for moment in series)


@given(st.sampled_from(["constant", "poisson", "ramp", "step"]), rates, rates, st.integers(0, 2**32))
def test_every_series_is_in_order_and_in_its_time(kind: str, rate: float, to: float, seed: int) -> None:
    series = of(kind, rate, to, seed)
    assert all(one <= two for one, two in itertools.pairwise(series))
    assert all(-WARM <= moment < DURATION for moment in series)
    assert series == of(kind, rate, to, seed)


@given(rates)
def test_a_constant_rate_is_even(rate: float) -> None:
    series = of("constant", rate)
    assert abs(len(series) - rate * (WARM + DURATION)) <= 1
    assert all(abs(two - one - 1 / rate) < 1e-9 for one, two in itertools.pairwise(series))


@given(st.floats(20.0, 200.0), st.integers(0, 1000))
def test_poisson_has_its_mean_and_its_variance(rate: float, seed: int) -> None:
    series = of("poisson", rate, seed=seed)
    expected = rate * (WARM + DURATION)
    assert abs(len(series) - expected) < 6 * expected**0.5
    gaps = [two - one for one, two in itertools.pairwise(series)]
    mean = sum(gaps) / len(gaps)
    assert 0.5 < sum((gap - mean) ** 2 for gap in gaps) / len(gaps) / mean**2 < 2.0


@given(rates, rates)
def test_a_ramp_grows_evenly(rate: float, to: float) -> None:
    series = of("ramp", rate, to)
    for second in range(int(DURATION)):
        expected = rate + (to - rate) * (second + 0.5) / DURATION
        assert abs(within(series, second, second + 1) - expected) <= 1.01


def test_a_ramp_may_begin_or_end_at_nothing() -> None:
    assert within(of("ramp", 0.0, 100.0), 0, DURATION) == 500
    assert within(of("ramp", 100.0, 0.0), 0, DURATION) == 500


@given(rates, rates)
def test_a_step_is_in_the_middle(rate: float, to: float) -> None:
    series = of("step", rate, to)
    assert abs(within(series, -WARM, DURATION / 2) - rate * (WARM + DURATION / 2)) <= 1
    assert abs(within(series, DURATION / 2, DURATION) - to * DURATION / 2) <= 1


@pytest.mark.parametrize(("rate", "to"), [(0.0, 0.0), (-1.0, 5.0)])
def test_a_rate_must_be_there(rate: float, to: float) -> None:
    with pytest.raises(BenchError, match="need a rate"):
        of("ramp", rate, to)
