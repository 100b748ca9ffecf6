"""Reservations come close to what is used, after a few answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.estimate import FIRST_COMPLETION, OVERHEAD, Estimator
from proxy.record.record import Tokens


def used(prompt: int, completion: int, *, estimated: bool = False) -> Tokens:
    return Tokens(prompt=prompt, completion=completion, total=prompt + completion, estimated=estimated)


@pytest.mark.parametrize(
    ("body_bytes", "limit", "expected"),
    [
        (0, None, OVERHEAD + FIRST_COMPLETION),
        (4000, None, 1000 + OVERHEAD + FIRST_COMPLETION),
        (4000, 50, 1000 + OVERHEAD + 50),
        (4000, 0, 1000 + OVERHEAD),
    ],
)
def test_before_anything_is_known(body_bytes: int, limit: int | None, expected: int) -> None:
    assert Estimator().estimate("m", "c", body_bytes, limit) == expected


def test_a_models_ratio_is_learned_for_all_clients() -> None:
    estimator = Estimator()
    for _ in range(100):
        estimator.learn("m", "c", 10_000, used(5_000, 7))
    assert estimator.estimate("m", "other", 20_000, 0) == pytest.approx(10_000, rel=0.01)
    assert estimator.estimate("n", "c", 20_000, 0) == 5_000 + OVERHEAD


def test_a_clients_average_is_its_own_for_each_model() -> None:
    estimator = Estimator()
    for _ in range(100):
        estimator.learn("m", "c", 0, used(0, 2_000))
        estimator.learn("embedding", "c", 0, used(0, 0))
    assert estimator.estimate("m", "c", 0, None) == pytest.approx(2_000, rel=0.01)
    assert estimator.estimate("embedding", "c", 0, None) == OVERHEAD
    assert estimator.estimate("m", "other", 0, None) == OVERHEAD + FIRST_COMPLETION
    assert estimator.estimate("m", "c", 0, 10) == OVERHEAD + 10


def test_estimates_teach_nothing() -> None:
    estimator = Estimator()
    estimator.learn("m", "c", 10, used(10_000, 10_000, estimated=True))
    assert estimator.estimate("m", "c", 0, None) == OVERHEAD + FIRST_COMPLETION


def test_one_absurd_answer_moves_a_ratio_only_so_far() -> None:
    estimator = Estimator()
    estimator.learn("m", "c", 1, used(100_000_000, 0))
    assert estimator.estimate("m", "c", 1_000, 0) < 1_000


def test_memory_is_bounded_and_what_was_forgotten_is_learned_again() -> None:
    estimator = Estimator(size=10)
    for n in range(1_000):
        estimator.learn(f"m{n}", f"c{n}", 1_000, used(500, 5))
        assert len(estimator._ratios) <= 10
        assert len(estimator._completions) <= 10
    assert estimator.estimate("m999", "c999", 0, None) < OVERHEAD + FIRST_COMPLETION


@given(
    st.lists(st.tuples(st.integers(0, 1 << 25), st.integers(0, 10**8), st.integers(0, 10**8)), max_size=20),
    st.integers(0, 1 << 25),
    st.none() | st.integers(0, 1 << 31),
)
def test_an_estimate_is_never_less_than_the_overhead(
    history: list[tuple[int, int, int]], body_bytes: int, limit: int | None
) -> None:
    estimator = Estimator()
    for size, prompt, completion in history:
        estimator.learn("m", "c", size, used(prompt, completion))
    assert estimator.estimate("m", "c", body_bytes, limit) >= OVERHEAD + (limit or 0)
