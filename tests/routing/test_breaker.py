"""The breaker as its table: every state and outcome, the times, and that nothing leaves it stuck."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Breaker as Settings
from proxy.config.structs import Seconds
from proxy.routing.breaker import BY_HAND, Breaker, State, Unavailable
from proxy.routing.outcome import Outcome

NOW = 1_000.0
SETTINGS = Settings(failures=3, open_for=Seconds(4), open_at_most=Seconds(10))
FAULTS = [outcome for outcome in Outcome if outcome.breaker]
SUCCESSES = [Outcome.OK, Outcome.CLIENT_ERROR]
OURS = [Outcome.MISCONFIGURED, Outcome.CREDENTIAL_REJECTED]
NO_VERDICT = [Outcome.CANCELLED, Outcome.DEADLINE, Outcome.HEDGE_LOST, Outcome.NO_CREDENTIAL, Outcome.ANSWER_TIMEOUT]


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


def attempt(made: Breaker, outcome: Outcome, now: float, wait: float | None = None) -> str | None:
    return made.end(outcome, now, wait, probe=made.begin())


def probing(now: float = NOW + 4) -> Breaker:
    made = opened()
    assert made.begin()
    assert state(made) is State.HALF_OPEN
    return made


def test_the_outcomes_are_all_of_some_kind() -> None:
    kinds = [*FAULTS, *SUCCESSES, *NO_VERDICT, Outcome.THROTTLED, *OURS]
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


@pytest.mark.parametrize("outcome", [*NO_VERDICT, Outcome.THROTTLED, *OURS])
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


def test_a_probe_without_an_end_makes_room_for_the_next() -> None:
    made = opened()
    assert made.begin()
    made.probing(NOW + 15)
    assert made.unavailable(NOW + 14) is Unavailable.PROBING
    assert made.unavailable(NOW + 15) is None
    assert made.begin()
    made.probing(NOW + 25)
    assert made.unavailable(NOW + 16) is Unavailable.PROBING
    assert made.end(Outcome.OK, NOW + 17, None, probe=True) == "closed"


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


@pytest.mark.parametrize(("wait", "seconds"), [(None, 1.0), (0.0, 0.0), (0.25, 0.25), (30.0, 30.0), (60.0, 60.0)])
def test_throttled_until_the_time_it_named(wait: float | None, seconds: float) -> None:
    made = breaker()
    assert attempt(made, Outcome.THROTTLED, NOW, wait)
    assert made.until == NOW + seconds
    assert made.unavailable(NOW + seconds) is None
    if seconds:
        assert made.unavailable(NOW + seconds - 0.01) is Unavailable.THROTTLED
        assert made.reason == "throttled"
    assert state(made) is State.CLOSED


def test_a_wait_beyond_belief_is_cut_and_one_probe_decides_then() -> None:
    made = breaker()
    assert attempt(made, Outcome.THROTTLED, NOW, 86_400.0) == "throttled"
    assert (made.reason, made.asked) == ("throttled_long", 86_400.0)
    assert made.unavailable(NOW + 59.9) is Unavailable.THROTTLED
    assert made.unavailable(NOW + 60) is None
    assert made.begin()
    assert made.unavailable(NOW + 60) is Unavailable.PROBING
    assert made.end(Outcome.THROTTLED, NOW + 61, 86_340.0, probe=True) == "throttled"
    assert made.until == NOW + 121
    assert attempt(made, Outcome.OK, NOW + 121) == "closed"
    assert (state(made), made.asked, made.unavailable(NOW + 121)) == (State.CLOSED, 0.0, None)


def test_a_probe_that_is_throttled_for_a_moment_is_followed_by_another() -> None:
    made = breaker()
    attempt(made, Outcome.THROTTLED, NOW, 86_400.0)
    attempt(made, Outcome.THROTTLED, NOW + 60, 2.0)
    assert made.unavailable(NOW + 61) is Unavailable.THROTTLED
    assert made.begin()
    assert made.unavailable(NOW + 63) is Unavailable.PROBING


def test_what_makes_hardly_a_difference_is_not_announced() -> None:
    """Whoever throttles answers everything that is under way, each with a time of its own."""
    made = breaker()
    for _ in range(1_000):
        made.begin()
    said = [made.end(Outcome.THROTTLED, NOW + n / 10_000, 5.0, probe=False) for n in range(1_000)]
    assert 1 <= len([word for word in said if word]) <= 3


def test_recovering_from_what_was_wrong_with_us_is_announced() -> None:
    made = breaker()
    attempt(made, Outcome.MISCONFIGURED, NOW)
    assert attempt(made, Outcome.OK, NOW + 1) is None  # sent before
    assert attempt(made, Outcome.OK, made.until) == "closed"
    assert attempt(made, Outcome.OK, made.until) is None


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


def test_a_credential_that_is_renewed_is_tried_at_once_and_set_aside_for_longer_if_it_is_no_better() -> None:
    made = breaker()
    attempt(made, Outcome.CREDENTIAL_REJECTED, NOW)
    assert made.unavailable(NOW + 1) is Unavailable.MISCONFIGURED
    assert made.forgive(NOW + 1)
    assert made.unavailable(NOW + 1) is None
    assert not made.forgive(NOW + 1)
    attempt(made, Outcome.CREDENTIAL_REJECTED, NOW + 1)
    assert made.until == NOW + 61


@pytest.mark.parametrize("outcome", [Outcome.THROTTLED, Outcome.MISCONFIGURED])
def test_a_renewed_credential_mends_nothing_else(outcome: Outcome) -> None:
    made = breaker()
    attempt(made, outcome, NOW, 20.0)
    until = made.until
    assert not made.forgive(NOW + 1)
    assert made.until == until
    made = opened()
    made.end(Outcome.CREDENTIAL_REJECTED, NOW, None, probe=False)
    assert not made.forgive(NOW + 1)
    assert made.unavailable(NOW + 1) is None
    assert state(made) is State.OPEN  # what failed besides has to be probed


def test_new_settings_hold_from_the_next_change_on() -> None:
    made = breaker()
    made.settings = Settings(failures=1, open_for=Seconds(7), open_at_most=Seconds(7))
    attempt(made, Outcome.BACKEND_ERROR, NOW)
    assert made.until == NOW + 7


# The share of failures.

RATIO = Settings(failures=1_000, ratio=0.5, window=Seconds(10), volume=20, open_for=Seconds(4))


def test_half_of_the_answers_failing_opens_it_once_there_are_enough_of_them() -> None:
    made = breaker(RATIO)
    for number in range(19):
        attempt(made, Outcome.OK if number % 2 else Outcome.BACKEND_ERROR, NOW + number / 10)
    assert state(made) is State.CLOSED
    assert attempt(made, Outcome.BACKEND_ERROR, NOW + 2) == "open"


def test_what_has_left_the_window_is_not_counted() -> None:
    made = breaker(RATIO)
    for _ in range(100):
        attempt(made, Outcome.OK, NOW)
    for _ in range(19):
        attempt(made, Outcome.BACKEND_ERROR, NOW + 10)
    assert state(made) is State.CLOSED
    assert attempt(made, Outcome.BACKEND_ERROR, NOW + 10) == "open"


def test_a_deployment_that_is_back_begins_anew() -> None:
    made = breaker(RATIO)
    for _ in range(20):
        attempt(made, Outcome.BACKEND_ERROR, NOW)
    assert attempt(made, Outcome.OK, NOW + 4) == "closed"
    for _ in range(19):
        attempt(made, Outcome.BACKEND_ERROR, NOW + 4)
    assert state(made) is State.CLOSED


# What others found.


def test_who_is_told_of_an_open_breaker_leaves_the_first_probe_to_who_opened_it() -> None:
    made = breaker()
    assert not made.told("open", "backend_error", NOW + 4, NOW)
    assert (state(made), made.reason) == (State.OPEN, "backend_error")
    assert made.unavailable(NOW + 4.99) is Unavailable.OPEN
    assert made.unavailable(NOW + 5) is None
    assert made.begin()


def test_a_probe_elsewhere_is_waited_for_but_not_for_ever() -> None:
    made = breaker()
    made.told("open", "backend_error", NOW + 4, NOW)
    made.told("half_open", "backend_error", NOW + 14, NOW + 4)
    assert made.unavailable(NOW + 13.9) is Unavailable.PROBING
    assert made.unavailable(NOW + 14) is None


def test_a_probe_elsewhere_that_failed_means_the_time_it_says() -> None:
    made = breaker()
    made.told("open", "backend_error", NOW + 4, NOW)
    made.told("half_open", "backend_error", NOW + 14, NOW + 4)
    made.told("open", "backend_error", NOW + 12, NOW + 4)
    assert (made.why, made.until) == (Unavailable.OPEN, NOW + 13)
    assert attempt(made, Outcome.BACKEND_ERROR, NOW + 13) == "open"
    assert made.until == NOW + 23  # twice eight is more than the bound


def test_a_probe_elsewhere_that_came_to_nothing_leaves_the_next_to_anybody() -> None:
    made = breaker()
    made.told("open", "backend_error", NOW + 4, NOW)
    made.told("half_open", "backend_error", NOW + 5, NOW + 5)
    assert made.unavailable(NOW + 5) is None


def test_closed_is_taken_at_once_and_announced_only_where_it_crossed_what_was_found_here() -> None:
    made = breaker()
    made.told("open", "backend_error", NOW + 4, NOW)
    assert not made.told("closed", "recovered", NOW + 1, NOW + 1)
    assert (state(made), made.unavailable(NOW + 1)) == (State.CLOSED, None)
    own = opened()
    assert own.told("closed", "recovered", NOW + 1, NOW + 1)
    assert (state(own), own.unavailable(NOW + 1)) == (State.CLOSED, None)


def test_closed_does_not_end_a_time_that_a_backend_named() -> None:
    made = breaker()
    made.told("throttled", "throttled", NOW + 9, NOW)
    made.told("closed", "recovered", NOW + 1, NOW + 1)
    assert made.unavailable(NOW + 8.9) is Unavailable.THROTTLED


@pytest.mark.parametrize(
    ("word", "reason"), [("open", "reset"), ("throttled", "throttled_long"), ("half_open", "reset")]
)
def test_what_comes_back_late_tells_nobody_what_they_told(word: str, reason: str) -> None:
    made = breaker(uniform=lambda: 0.5)
    made.told("open", "reset", NOW + 3, NOW)
    made.told(word, reason, NOW + 4, NOW)
    for late in (Outcome.BACKEND_ERROR, Outcome.FIRST_BYTE_TIMEOUT, Outcome.OK, Outcome.CANCELLED):
        assert made.end(late, NOW + 1, None, probe=False) is None


def test_being_throttled_is_news_after_what_was_told_is_over() -> None:
    made = breaker()
    made.told("open", "reset", NOW + 60, NOW)
    made.told("closed", "recovered", NOW + 1, NOW + 1)
    assert made.end(Outcome.THROTTLED, NOW + 2, 5.0, probe=False) == "throttled"


@pytest.mark.parametrize("word", ["throttled", "misconfigured"])
def test_told_times_count_as_they_are(word: str) -> None:
    made = breaker()
    made.told(word, word, NOW + 9, NOW)
    assert (state(made), made.unavailable(NOW + 8.9), made.unavailable(NOW + 9)) == (
        State.CLOSED, Unavailable(word), None,
    )  # fmt: skip


def test_told_of_a_wait_beyond_belief_one_probe_decides_here_too() -> None:
    made = breaker()
    made.told("throttled", "throttled_long", NOW + 60, NOW)
    assert made.unavailable(NOW + 60.9) is Unavailable.THROTTLED
    assert made.begin()
    assert made.unavailable(NOW + 61) is Unavailable.PROBING


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "end", "wait", "told"]),
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
        elif kind == "told":
            word = ("closed", "open", "half_open", "throttled", "misconfigured", "throttled")[number]
            reason = "throttled_long" if number == 5 else word
            made.told(word, reason, now + min(60.0, wait or 0.0), now)
            if word == "closed":
                now = max(now, made.until)
                assert made.unavailable(now) is None
        assert made.until <= now + 600
    while under_way:
        made.end(Outcome.CANCELLED, now, None, probe=under_way.pop())
    now = max(now, made.until)
    assert made.unavailable(now) is None
    attempt(made, Outcome.OK, now)
    assert (made.state, made.unavailable(now)) == (State.CLOSED, None)


# By hand.


@pytest.mark.parametrize("found", [Outcome.OK, Outcome.BACKEND_ERROR, Outcome.THROTTLED, Outcome.MISCONFIGURED])
def test_what_a_person_opens_stays_open_whatever_is_found_meanwhile(found: Outcome) -> None:
    made = probing()
    made.told("open", BY_HAND, NOW + 300, NOW + 4)
    assert made.end(found, NOW + 5, None, probe=True) is None
    made.told("closed", "recovered", NOW + 6, NOW + 6)
    made.told("half_open", "backend_error", NOW + 7, NOW + 6)
    assert made.unavailable(NOW + 299) is Unavailable.OPEN
    assert made.unavailable(NOW + 302) is None


def test_after_its_time_a_probe_finds_out() -> None:
    made = breaker()
    made.told("open", BY_HAND, NOW + 300, NOW)
    assert made.unavailable(NOW + 300) is Unavailable.OPEN, "and others may have found out before"
    assert made.unavailable(NOW + 301) is None
    assert attempt(made, Outcome.OK, NOW + 301) == "closed"
    assert made.unavailable(NOW + 301) is None


def test_a_person_may_open_it_for_longer_than_it_is() -> None:
    made = opened()
    made.told("open", BY_HAND, NOW + 300, NOW + 1)
    assert made.unavailable(NOW + 299) is Unavailable.OPEN


@pytest.mark.parametrize("word", ["open", "throttled", "misconfigured"])
def test_a_person_closes_whatever_it_was_set_aside_for(word: str) -> None:
    made = breaker()
    made.told(word, "word", NOW + 300, NOW)
    made.told("open", BY_HAND, NOW + 600, NOW)
    assert made.told("closed", BY_HAND, NOW + 1, NOW + 1) is False
    assert (made.state, made.unavailable(NOW + 1)) == (State.CLOSED, None)
