"""Hedged requests are a share of those of the last ten seconds, whatever comes when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.hedge_budget import HedgeBudget


@pytest.mark.parametrize(
    ("requests", "ratio", "hedges"),
    [(0, 1.0, 0), (1, 1.0, 1), (19, 0.05, 0), (20, 0.05, 1), (100, 0.05, 5), (7, 0.3, 2)],
)
def test_a_share_of_the_requests(requests: int, ratio: float, hedges: int) -> None:
    budget = HedgeBudget()
    for _ in range(requests):
        budget.request(1000.0)
    assert sum(budget.take(ratio, 1000.0, 1000.5) for _ in range(200)) == hedges


def test_of_the_last_ten_seconds() -> None:
    budget = HedgeBudget()
    budget.request(1000.0)
    assert budget.take(1.0, 1000.0, 1009.9)
    assert not budget.take(1.0, 1000.0, 1009.9)
    budget.request(1010.0)
    assert budget.take(1.0, 1010.0, 1010.0), "neither the request nor the hedge of long ago counts"
    assert not budget.take(1.0, 1010.0, 1025.0), "of a request that is no longer counted"


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 5) | st.none()), max_size=60), st.sampled_from([0.05, 0.5, 1.0])
)
def test_never_more_than_the_share(steps: list[tuple[float, float | None]], ratio: float) -> None:
    """Of the requests of the last ten seconds; a hedge is counted with its request."""
    budget, now = HedgeBudget(), 500.0
    requests: list[float] = []
    hedged: list[float] = []
    for gap, age in steps:
        now += gap
        if age is None:
            budget.request(now)
            requests.append(now)
        elif budget.take(ratio, now - age, now):
            hedged.append(now - age)
            since = int(now) - 9
            assert sum(at >= since for at in hedged) <= ratio * sum(at >= since for at in requests)
