"""The sliding minute: what is taken, what is free when, and never more in 60 s than the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.window import SLOT, SPAN, UNLIMITED, Window, ends, forgotten, lease_slot

NOW = 1_000.0


@pytest.mark.parametrize(
    ("now", "end"), [(1000.0, 1000.75), (1000.1, 1000.75), (1000.249, 1000.75), (1000.25, 1001.0), (0.0, 0.75)]
)
def test_a_lease_lasts_more_than_half_a_second_and_at_most_three_quarters(now: float, end: float) -> None:
    slot = lease_slot(now)
    assert ends(slot) == end
    assert 0.5 < ends(slot) - now <= 0.75
    assert forgotten(slot) == end + SPAN


def test_a_new_window_is_free_and_a_full_one_is_not() -> None:
    window = Window(10)
    assert window.free(NOW) == 10
    slot = window.debit(10, NOW)
    assert window.free(NOW) == 0
    assert window.free(forgotten(slot) - 0.001) == 0
    assert window.free(forgotten(slot)) == 10
    assert window.used == 0


def test_without_a_limit_there_is_always_room() -> None:
    window = Window(UNLIMITED)
    window.debit(1 << 50, NOW)
    assert window.free(NOW) > 1 << 60


def test_what_comes_back_is_free_at_once_and_only_once() -> None:
    window = Window(10)
    slot = window.debit(8, NOW)
    window.credit(slot, 5)
    assert window.free(NOW) == 7
    window.credit(slot, 5)  # of which 3 are left
    assert window.free(NOW) == 10
    window.credit(slot, 1)
    window.credit(slot + 1, 1)
    window.credit(slot, -1)
    assert window.free(NOW) == 10


def test_what_has_left_the_window_has_nothing_to_give_back() -> None:
    window = Window(10)
    old = window.debit(8, NOW)
    later = NOW + 70
    window.debit(6, later)
    assert window.free(later) == 4
    window.credit(old, 8)
    assert window.free(later) == 4


def test_debt_and_a_lowered_limit_leave_nothing_free_until_enough_has_left() -> None:
    window = Window(10)
    first = window.debit(8, NOW)
    window.debit(7, NOW + 10)
    assert window.used == 15
    assert window.free(NOW + 10) == 0
    window.limit = 20
    assert window.free(NOW + 10) == 5
    window.limit = 5
    assert window.opens(1, NOW + 10) == forgotten(lease_slot(NOW + 10))
    assert window.free(forgotten(first)) == 0


steps_of = st.lists(
    st.tuples(st.floats(0, 15), st.integers(0, 60), st.floats(0, 1), st.integers(0, 80)), min_size=1, max_size=40
)


@given(st.integers(1, 100), steps_of)
def test_what_is_free_is_the_limit_less_what_is_in_the_window(
    limit: int, history: list[tuple[float, int, float, int]]
) -> None:
    """Against a plain list. Each step: time passes, units are debited, and some of an earlier slot come back."""
    window, now = Window(limit), NOW
    taken: dict[int, int] = {}
    for gap, units, which, back in history:
        now += gap
        slot = window.debit(units, now)
        taken[slot] = taken.get(slot, 0) + units
        credited = list(taken)[int(which * (len(taken) - 1))]
        window.free(now)
        window.credit(credited, back)
        if now < forgotten(credited):
            taken[credited] -= min(back, taken[credited])
        used = sum(units for slot, units in taken.items() if now < forgotten(slot))
        assert window.free(now) == max(0, limit - used)
        assert window.used == used


@given(st.integers(1, 400), steps_of, st.integers(1, 400))
def test_when_it_opens_is_exact(limit: int, history: list[tuple[float, int, float, int]], units: int) -> None:
    window, now = Window(limit), NOW
    for gap, debited, _, _ in history:
        now += gap
        window.debit(debited, now)
    units = min(units, limit)
    free = window.free(now)
    at, steps = window.opens(units, now), window.steps(units, now)
    assert steps[0] == (free, now)
    assert len(steps) <= 18
    assert [*steps] == sorted(steps)
    assert steps[-1][0] == limit
    assert at == next(at for free, at in steps if free >= units)
    for amount, moment in steps[1:]:  # time does not go back
        if moment == at:
            assert window.free(at - 0.001) < units
        assert window.free(moment) == amount


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20), st.floats(0, 1)), min_size=1, max_size=150),
)
def test_no_minute_holds_more_than_the_limit_whenever_a_lease_is_spent(
    limit: int, asks: list[tuple[float, int, float]]
) -> None:
    """Each ask leases what it can of its units, and spends it at some moment before the lease ends."""
    window, now = Window(limit), NOW
    spent: list[tuple[float, int]] = []
    for gap, units, late in asks:
        now += gap
        units = min(units, window.free(now))
        slot = window.debit(units, now)
        spent.append((now + late * (ends(slot) - now - 1e-6), units))
    for start, _ in spent:
        assert sum(units for at, units in spent if start <= at <= start + SPAN) <= limit


def test_slots_are_few_however_long_it_runs() -> None:
    window = Window(1000)
    for step in range(4_000):
        window.debit(1, NOW + step * SLOT / 2)
        window.free(NOW + step * SLOT / 2)
    assert len(window._slots) <= 243


@pytest.mark.parametrize("limit", [1, 15, 16, 17, 31, 33, 47, 100, 200])
@pytest.mark.parametrize("debt", [0, 5])
def test_a_denial_is_short_however_finely_the_budget_was_taken(limit: int, debt: int) -> None:
    window = Window(limit)
    now = NOW
    for _ in range(limit + debt):
        window.debit(1, now)
        now += SLOT
    steps = window.steps(1, now)
    assert len(steps) <= 18
    assert steps[0][0] == 0
    assert steps[-1][0] == limit
