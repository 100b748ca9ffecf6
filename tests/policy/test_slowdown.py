"""Guessing becomes slow, mistakes are forgotten, and neighbours notice nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.slowdown import FREE, Slowdown

AT_MOST = 1.0

A, B = "192.0.2.1", "192.0.2.2"


def delays(slowdown: Slowdown, source: str, count: int, every: float = 0.0, begin: float = 0.0) -> list[float]:
    return [slowdown.failed(source, begin + n * every, AT_MOST) for n in range(count)]


def test_the_first_failures_cost_nothing_and_then_each_costs_more() -> None:
    found = delays(Slowdown(), A, 30)
    assert found[: int(FREE)] == [0.0] * int(FREE)
    assert found[10:13] == pytest.approx([0.1, 0.2, 0.3])
    assert found[-1] == AT_MOST


def test_a_slow_guesser_is_slowed_down_too_and_a_mistake_now_and_then_is_not() -> None:
    assert delays(Slowdown(), A, 200, every=1.0)[-1] == AT_MOST
    assert set(delays(Slowdown(), A, 200, every=10.0)) == {0.0}


def test_a_bound_of_nought_delays_nobody() -> None:
    slowdown = Slowdown()
    assert {slowdown.failed(A, 0.0, 0.0) for _ in range(40)} == {0.0}


def test_failures_are_forgotten() -> None:
    slowdown = Slowdown()
    assert delays(slowdown, A, 40)[-1] == AT_MOST
    assert slowdown.failed(A, 120.0, AT_MOST) == 0.0


def test_sources_are_counted_apart() -> None:
    slowdown = Slowdown()
    delays(slowdown, A, 40)
    assert slowdown.failed(B, 0.0, AT_MOST) == 0.0


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("no:address", "no:address", True),
    ],
)
def test_an_ipv6_site_is_one_source(first: str, second: str, same: bool) -> None:
    slowdown = Slowdown()
    delays(slowdown, first, 40)
    assert (slowdown.failed(second, 0.0, AT_MOST) > 0) == same


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 100)), max_size=200))
def test_memory_and_delays_are_bounded(failures: list[tuple[int, float]]) -> None:
    slowdown = Slowdown(sources=5)
    now = 0.0
    for source, later in failures:
        now += later
        assert 0.0 <= slowdown.failed(f"192.0.2.{source}", now, AT_MOST) <= AT_MOST
    assert repr(slowdown) in {f"<Slowdown {n}/5>" for n in range(6)}
