"""What a worker knows of a deployment's load: averages that decay, a minute that slides, hints that are forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Backend, Deployment, Model, Routing
from proxy.record.metrics import FIRST_BYTE_BUCKETS
from proxy.routing import hints
from proxy.routing.candidate import Wanted
from proxy.routing.load import HINT_KEPT, SPILLED_FOR, LastMinute, Load, PeakAverage
from proxy.routing.outcome import Outcome
from proxy.routing.select import Router
from proxy.routing.shared import DeploymentTold
from proxy.wire.http1 import read_response_head

NOW = 1_000.0


# The average.


def test_a_peak_is_taken_at_once_and_given_up_slowly() -> None:
    average = PeakAverage()
    assert average.at(NOW) == 0
    average.observe(0.1, NOW)
    average.observe(3.0, NOW + 1)
    assert average.at(NOW + 1) == 3.0
    average.observe(0.1, NOW + 2)
    assert 2.5 < average.at(NOW + 2) < 3.0
    for second in range(3, 60):
        average.observe(0.1, NOW + second)
    assert average.at(NOW + 59) == pytest.approx(0.1, abs=0.05)


def test_who_is_not_asked_is_forgotten() -> None:
    average = PeakAverage()
    average.observe(5.0, NOW)
    assert average.at(NOW + 10) == pytest.approx(5.0 / 2.718, rel=0.01)
    assert average.at(NOW + 300) == 0


@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(0, 30)), min_size=1, max_size=20))
def test_the_average_lies_between_nought_and_the_highest_peak(seen: list[tuple[float, float]]) -> None:
    average, now = PeakAverage(), NOW
    for seconds, pause in seen:
        now += pause
        average.observe(seconds, now)
        assert seconds - 1e-9 <= max(average.at(now), seconds)
        assert 0 <= average.at(now) <= max(s for s, _ in seen) + 1e-9


# The minute.


@given(
    st.lists(st.tuples(st.integers(0, 1_000), st.sampled_from([0.0, 0.3, 4.9, 5.0, 17.0, 61.0, 1_000.0])), max_size=40)
)
def test_what_was_sent_within_a_minute_counts_and_what_is_older_by_a_slot_does_not(
    sent: list[tuple[int, float]],
) -> None:
    window, now, all_of_it = LastMinute(), NOW, []
    for amount, pause in sent:
        now += pause
        window.add(amount, now)
        all_of_it.append((now, amount))
        young = sum(amount for at, amount in all_of_it if now - at < 60)
        not_old = sum(amount for at, amount in all_of_it if now - at < 65)
        assert young <= window.total(now) <= not_old
    assert window.total(now + 66) == 0


def test_what_is_put_right_is_put_right_where_it_was_counted() -> None:
    window = LastMinute()
    window.add(500, NOW)
    window.correct(-400, NOW, NOW + 50)
    assert window.total(NOW + 50) == 100
    assert window.total(NOW + 66) == 0
    window.correct(-400, NOW, NOW + 100)
    assert window.total(NOW + 100) == 0


# What backends say.


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], (None, None, None)),
        ([b"x-ratelimit-remaining-tokens: 1200", b"x-ratelimit-remaining-requests:7"], (1200, 7, None)),
        ([b"X-RateLimit-Remaining-Tokens: -3"], (-3, None, None)),
        ([b"x-ratelimit-remaining-tokens: many"], (None, None, None)),
        ([b"x-ratelimit-remaining-tokens: " + b"9" * 40], (None, None, None)),
        ([b"azure-openai-deployment-utilization: 42.5%"], (None, None, 0.425)),
        ([b"azure-openai-deployment-utilization: 100%"], (None, None, 1.0)),
        ([b"azure-openai-deployment-utilization: 7"], (None, None, 0.07)),
        ([b"azure-openai-deployment-utilization:"], (None, None, None)),
        ([b"azure-openai-deployment-utilization: nan%"], (None, None, None)),
        ([b"content-type: application/json"], (None, None, None)),
    ],
)
def test_hints_are_read_or_ignored(lines: list[bytes], expected: tuple[int | None, int | None, float | None]) -> None:
    said = read_response_head(b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"\r\n"])).said
    assert hints.read(said) == expected


def test_a_hint_counts_what_was_sent_since_and_is_forgotten() -> None:
    load = Load()
    assert load.has_room(10**9, None, NOW)
    load.hinted(1_000, 2, None, NOW)
    assert load.has_room(1_000, None, NOW)
    load.charge(600, NOW)
    assert not load.has_room(600, None, NOW)
    load.charge(1, NOW)
    assert not load.has_room(1, None, NOW), "the requests are used up"
    assert load.has_room(600, None, NOW + HINT_KEPT)


def test_what_was_sent_is_held_against_what_was_bought() -> None:
    load = Load()
    load.charge(900, NOW)
    assert load.has_room(100, 1_000, NOW)
    assert not load.has_room(101, 1_000, NOW)
    load.correct(-500, NOW, NOW + 1)
    assert load.has_room(101, 1_000, NOW + 1)
    load.told(DeploymentTold("a", "d", tokens=550), NOW + 1)
    assert not load.has_room(101, 1_000, NOW + 1), "others have sent something, too"
    assert load.has_room(101, None, NOW + 1)


def test_utilisation_spills_over_for_a_moment() -> None:
    load = Load()
    load.hinted(None, None, 0.9, NOW)
    assert load.spills(0.9, NOW)
    assert not load.spills(0.91, NOW)
    assert not load.spills(None, NOW)
    assert not load.spills(0.9, NOW + SPILLED_FOR)
    load.hinted(None, None, 0.95, NOW + 3)
    load.hinted(None, None, 0.5, NOW + 3.1)
    assert not load.spills(0.9, NOW + 3.1)


# What is told of it.

MODELS = (
    Model(
        name="m",
        deployments=(Deployment(backend="a", deployment="d"), Deployment(backend="b", deployment="d", priority=1)),
    ),
)
BACKENDS = tuple(Backend(name=n, url="https://x.example", region="r", credential="g") for n in "ab")


def test_only_what_is_new_is_told_and_told_once() -> None:
    made = Router(MODELS, BACKENDS, Routing(), lambda: 0.5)
    assert made.seen(NOW) == ()
    chosen = made.order(Wanted("m"), NOW).next(NOW, set())
    assert chosen is not None
    made.started(chosen)
    load = made.load(chosen.key)
    assert load is not None
    load.charge(100, NOW)
    load.answered(0.03, NOW, stream=True)
    load.hinted(5_000, 50, 0.4, NOW)
    (seen,) = made.seen(NOW)
    assert (seen.backend, seen.deployment, seen.in_flight, seen.requests, seen.tokens) == ("a", "d", 1, 0, 100)
    assert sum(seen.ttfb) == 1
    assert seen.ttfb[FIRST_BYTE_BUCKETS.index(0.05)] == 1
    assert (seen.ewma, seen.remaining_tokens, seen.remaining_requests, seen.utilisation) == (0.03, 5_000, 50, 0.4)
    assert made.seen(NOW + 1) == ()
    made.report(chosen, Outcome.OK, NOW + 2)
    load.correct(-40, NOW, NOW + 2)
    (seen,) = made.seen(NOW + 20)
    assert (seen.in_flight, seen.requests, seen.tokens, seen.failed, seen.throttled) == (0, 1, -40, 0, 0)
    assert (seen.remaining_tokens, seen.utilisation, seen.last_error) == (None, None, None)


@pytest.mark.parametrize(
    ("outcome", "failed", "throttled", "error"),
    [
        (Outcome.OK, 0, 0, None),
        (Outcome.CLIENT_ERROR, 0, 0, None),
        (Outcome.CANCELLED, 0, 0, None),
        (Outcome.THROTTLED, 0, 1, "throttled"),
        (Outcome.BACKEND_ERROR, 1, 0, "backend_error"),
        (Outcome.CONNECT_FAILED, 1, 0, "connect_failed"),
        (Outcome.MISCONFIGURED, 0, 0, "misconfigured"),
        (Outcome.CREDENTIAL_REJECTED, 0, 0, "credential_rejected"),
    ],
)
def test_how_requests_ended_is_told(outcome: Outcome, failed: int, throttled: int, error: str | None) -> None:
    load = Load()
    load.started()
    load.ended(outcome)
    seen = load.seen("a", "d", NOW)
    assert seen is not None
    assert (seen.requests, seen.failed, seen.throttled, seen.last_error) == (1, failed, throttled, error)
