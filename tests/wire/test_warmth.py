"""When another connection is opened ahead of need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.warmth import Warmth


def warmth(target: int = 2, uniform: float = 0.0) -> Warmth:
    return Warmth(target, lambda: uniform)


@pytest.mark.parametrize(("target", "idle", "wanted"), [(2, 0, True), (2, 1, True), (2, 2, False), (0, 0, False)])
def test_up_to_the_target(target: int, idle: int, wanted: bool) -> None:
    assert warmth(target).wants(idle, 0.0) is wanted


def test_one_at_a_time() -> None:
    one = warmth()
    one.opening = True
    assert not one.wants(0, 0.0)


def test_ever_more_seldom_where_there_is_none_to_be_had() -> None:
    one, now, waits = warmth(), 0.0, []
    for _ in range(9):
        one.failed(now)
        began = now
        while not one.wants(0, now):
            now += 0.25
        waits.append(now - began)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    one.answered()
    assert one.wants(0, now)
    one.failed(now)
    assert one.wants(0, now + 1)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 40))
def test_waits_are_jittered_and_bounded(uniform: float, failures: int) -> None:
    one = warmth(uniform=uniform)
    for _ in range(failures):
        one.failed(0.0)
    assert not one.wants(0, 0.49)
    assert one.wants(0, 60.0)


def test_one_that_is_closed_as_soon_as_it_is_open_counts_as_none() -> None:
    one = warmth()
    one.lost(0.1, 100.0)
    assert not one.wants(0, 100.5)
    one.lost(45.0, 102.0)
    assert one.wants(0, 102.0), "a backend's idle time is no reason to wait"
