"""Windows that slide: nothing older than they say, and nothing that grows with what is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.record.metrics import FIRST_BYTE_BUCKETS
from proxy.supervisor.backends.sliding import Counts, Lately, Minute, quantile


def test_a_minute_later_it_is_forgotten() -> None:
    minute = Minute()
    minute.add(Counts(2, 100, 1, 0), 1000.0)
    minute.add(Counts(1, 50, 0, 1), 1030.0)
    assert minute.total(1059.0) == Counts(3, 150, 1, 1)
    assert minute.total(1060.0) == Counts(1, 50, 0, 1)
    assert minute.total(1090.0) == Counts()


def test_the_last_seconds_alone() -> None:
    minute = Minute()
    for second in range(30):
        minute.add(Counts(requests=second), 1000.0 + second)
    assert minute.lately(1029.0, 10.0).requests == sum(range(20, 30))


def test_estimates_are_put_right() -> None:
    minute = Minute()
    minute.add(Counts(tokens=500), 1000.0)
    minute.add(Counts(tokens=-400), 1020.0)
    assert minute.total(1021.0).tokens == 100


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 9)), max_size=300))
def test_a_minute_is_what_was_told_in_the_last_sixty_seconds(steps: list[tuple[float, int]]) -> None:
    minute, now, told = Minute(), 0.0, []
    for step, count in steps:
        now += step
        minute.add(Counts(requests=count), now)
        told.append((now, count))
    total = minute.total(now).requests
    assert sum(count for at, count in told if at > now - 59) <= total
    assert total <= sum(count for at, count in told if at > now - 60)


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([10, 0, 0], 0.5, 0.5),
        ([10, 10, 0], 0.5, 1.0),
        ([10, 10, 0], 0.75, 1.5),
        ([0, 4, 0], 0.99, 1.99),
        ([0, 0, 4], 0.5, 2.0),
        ([5, 0, 5], 0.9, 2.0),
    ],
)
def test_quantiles_are_as_exact_as_their_buckets(counts: list[int], share: float, expected: float) -> None:
    assert quantile(counts, (1.0, 2.0), share) == pytest.approx(expected)


def test_first_bytes_of_the_last_five_minutes() -> None:
    lately = Lately((1.0, 2.0))
    assert lately.percentiles(1000.0) is None
    lately.add([100, 0, 0], 1000.0)
    lately.add([0, 100, 0], 1200.0)
    whole = lately.percentiles(1250.0)
    assert whole is not None
    assert (whole.p50, whole.p90) == (1.0, 1.8)
    later = lately.percentiles(1310.0)
    assert later is not None
    assert later.p50 == 1.5
    assert lately.percentiles(1600.0) is None


def test_what_is_kept_does_not_grow() -> None:
    minute, lately = Minute(), Lately(FIRST_BYTE_BUCKETS)
    for step in range(20_000):
        minute.add(Counts(requests=1), step / 20)
        lately.add([1] * (len(FIRST_BYTE_BUCKETS) + 1), step / 20)
    assert len(minute._entries) <= 61
    assert len(lately._slots) <= 21
