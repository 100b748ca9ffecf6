"""The breaker as its table: every state and outcome, the times, and that nothing leaves it stuck."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Breaker as Settings
from proxy.config.structs import Seconds
from proxy.routing.breaker import Breaker, State, Unavailable
from proxy.routing.outcome import Outcome

NOW = 1_000.0
SETTINGS = Settings(failures=3, open_for=Seconds(4), open_at_most=Seconds(10))
FAULTS = [outcome for outcome in Outcome if outcome.value.breaker]
SUCCESSES = [Outcome.OK, Outcome.CLIENT_ERROR]
NO_VERDICT = [Outcome.CANCELLED, Outcome.NO_CREDENTIAL, Outcome.ANSWER_TIMEOUT]


def no_jitter() -> float:
    return 0.0


def breaker(settings: Settings = SETTINGS, uniform: Callable[[], float] = no_jitter) -> Breaker:
    return Breaker(settings, uniform)


def opened(now: float = NOW) -> Breaker:
    """One that has just opened, until `now` + 4."""
    made = breaker()
    for _ in range(3):
        attempt(made, Outcome.BACKEND_ERROR, now)
    assert state(made) is State.OPEN
    return made


def state(made: Breaker) -> State:
    return made.state


def attempt(made: Breaker, outcome: Outcome, now: float, wait: float | None = None) -> bool:
    return made.end(outcome, now, wait, probe=made.begin())


def probing(now: float = NOW + 4) -> Breaker:
    made = opened()
    assert made.begin()
    assert state(made) is State.HALF_OPEN
    return made


def test_the_outcomes_are_all_of_some_kind() -> None:
    kinds = [*FAULTS, *SUCCESSES, *NO_VERDICT, Outcome.THROTTLED, Outcome.MISCONFIGURED]
    assert sorted(kinds, key=str) == sorted(Outcome, key=str)


# Closed.


@pytest.mark.parametrize("outcome", FAULTS)
def test_faults_in_a_row_open_it(outcome: Outcome) -> None:
    made = breaker()
    for _ in range(2):
        assert not attempt(made, outcome, NOW)
        assert made.unavailable(NOW) is None
    assert attempt(made, outcome, NOW)
    assert (made.state, made.unavailable(NOW), made.until) == (State.OPEN, Unavailable.OPEN, NOW + 4)
    assert made.reason == outcome.reason


@pytest.mark.parametrize("outcome", SUCCESSES)
def test_a_success_between_them_starts_the_row_again(outcome: Outcome) -> None:
    made = breaker()
    for _ in range(5):
        attempt(made, Outcome.BACKEND_ERROR, NOW)
        attempt(made, Outcome.BACKEND_ERROR, NOW)
        assert not attempt(made, outcome, NOW)
    assert state(made) is State.CLOSED


@pytest.mark.parametrize("outcome", [*NO_VERDICT, Outcome.THROTTLED, Outcome.MISCONFIGURED])
def test_what_is_no_fault_never_opens_it_and_ends_no_row(outcome: Outcome) -> None:
    made = breaker()
    attempt(made, Outcome.BACKEND_ERROR, NOW)
    for _ in range(50):
        attempt(made, outcome, NOW)
    assert state(made) is State.CLOSED
    attempt(made, Outcome.BACKEND_ERROR, NOW)
    attempt(made, Outcome.BACKEND_ERROR, NOW)
    assert state(made) is State.OPEN


# Open.


def test_open_lets_nobody_through_until_its_time_is_over() -> None:
    made = opened()
    assert made.unavailable(NOW + 3.999) is Unavailable.OPEN
    assert made.unavailable(NOW + 4) is None


@pytest.mark.parametrize("outcome", [*FAULTS, *SUCCESSES, *NO_VERDICT])
def test_what_was_sent_before_it_opened_moves_nothing(outcome: Outcome) -> None:
    """A stream that began an hour ago and ends well says nothing of now; nor does one that fails."""
    made = opened()
    assert not made.end(outcome, NOW + 1, None, probe=False)
    assert (made.state, made.until) == (State.OPEN, NOW + 4)


@pytest.mark.parametrize("uniform", [0.0, 0.25, 0.5, 0.999999])
def test_workers_that_opened_together_do_not_probe_together(uniform: float) -> None:
    made = breaker(uniform=lambda: uniform)
    for _ in range(3):
        attempt(made, Outcome.CONNECT_FAILED, NOW)
    assert made.until == pytest.approx(NOW + 4 * (1 - uniform / 5))
    assert 3.2 <= made.until - NOW <= 4


# Half open.


def test_one_probe_at_a_time() -> None:
    made = probing()
    assert made.unavailable(NOW + 4) is Unavailable.PROBING
    assert made.unavailable(NOW + 400) is Unavailable.PROBING


@pytest.mark.parametrize("outcome", SUCCESSES)
def test_a_probe_that_succeeds_closes_it(outcome: Outcome) -> None:
    made = probing()
    assert made.end(outcome, NOW + 5, None, probe=True)
    assert (made.state, made.unavailable(NOW + 5), made.reason) == (State.CLOSED, None, "recovered")
    for _ in range(2):
        assert not attempt(made, Outcome.BACKEND_ERROR, NOW + 5)
    assert attempt(made, Outcome.BACKEND_ERROR, NOW + 5)
    assert made.until == NOW + 9  # not twice as long: it had recovered


@pytest.mark.parametrize("outcome", FAULTS)
def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound(outcome: Outcome) -> None:
    made, now = opened(), NOW
    for expected in (8, 10, 10, 10):
        now = made.until
        assert made.unavailable(now) is None
        assert attempt(made, outcome, now)
        assert (made.state, made.until - now) == (State.OPEN, expected)


@pytest.mark.parametrize("outcome", NO_VERDICT)
def test_a_probe_without_a_verdict_makes_room_for_the_next(outcome: Outcome) -> None:
    made = probing()
    made.end(outcome, NOW + 5, None, probe=True)
    assert state(made) is State.HALF_OPEN
    assert made.unavailable(NOW + 5) is None
    assert made.begin()
    assert made.end(Outcome.OK, NOW + 6, None, probe=True)
    assert state(made) is State.CLOSED


def test_a_throttled_probe_is_no_failed_probe() -> None:
    made = probing()
    assert made.end(Outcome.THROTTLED, NOW + 5, 20.0, probe=True)
    assert made.unavailable(NOW + 24) is Unavailable.THROTTLED
    assert made.unavailable(NOW + 25) is None
    assert attempt(made, Outcome.BACKEND_ERROR, NOW + 25)
    assert made.until == NOW + 25 + 8


@pytest.mark.parametrize("outcome", [*FAULTS, *SUCCESSES, *NO_VERDICT])
def test_what_comes_back_late_does_not_end_the_probe(outcome: Outcome) -> None:
    made = probing()
    assert not made.end(outcome, NOW + 5, None, probe=False)
    assert state(made) is State.HALF_OPEN
    assert made.unavailable(NOW + 5) is Unavailable.PROBING
    made.end(Outcome.OK, NOW + 6, None, probe=True)
    assert state(made) is State.CLOSED


# Unavailable, whatever the state.


@pytest.mark.parametrize(
    ("wait", "seconds"), [(None, 1.0), (0.0, 0.0), (0.25, 0.25), (30.0, 30.0), (60.0, 60.0), (86_400.0, 60.0)]
)
def test_throttled_until_the_time_it_named_but_not_for_ever(wait: float | None, seconds: float) -> None:
    made = breaker()
    assert attempt(made, Outcome.THROTTLED, NOW, wait)
    assert made.until == NOW + seconds
    assert made.unavailable(NOW + seconds) is None
    if seconds:
        assert made.unavailable(NOW + seconds - 0.01) is Unavailable.THROTTLED
        assert made.reason == "throttled"
    assert state(made) is State.CLOSED


def test_of_several_times_the_latest_counts() -> None:
    made = breaker()
    attempt(made, Outcome.THROTTLED, NOW, 30.0)
    assert not attempt(made, Outcome.THROTTLED, NOW + 1, 5.0)
    assert made.until == NOW + 30
    assert attempt(made, Outcome.THROTTLED, NOW + 1, 40.0)
    assert made.until == NOW + 41


def test_a_throttled_open_breaker_waits_for_both() -> None:
    made = opened()
    made.end(Outcome.THROTTLED, NOW + 1, 30.0, probe=False)
    assert made.unavailable(NOW + 30) is Unavailable.THROTTLED
    assert made.unavailable(NOW + 31) is None
    assert made.begin()


def test_misconfigured_is_set_aside_longer_each_time_up_to_ten_minutes() -> None:
    made, now = breaker(), NOW
    for seconds in (30, 60, 120, 240, 480, 600, 600):
        assert attempt(made, Outcome.MISCONFIGURED, now)
        assert made.until == now + seconds
        assert made.unavailable(now) is Unavailable.MISCONFIGURED
        now = made.until
        assert made.unavailable(now) is None
    attempt(made, Outcome.OK, now)
    attempt(made, Outcome.MISCONFIGURED, now)
    assert made.until == now + 30


def test_many_requests_that_find_it_misconfigured_together_count_as_one() -> None:
    """A role that was taken away fails everything that is under way, at once."""
    made = breaker()
    for _ in range(5_000):
        made.begin()
    for number in range(5_000):
        made.end(Outcome.MISCONFIGURED, NOW + number / 1_000, None, probe=False)
    assert made.until == NOW + 30


def test_however_often_misconfigured_it_stays_a_number() -> None:
    made, now = breaker(), NOW
    for _ in range(3_000):
        attempt(made, Outcome.MISCONFIGURED, now)
        now = made.until
    assert made.until <= now


def test_a_configured_time_above_ten_minutes_is_kept() -> None:
    made = breaker(Settings(misconfigured_for=Seconds(3_600)))
    attempt(made, Outcome.MISCONFIGURED, NOW)
    assert made.until == NOW + 3_600


def test_new_settings_hold_from_the_next_change_on() -> None:
    made = breaker()
    made.settings = Settings(failures=1, open_for=Seconds(7), open_at_most=Seconds(7))
    attempt(made, Outcome.BACKEND_ERROR, NOW)
    assert made.until == NOW + 7


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "end", "wait"]),
            st.sampled_from(Outcome),
            st.none() | st.floats(0, 1e6),
            st.integers(0, 5),
        ),
        max_size=80,
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_nothing_keeps_it_closed_to_requests_for_ever(
    steps: list[tuple[str, Outcome, float | None, int]], uniform: float
) -> None:
    """However it got there, once all that is under way has ended, waiting and one success are enough."""
    made = breaker(uniform=lambda: uniform)
    under_way: list[bool] = []
    now = NOW
    for kind, outcome, wait, number in steps:
        if kind == "begin" and made.unavailable(now) is None:
            was_closed = made.state is State.CLOSED
            under_way.append(made.begin())
            assert under_way[-1] != was_closed
            assert sum(under_way) <= 1  # probes
        elif kind == "end" and under_way:
            made.end(outcome, now, wait, probe=under_way.pop(number % len(under_way)))
        elif kind == "wait":
            now += 3.0 * number
        assert made.until <= now + 600
    while under_way:
        made.end(Outcome.CANCELLED, now, None, probe=under_way.pop())
    now = max(now, made.until)
    assert made.unavailable(now) is None
    attempt(made, Outcome.OK, now)
    assert (made.state, made.unavailable(now)) == (State.CLOSED, None)
