"""A sliding count is what was counted in the last slots, whatever comes when."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.sliding import Sliding


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7), st.integers(-3, 9)), max_size=40))
def test_it_is_what_the_last_slots_hold(size: int, steps: list[tuple[int, int, int]]) -> None:
    sliding, now = Sliding(size), 0
    counted: list[tuple[int, int]] = []
    for later, ago, amount in steps:
        now += later
        sliding.move(now)
        sliding.move(now - 1)  # time does not go back
        sliding.add(amount, now - ago)
        counted.append((max(now - ago, now - size + 1), amount))
        assert sliding.slot == now
        assert sliding.total == sum(amount for slot, amount in counted if slot > now - size)
        assert sliding.whole == sum(amount for slot, amount in counted if slot > now - size + 1)
