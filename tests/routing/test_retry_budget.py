"""The retry budget: never exceeded over any ten seconds, whatever comes when, and never smaller than it says."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import RetryBudget as Settings
from proxy.routing.retry_budget import RetryBudget

NOW = 5_000.0


def test_a_share_of_the_requests() -> None:
    budget = RetryBudget(Settings(ratio=0.2, at_least=1))
    for _ in range(100):
        budget.request(NOW)
    assert [budget.take(NOW) for _ in range(21)] == [True] * 20 + [False]


def test_few_requests_have_the_least_of_it() -> None:
    budget = RetryBudget(Settings(ratio=0.2, at_least=3))
    budget.request(NOW)
    assert [budget.take(NOW) for _ in range(4)] == [True, True, True, False]
    assert not budget.left(NOW + 10.9)
    assert budget.left(NOW + 11)


def test_none_at_all() -> None:
    budget = RetryBudget(Settings(ratio=0.0, at_least=0))
    for _ in range(100):
        budget.request(NOW)
    assert not budget.take(NOW)


def test_looking_takes_nothing() -> None:
    budget = RetryBudget(Settings(ratio=0.0, at_least=1))
    assert [budget.left(NOW) for _ in range(9)] == [True] * 9
    assert budget.take(NOW)


@given(
    st.lists(st.tuples(st.floats(0, 12), st.booleans(), st.integers(1, 20)), max_size=80),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([0, 1, 5]),
)
def test_it_is_never_exceeded(steps: list[tuple[float, bool, int]], ratio: float, at_least: int) -> None:
    budget = RetryBudget(Settings(ratio=ratio, at_least=at_least))
    now = NOW
    requests: list[float] = []
    retries: list[float] = []
    for wait, retry, times in steps:
        now += wait
        for _ in range(times):
            if not retry:
                budget.request(now)
                requests.append(now)
                continue
            may = budget.left(now)
            assert budget.take(now) is may
            recent = [at for at in retries if at > now - 10]
            allowed = max(at_least, ratio * len([at for at in requests if at > now - 10]))
            if may:
                retries.append(now)
                assert len(recent) + 1 <= allowed
            else:
                assert len([at for at in retries if at > now - 11]) + 1 > max(
                    at_least, ratio * len([at for at in requests if at > now - 9])
                )
