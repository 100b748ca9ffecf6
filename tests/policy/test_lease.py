"""The worker's side of limits: call by call, and as a world in which no minute holds more than its limit."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.structs import Limits
from proxy.policy.budget import Ask, Denied, Granted, Recall, Return
from proxy.policy.lease import Admission, Denial, Leases, Shortage
from proxy.policy.window import SLOT, SPAN, ends, forgotten, lease_slot
from tests.policy.world import RETURN_EVERY, START, Call, World

NOW = 1_000.0
LEASE = lease_slot(NOW)


def leases(**limits: int) -> Leases:
    return Leases({"c": Limits(**limits)})  # type: ignore[arg-type]


def grant(
    requests: int = 0,
    tokens: int = 0,
    slots: int = 0,
    *,
    serial: int = 1,
    slot: int = LEASE,
    denied: Denied | None = None,
) -> Granted:
    return Granted("c", serial, slot, requests, tokens, slots, 0, 0, denied)


def admitted(share: Leases, tokens: int = 0, now: float = NOW) -> Admission:
    decided = share.admit("c", tokens, now)
    assert isinstance(decided, Admission)
    return decided


def short(share: Leases, tokens: int = 0, now: float = NOW) -> Shortage:
    decided = share.admit("c", tokens, now)
    assert isinstance(decided, Shortage)
    return decided


def asked(share: Leases, tokens: int = 0, now: float = NOW) -> Ask:
    ask = short(share, tokens, now).ask
    assert ask is not None
    return ask


def ahead(share: Leases) -> list[Ask]:
    collected = list(share.ahead)
    share.ahead.clear()
    return collected


def recall(share: Leases, now: float = NOW) -> Return:
    return share.recalled(Recall("c", 9, requests=True, tokens=True, slots=True), now)


# One worker, call by call.


def test_a_client_without_limits_is_admitted_and_nothing_is_asked() -> None:
    share = Leases({"c": Limits()})
    admission = admitted(share, 1 << 40)
    share.settle(admission, 5, NOW)
    share.cancel(admission, NOW)
    assert share.due(NOW) == []
    assert share.remaining("c", NOW) == (None, 0, None, 0)
    assert isinstance(share.admit("never heard of", 1, NOW), Admission)


@pytest.mark.parametrize(
    ("limits", "tokens", "budget", "ask"),
    [
        ({"requests_per_minute": 9}, 50, "requests_per_minute", (1, 0, 0)),
        ({"tokens_per_minute": 99}, 50, "tokens_per_minute", (0, 50, 0)),
        ({"concurrent_requests": 3}, 50, "concurrent_requests", (0, 0, 1)),
        (
            {"requests_per_minute": 9, "tokens_per_minute": 99, "concurrent_requests": 3},
            50,
            "requests_per_minute",
            (1, 50, 1),
        ),
        ({"requests_per_minute": 9, "tokens_per_minute": 99}, 0, "requests_per_minute", (1, 0, 0)),
    ],
)
def test_what_is_short_is_asked_for_and_with_the_answer_the_request_is_admitted(
    limits: dict[str, int], tokens: int, budget: str, ask: tuple[int, int, int]
) -> None:
    share = leases(**limits)
    shortage = short(share, tokens)
    assert shortage.budget == budget
    assert shortage.denied is None
    assert shortage.ask == Ask("c", 1, *ask, least=ask[1])
    assert short(share, tokens) == Shortage(budget)  # one ask a client, whoever else waits
    share.granted(grant(*ask), NOW)
    admitted(share, tokens)


@pytest.mark.parametrize("limits", [{"tokens_per_minute": 99}, {"tokens_per_minute": 99, "requests_per_minute": 9}])
def test_a_request_that_uses_no_tokens_needs_no_tokens(limits: dict[str, int]) -> None:
    """As a listing of models does."""
    share = leases(**limits)
    share.granted(grant(requests=9), NOW)
    admission = admitted(share, 0)
    share.settle(admission, 0, NOW)
    assert recall(share).tokens == {}


def test_a_lease_is_not_spent_at_its_end() -> None:
    share = leases(requests_per_minute=9)
    share.granted(grant(9), NOW)
    admitted(share, now=ends(LEASE) - 0.001)
    short(share, now=ends(LEASE))
    assert share.due(ends(LEASE)) == [Return("c", 0, {LEASE: 8}, {}, 0, 0)]
    assert share.due(ends(LEASE)) == []


def test_an_answer_that_comes_after_its_lease_has_ended_is_no_share() -> None:
    share = leases(requests_per_minute=9)
    asked(share)
    share.granted(grant(9), ends(LEASE))
    asked(share, now=ends(LEASE))
    assert share.due(ends(LEASE)) == [Return("c", 0, {LEASE: 9}, {}, 0, 0)]


def test_an_ask_that_nobody_answers_is_repeated() -> None:
    share = leases(requests_per_minute=9)
    assert asked(share).serial == 1
    assert short(share, now=NOW + 0.049).ask is None
    assert asked(share, now=NOW + 0.05).serial == 2
    share.granted(grant(1, serial=1), NOW + 0.06)  # late, and as good as any
    admitted(share, now=NOW + 0.06)
    assert short(share, now=NOW + 0.06).ask is None  # the second is still under way


def test_a_new_lease_sends_the_rest_of_the_old_one_back() -> None:
    share = leases(requests_per_minute=99, tokens_per_minute=999)
    share.granted(grant(5, 50), NOW)
    share.granted(grant(7, slot=LEASE + 2), NOW + 0.5)
    assert share.due(NOW + 0.5) == [Return("c", 0, {LEASE: 5}, {}, 0, 0)]
    share.granted(grant(3, slot=LEASE + 2), NOW + 0.5)
    assert share.due(NOW + 0.5) == []
    assert recall(share, NOW + 0.5) == Return("c", 9, {LEASE + 2: 10}, {LEASE: 50}, 0, 0)


def test_what_was_not_used_can_be_spent_again_while_its_lease_lasts() -> None:
    share = leases(tokens_per_minute=100)
    share.granted(grant(tokens=100), NOW)
    first = admitted(share, 100)
    share.settle(first, 30, NOW)
    second = admitted(share, 70)
    share.settle(second, 20, ends(LEASE))
    assert share.due(ends(LEASE)) == [Return("c", 0, {}, {LEASE: 50}, 0, 0)]


def test_a_cancelled_request_gives_all_of_it_back() -> None:
    share = leases(requests_per_minute=1, tokens_per_minute=100, concurrent_requests=1)
    share.granted(grant(1, 100, 1), NOW)
    share.cancel(admitted(share, 100), NOW)
    share.cancel(admitted(share, 100), ends(LEASE) + 5)
    assert share.due(ends(LEASE) + 5)[0].requests == {LEASE: 1}
    share.granted(grant(1, 100, slot=LEASE + 30), NOW + 7)
    late = admitted(share, 100, NOW + 7)
    share.cancel(late, NOW + 100)
    assert recall(share, NOW + 100) == Return("c", 9, {LEASE + 30: 1}, {LEASE + 30: 100}, 0, 1)


def test_what_is_refunded_after_a_recall_goes_back_and_is_not_kept() -> None:
    share = leases(requests_per_minute=9, tokens_per_minute=100)
    share.granted(grant(2, 100), NOW)
    first, second = admitted(share, 40), admitted(share, 40)
    assert recall(share).tokens == {LEASE: 20}
    share.settle(first, 10, NOW)
    share.cancel(second, NOW)
    assert share.due(NOW) == [Return("c", 0, {LEASE: 1}, {LEASE: 70}, 0, 0)]


def test_recalls_of_one_budget_leave_the_others_alone() -> None:
    share = leases(requests_per_minute=9, tokens_per_minute=100, concurrent_requests=5)
    share.granted(grant(9, 100, 5), NOW)
    admitted(share, 10)
    only = share.recalled(Recall("c", 3, requests=False, tokens=True, slots=False), NOW)
    assert only == Return("c", 3, {}, {LEASE: 90}, 0, 0)
    assert recall(share) == Return("c", 9, {LEASE: 8}, {}, 0, 4)
    assert recall(share) == Return("c", 9, {}, {}, 0, 0)


def test_a_recall_for_a_client_nobody_knows_is_answered() -> None:
    share = leases(requests_per_minute=9)
    unknown = share.recalled(Recall("d", 3, requests=True, tokens=True, slots=True), NOW)
    assert unknown == Return("d", 3, {}, {}, 0, 0)
    share.granted(Granted("d", 1, LEASE, 1, 1, 1, 1, 1), NOW)


# Debt.


def test_use_beyond_the_reservation_is_paid_from_the_share_at_hand() -> None:
    share = leases(tokens_per_minute=1000)
    share.granted(grant(tokens=300), NOW)
    share.settle(admitted(share, 100), 250, NOW)
    assert share.remaining("c", NOW)[3] == 50
    admitted(share, 50)
    assert share.due(NOW) == []


def test_debt_that_the_share_cannot_pay_reaches_the_owner_with_the_next_ask() -> None:
    share = leases(tokens_per_minute=1000)
    share.granted(grant(tokens=300), NOW)
    share.settle(admitted(share, 100), 900, NOW)
    ask = asked(share, 100)
    assert (ask.tokens, ask.debt) == (100, 600)
    assert share.due(NOW) == []


@pytest.mark.parametrize("how", ["due", "recall"])
def test_debt_reaches_the_owner_though_nobody_asks(how: str) -> None:
    share = leases(tokens_per_minute=1000)
    share.granted(grant(tokens=100), NOW)
    share.settle(admitted(share, 100), 900, NOW)
    [returned] = share.due(NOW) if how == "due" else [recall(share)]
    assert (returned.debt, returned.tokens) == (800, {})
    assert share.due(NOW) == []


def test_what_is_granted_or_refunded_pays_debt_first() -> None:
    share = leases(tokens_per_minute=1000)
    share.granted(grant(tokens=200), NOW)
    first, second = admitted(share, 100), admitted(share, 100)
    share.settle(first, 400, NOW)
    share.settle(second, 40, NOW)  # 60 come back, 240 are left to pay
    short(share, 1)
    [ask] = [short(share, 1, NOW + 0.06).ask]
    assert ask is not None
    share.settle(Admission(second.share, 0, 0, 0, concurrent=False), 25, NOW + 0.06)
    share.granted(grant(tokens=100, serial=ask.serial), NOW + 0.06)
    assert share.remaining("c", NOW + 0.06)[3] == 75
    assert isinstance(share.admit("c", 76, NOW + 0.06), Shortage)


# Denials.


def test_a_denial_answers_for_the_owner_for_a_moment() -> None:
    share = leases(requests_per_minute=9)
    asked(share)
    share.granted(grant(denied=Denied(NOW + 30, (), slots=False)), NOW)
    assert short(share) == Shortage("requests_per_minute", denied=Denial("requests_per_minute", 30.0))
    assert short(share, now=NOW + 1 / 32).denied == Denial("requests_per_minute", 30 - 1 / 32)
    assert asked(share, now=NOW + 0.06).requests == 1


@pytest.mark.parametrize(
    ("tokens", "wait"), [(100, None), (101, 10.0), (500, 10.0), (501, 20.0), (900, 20.0), (901, 60.0), (1000, 60.0)]
)
def test_a_denial_of_tokens_answers_every_request_by_what_it_needs(tokens: int, wait: float | None) -> None:
    share = leases(tokens_per_minute=1000)
    asked(share, 200)
    steps = ((100, NOW), (500, NOW + 10), (900, NOW + 20), (1000, NOW + 60))
    share.granted(grant(denied=Denied(0, steps, slots=False)), NOW)
    decided = short(share, tokens)
    assert (decided.denied is None) == (wait is None)
    if wait is None:
        assert decided.ask is not None
    else:
        assert decided.denied == Denial("tokens_per_minute", wait)


@pytest.mark.parametrize(
    ("denied", "budget", "wait"),
    [
        (Denied(NOW + 5, ((0, NOW), (1000, NOW + 3)), slots=False), "requests_per_minute", 5.0),
        (Denied(NOW + 5, ((0, NOW), (1000, NOW + 7)), slots=False), "tokens_per_minute", 7.0),
        (Denied(0.0, ((1000, NOW),), slots=True), "concurrent_requests", 1.0),
        (Denied(NOW + 5, ((1000, NOW),), slots=True), "requests_per_minute", 5.0),
    ],
)
def test_the_longest_wait_of_all_that_lacks_is_told(denied: Denied, budget: str, wait: float) -> None:
    share = leases(requests_per_minute=9, tokens_per_minute=1000, concurrent_requests=2)
    asked(share, 10)
    share.granted(grant(denied=denied), NOW)
    assert short(share, 10).denied == Denial(budget, wait)


def test_a_request_above_the_limit_is_never_admitted_and_not_asked_for() -> None:
    share = leases(tokens_per_minute=1000)
    assert short(share, 1001) == Shortage("tokens_per_minute", denied=Denial("tokens_per_minute", SPAN, never=True))
    assert asked(share, 1000).tokens == 1000


# Asking ahead.


def test_a_share_that_runs_low_is_asked_for_ahead_and_only_what_is_low() -> None:
    share = leases(requests_per_minute=99, tokens_per_minute=9999)
    share.granted(grant(8, 8000), NOW)
    for _ in range(5):
        admitted(share, 10)
    assert ahead(share) == []
    admitted(share, 10)
    assert ahead(share) == [Ask("c", 1, 1, 0, 0, 0, 0, ahead=True)]
    admitted(share, 10)
    assert ahead(share) == []  # one is under way


def test_tokens_are_asked_for_ahead_when_another_such_request_would_wait() -> None:
    share = leases(tokens_per_minute=9999)
    share.granted(grant(tokens=1000), NOW)
    admitted(share, 400)
    assert ahead(share) == []
    admitted(share, 310)  # 290 are left, more than a quarter
    assert ahead(share) == [Ask("c", 1, 0, 310, 0, 310, 0, ahead=True)]


def test_a_share_that_ends_soon_is_asked_for_ahead() -> None:
    share = leases(requests_per_minute=999)
    share.granted(grant(500), NOW)
    admitted(share, now=ends(LEASE) - 0.26)
    assert ahead(share) == []
    admitted(share, now=ends(LEASE) - 0.25)
    assert len(ahead(share)) == 1


def test_slots_are_asked_for_ahead_unless_this_worker_has_them_all() -> None:
    share = leases(concurrent_requests=2)
    share.granted(grant(slots=1), NOW)
    admitted(share)
    assert ahead(share) == [Ask("c", 1, 0, 0, 1, 0, 0, ahead=True)]
    share.granted(grant(slots=1), NOW)
    admitted(share)
    assert ahead(share) == []


def test_an_ask_ahead_that_brought_nothing_is_not_repeated_at_once() -> None:
    share = leases(requests_per_minute=99)
    share.granted(grant(4), NOW)
    for _ in range(3):
        admitted(share)
    assert len(ahead(share)) == 1
    share.granted(grant(), NOW)
    admitted(share)
    assert ahead(share) == []
    share.granted(grant(1, slot=LEASE), NOW + 0.051)
    admitted(share, now=NOW + 0.051)
    assert len(ahead(share)) == 1


def test_an_ask_ahead_that_brought_nothing_refuses_nobody_and_hides_no_denial() -> None:
    share = leases(requests_per_minute=99)
    ask = asked(share)
    share.granted(grant(serial=ask.serial), NOW)
    assert short(share).denied is None
    share.granted(grant(denied=Denied(NOW + 9, (), slots=False)), NOW)
    share.granted(grant(), NOW)
    assert short(share).denied is not None


# New limits.


def test_a_lowered_concurrency_is_kept_by_a_client_that_never_rests() -> None:
    share = leases(concurrent_requests=4)
    share.granted(grant(slots=4), NOW)
    running = [admitted(share) for _ in range(3)]
    share.reconfigure({"c": Limits(concurrent_requests=2)}, NOW)
    assert share.due(NOW) == [Return("c", 0, {}, {}, 0, 1)]
    for admission in running:
        share.settle(admission, 0, NOW)
        asked(share, now=NOW + 10 * running.index(admission))
    assert share.due(NOW) == [Return("c", 0, {}, {}, 0, 3)]


def test_limits_that_come_and_go_leave_nothing_that_was_not_leased() -> None:
    share = leases(requests_per_minute=9)
    share.granted(grant(9), NOW)
    share.reconfigure({"c": Limits(tokens_per_minute=100)}, NOW)
    share.granted(grant(tokens=100), NOW)
    free_of_requests = admitted(share, 10)
    share.reconfigure({"c": Limits(requests_per_minute=9)}, NOW)
    share.cancel(free_of_requests, NOW)
    returned = recall(share)
    assert returned.requests == {LEASE: 9}


def test_a_client_whose_limits_are_removed_is_admitted_and_its_share_goes_back() -> None:
    share = leases(requests_per_minute=9, concurrent_requests=2)
    share.granted(grant(9, slots=2), NOW)
    running = admitted(share)
    share.reconfigure({}, NOW)
    for _ in range(20):
        admitted(share)
    share.settle(running, 5, NOW)
    assert share.due(ends(LEASE))[0].requests == {LEASE: 8}


def test_what_is_left_is_told_without_asking() -> None:
    share = leases(requests_per_minute=600, tokens_per_minute=1000)
    assert share.remaining("c", NOW) == (600, 600, 1000, 1000)
    share.granted(Granted("c", 1, LEASE, 10, 100, 0, 590, 900), NOW)
    admitted(share, 40)
    assert share.remaining("c", NOW) == (600, 599, 1000, 960)
    assert share.remaining("c", ends(LEASE)) == (600, 590, 1000, 900)


# Worlds.

HEAVY = Limits(requests_per_minute=300, tokens_per_minute=20_000, concurrent_requests=8)
CHANGES = (
    HEAVY,
    Limits(requests_per_minute=60, concurrent_requests=2),
    Limits(tokens_per_minute=4_000),
    Limits(requests_per_minute=600, tokens_per_minute=50_000, concurrent_requests=20),
    Limits(requests_per_minute=30, tokens_per_minute=2_000, concurrent_requests=1),
)

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("request"),
            st.integers(0, 3),
            st.sampled_from([0, 1, 10, 100, 500]),
            st.none() | st.sampled_from([0, 5, 80, 500, 1_500]),
            st.sampled_from([0.0, 0.05, 0.4, 3.0]),
        ),
        st.tuples(st.just("wait"), st.sampled_from([0.001, 0.02, 0.25, 1.0, 7.0])),
        st.tuples(st.just("die"), st.integers(0, 3)),
    ),
    min_size=1,
    max_size=60,
)


def play(world: World, script: list[tuple[object, ...]]) -> None:
    for step in script:
        match step:
            case "request", int() as worker, int() as tokens, used, float() as lasts:
                world.request(worker, tokens, used, lasts)  # type: ignore[arg-type]
            case "wait", float() as seconds:
                world.run(world.now + seconds)
            case "die", int() as worker:
                world.die(worker % len(world.workers))
            case "limit", Limits() as limits:
                world.reconfigure(limits)


@given(
    steps.filter(lambda script: sum(step[1] for step in script if step[0] == "wait") < 40),
    st.integers(1, 4),
    st.sampled_from([(0.0005, 0.0005), (0.0, 0.004), (0.001, 0.06)]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80)
def test_no_unit_is_lost_or_made_up(
    script: list[tuple[object, ...]], workers: int, delays: tuple[float, float], rng: random.Random
) -> None:
    """When all is quiet, what the owner counts as taken is what was used, is held, or died with a worker."""
    world = World(Limits(requests_per_minute=40, tokens_per_minute=3_000, concurrent_requests=4), workers, rng, delays)
    play(world, script)
    world.rest(8.0)
    usage = world.owner.usage("c", world.now)
    requests, tokens, slots = world.unspent()
    reserved = sum(call.requests for call in world.calls if call.admitted_at is not None)
    used = sum(call.reserved + call.debt for call in world.calls if call.admitted_at is not None)
    assert usage.requests == reserved + requests + world.lost_requests
    assert usage.tokens == used + tokens + world.lost_tokens
    assert usage.concurrent == slots
    assert world.under_way() == 0


@given(
    steps,
    st.integers(1, 4),
    st.sampled_from([(0.0002, 0.002), (0.001, 0.004)]),
    st.integers(1, 500),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80)
def test_in_a_quiet_world_what_is_free_is_granted_and_what_is_not_is_told_when(
    script: list[tuple[object, ...]], workers: int, delays: tuple[float, float], tokens: int, rng: random.Random
) -> None:
    limits = Limits(requests_per_minute=6, tokens_per_minute=600, concurrent_requests=3)
    world = World(limits, workers, rng, delays)
    play(world, script)
    world.rest(3.5)
    usage = world.owner.usage("c", world.now)
    requests, held, _ = world.unspent()
    fits = usage.requests - requests < 6 and usage.tokens - held + tokens <= 600
    call = world.request(rng.randrange(4), tokens, None, 0.01)
    world.rest(0.1)
    assert (call.admitted_at is not None) == fits
    assert (call.denied is not None) != fits
    assert not call.given_up
    if call.denied is not None:
        at = call.arrived + call.denied.retry_after
        assert call.denied.retry_after <= SPAN + 3 * SLOT + 0.1
        if at - 0.3 > world.now:
            world.run(at - 0.3)
            early = world.request(rng.randrange(4), tokens, None, 0.01)
            world.rest(0.05)
            # More may have opened before, but only what needs no exact answer: this request's amount was asked for.
            assert early.admitted_at is None
        world.run(at + 0.07)
        second = world.request(rng.randrange(4), tokens, None, 0.01)
        world.rest(0.1)
        assert second.admitted_at is not None


@given(
    st.lists(
        st.one_of(steps.map(lambda script: script[0]), st.tuples(st.just("limit"), st.sampled_from(CHANGES))),
        min_size=5,
        max_size=80,
    ),
    st.integers(1, 4),
    st.sampled_from([(0.0005, 0.0005), (0.0, 0.004), (0.001, 0.03)]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80)
def test_limits_hold_over_whatever_happens(
    script: list[tuple[object, ...]], workers: int, delays: tuple[float, float], rng: random.Random
) -> None:
    """The world itself checks every admission: deaths, new limits, delays and debts make no difference."""
    world = World(HEAVY, workers, rng, delays)
    play(world, script)
    world.rest(5.0)
    assert all(call.given_up or call.admitted_at is not None or call.denied for call in live(world))
    assert world.under_way() == 0


def live(world: World) -> list[Call]:
    return [call for call in world.calls if call.worker.alive]


def storm(world: World, seconds: float, rate: float, deaths: float = 0.0, changes: float = 0.0) -> None:
    """Requests of all kinds over all workers, many more than the limits allow."""
    rng, until = world.rng, world.now + seconds
    while world.now < until:
        world.run(world.now + rng.expovariate(rate))
        tokens = rng.choice((1, 10, 100, 400))
        used = rng.choice((None, 0, tokens // 2, tokens, 3 * tokens))
        world.request(rng.randrange(len(world.workers)), tokens, used, rng.choice((0.01, 0.1, 0.5, 4.0)))
        if rng.random() < deaths:
            world.die(rng.randrange(len(world.workers)))
        if rng.random() < changes:
            world.reconfigure(rng.choice(CHANGES))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("deaths", "changes"), [(0.0, 0.0), (0.01, 0.0), (0.005, 0.01)])
def test_limits_hold_in_a_storm_and_all_of_them_is_used(seed: int, deaths: float, changes: float) -> None:
    world = World(HEAVY, 3, random.Random(f"{seed} {deaths} {changes}"))
    storm(world, 90, rate=20, deaths=deaths, changes=changes)
    assert not any(call.given_up for call in live(world))
    assert sum(call.denied is not None for call in world.calls) > len(world.calls) // 4


@pytest.mark.parametrize(
    ("limits", "budget", "least"),
    [
        (Limits(requests_per_minute=300), "requests_per_minute", 300),
        (Limits(tokens_per_minute=20_000), "tokens_per_minute", 19_601),
        (Limits(concurrent_requests=8), "concurrent_requests", 8),
    ],
)
def test_all_of_a_limit_can_be_used(limits: Limits, budget: str, least: int) -> None:
    """Though the shares of it are spread over workers that keep asking."""
    world = World(limits, 4, random.Random(7))
    for _ in range(2_000):
        world.run(world.now + 0.02)
        world.request(world.rng.randrange(4), 400, 400, world.rng.choice((0.1, 1.0)))
    assert least <= world.most[budget] <= getattr(limits, budget)


def test_a_storm_of_denials_is_no_storm_of_asks() -> None:
    world = World(Limits(requests_per_minute=30), 2, random.Random(5))
    seconds = 10
    for _ in range(seconds * 500):
        world.run(world.now + 0.002)
        world.request(world.rng.randrange(2), 0, 0, 0.0)
    admitted_ones = sum(call.admitted_at is not None for call in world.calls)
    assert admitted_ones == 30
    assert sum(call.denied is not None for call in world.calls) >= len(world.calls) - 31
    assert world.sent["ask"] <= 2 * (seconds / 0.05 + 1) + admitted_ones
    assert world.sent["ahead"] <= 2 * admitted_ones
    assert world.sent["recall"] <= 2 * world.sent["ask"]


def test_at_the_limit_of_concurrency_few_asks_are_sent_ahead() -> None:
    world = World(Limits(concurrent_requests=10), 2, random.Random(6))
    for _ in range(10 * 200):
        world.run(world.now + 0.005)
        world.request(world.rng.randrange(2), 0, 0, 0.08)
    assert world.sent["ahead"] <= 2 * 10 / 0.05
    assert world.sent["ask"] <= 2 * 10 / 0.05 + 2 * 10 / 0.01


@pytest.mark.parametrize("rate", [10, 50, 400])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("tokens", [5, 700])
def test_a_busy_client_with_an_ample_budget_waits_for_nobody_once_it_is_warm(
    rate: int, workers: int, tokens: int
) -> None:
    """`rate`: requests a second at each worker."""
    limits = Limits(requests_per_minute=1_000_000, tokens_per_minute=1_000_000_000, concurrent_requests=10_000)
    world = World(limits, workers, random.Random(rate + workers), (0.0005, 0.005))
    for number in range(int(4 * rate)):
        world.run(START + number / rate)
        for worker in range(workers):
            world.request(worker, tokens, tokens, 0.05)
    warm = [call.waited for call in world.calls if call.arrived > START + 1.0]
    assert all(wait == 0 for wait in warm)
    assert world.sent["ask"] + world.sent["ahead"] < 40 * workers * 4
    assert world.sent["recall"] == 0


def test_two_workers_do_not_take_one_unit_from_each_other_for_ever() -> None:
    """Grants and recalls that arrive together: who waited is served before the rest goes back."""
    world = World(Limits(requests_per_minute=600, concurrent_requests=20), 2, random.Random(1), (0.001, 0.001))
    for _ in range(20 * 60):
        world.run(world.now + 1 / 60)
        for worker in (0, 1):
            world.request(worker, 0, 0, 0.3)
    assert not any(call.given_up for call in world.calls)
    assert max(call.waited or 0 for call in world.calls) < 0.05


def test_an_idle_workers_share_is_back_soon() -> None:
    world = World(HEAVY, 2, random.Random(2))
    for _ in range(50):
        world.run(world.now + 0.02)
        world.request(0, 10, 10, 0.05)
    world.rest(2.0 + 2 * RETURN_EVERY)
    assert world.unspent() == (0, 0, 0)
    usage = world.owner.usage("c", world.now)
    assert (usage.requests, usage.tokens, usage.concurrent) == (50, 500, 0)
    assert world.owner.usage("c", world.now + SPAN + 1).requests == 0
    assert forgotten(lease_slot(world.now)) > world.now + SPAN
