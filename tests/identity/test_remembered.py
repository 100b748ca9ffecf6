"""What is remembered: never too much, and what is used the longest."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.identity.remembered import Remembered


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())), st.integers(1, 20))
def test_bounded_and_right(steps: list[tuple[int, bool]], most: int) -> None:
    memory: Remembered[int, str] = Remembered(most)
    for key, put in steps:
        if put:
            memory.put(key, str(key))
            assert memory.get(key) == str(key)
        else:
            assert memory.get(key) in (None, str(key))
            assert key not in memory or memory.get(key) == str(key)
        assert len(memory) <= max(2, most)


def test_what_is_used_stays() -> None:
    memory: Remembered[int, int] = Remembered(10)
    for number in range(1_000):
        memory.put(number, number)
        assert memory.get(0) == 0
