"""The choice among equals, and the order of tiers: load, speed, room, weights, slow start, spill-over, drains."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Breaker, Seconds
from proxy.routing.breaker import Unavailable
from proxy.routing.candidate import Candidate, Wanted
from proxy.routing.load import HINT_KEPT, SPILLED_FOR
from proxy.routing.outcome import Outcome
from proxy.routing.select import Router
from proxy.routing.shared import DeploymentTold
from tests.routing.fleet import NOW, first, fleet, load, order, skipped

MANY = 2_000


def shares(router: Router, now: float = NOW, many: int = MANY, **wanted: object) -> dict[str, float]:
    """Who is asked first, by share of requests."""
    got = Counter(first(router, now, **wanted) for _ in range(many))
    return {backend: count / many for backend, count in got.items()}


# Two are drawn, and the better one is it.


def test_at_rest_weights_decide() -> None:
    got = shares(fleet({"weight": 3}, {"weight": 1}, {"weight": 4}))
    assert got == pytest.approx({"a": 3 / 8, "b": 1 / 8, "c": 1 / 2}, abs=0.05)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 1_000))
def test_of_two_the_one_with_clearly_less_to_do_is_asked(one: int, other: int, seed: int) -> None:
    router = fleet({}, {}, seed=seed)
    load(router, "a").in_flight, load(router, "b").in_flight = one, other
    if one + 1 > 1.25 * (other + 1):
        assert first(router) == "b"
    elif other + 1 > 1.25 * (one + 1):
        assert first(router) == "a"


def test_what_there_is_to_do_counts_by_weight() -> None:
    router = fleet({"weight": 3}, {"weight": 1})
    load(router, "a").in_flight, load(router, "b").in_flight = 9, 3
    assert shares(router)["a"] == pytest.approx(3 / 4, abs=0.05)
    load(router, "b").in_flight = 5
    assert shares(router) == {"a": 1.0}


def test_who_turns_slow_is_avoided_at_once_and_tried_again_in_time() -> None:
    router = fleet({}, {})
    for backend in "ab":
        load(router, backend).answered(0.1, NOW, stream=True)
    load(router, "a").answered(5.0, NOW + 1, stream=True)
    load(router, "b").answered(0.1, NOW + 1, stream=True)
    assert shares(router, NOW + 1, 100, stream=True) == {"b": 1.0}
    assert "a" in shares(router, NOW + 1, 100, stream=False), "of whole answers nothing is known"
    for second in range(2, 60):
        load(router, "b").answered(0.1, NOW + second, stream=True)
    assert "a" in shares(router, NOW + 60, 100, stream=True)


def test_who_has_not_answered_yet_is_neither_better_nor_worse() -> None:
    router = fleet({}, {})
    load(router, "a").answered(9.0, NOW, stream=True)
    assert shares(router, stream=True) == pytest.approx({"a": 0.5, "b": 0.5}, abs=0.05)


def test_requests_spread_over_many_as_they_pile_up() -> None:
    router = fleet(*[{}] * 20)
    flying = Counter[str]()
    for _ in range(1_000):
        found = router.order(Wanted("m"), NOW).next(NOW, set())
        assert found is not None
        router.started(found)
        flying[found.backend] += 1
    assert max(flying.values()) <= 1.5 * min(flying.values())


# Room.


def test_who_has_room_is_asked_before_who_has_none() -> None:
    router = fleet(*[{"tokens_per_minute": 10_000}] * 5)
    for backend in "abcd":
        load(router, backend).charge(9_950, NOW)
    assert shares(router, many=50, tokens=100) == {"e": 1.0}
    assert len(shares(router, many=500, tokens=10)) == 5
    load(router, "e").charge(9_950, NOW)
    assert len(shares(router, many=500, tokens=100)) == 5, "nobody has: then as ever"


def test_what_backends_say_of_their_quota_is_a_hint() -> None:
    router = fleet({}, {})
    load(router, "a").hinted(50, 10, None, NOW)
    assert shares(router, many=50, tokens=100) == {"b": 1.0}
    assert "a" in shares(router, many=50, tokens=10)
    assert "a" in shares(router, NOW + HINT_KEPT, many=50, tokens=100)


def test_what_the_others_have_sent_counts_too() -> None:
    router = fleet({"tokens_per_minute": 1_000}, {"tokens_per_minute": 1_000})
    router.told((DeploymentTold("a", "d", tokens=950),), NOW)
    assert shares(router, many=50, tokens=100) == {"b": 1.0}


# Spill-over.


def test_a_busy_deployment_is_behind_the_next_priority_for_a_while() -> None:
    router = fleet(
        {"tier": "provisioned", "spill_at": 0.8}, {"priority": 1}, {"priority": 1}, {"priority": 2},
    )  # fmt: skip
    assert order(router.order(Wanted("m"), NOW)) == "abcd"
    load(router, "a").hinted(None, None, 0.85, NOW)
    later = NOW + 0.1
    plan = router.order(Wanted("m"), later)
    assert sorted(order(plan)[:2]) == ["b", "c"]
    assert order(plan)[2:] == "ad"
    assert skipped(plan)["a"] == "spill_over"
    assert plan.verdicts(later)[2] == (plan.candidates[2], None), "it is there, behind"
    assert first(router, NOW + SPILLED_FOR + 0.1) == "a"
    load(router, "a").hinted(None, None, 0.5, NOW + 3)
    assert first(router, NOW + 3.2) == "a"


def test_who_spills_over_is_asked_when_the_others_cannot_be() -> None:
    router = fleet({"spill_at": 0.8}, {"priority": 1})
    load(router, "a").hinted(None, None, 0.9, NOW)
    plan = router.order(Wanted("m"), NOW)
    second = plan.next(NOW, set())
    assert second is not None
    router.started(second)
    router.report(second, Outcome.THROTTLED, NOW, 9.0)
    found = plan.next(NOW, {second.key})
    assert found is not None
    assert found.backend == "a"
    assert skipped(plan) == {"a": None, "b": None}, "both were asked"


def test_what_another_worker_saw_of_utilisation_counts() -> None:
    router = fleet({"spill_at": 0.8}, {"priority": 1})
    assert first(router) == "a"
    router.told((DeploymentTold("a", "d", utilisation=0.95),), NOW)
    assert first(router) == "b"


# What people set.


def test_a_drained_deployment_gets_nothing_new_until_it_is_not() -> None:
    router = fleet({}, {})
    router.told((DeploymentTold("a", "d", drained=True),), NOW)
    plan = router.order(Wanted("m"), NOW)
    assert plan.next(NOW, set()) is not None
    assert shares(router, many=50) == {"b": 1.0}
    assert plan.next(NOW, {("b", "d")}) is None
    assert skipped(plan) == {"a": "drained", "b": None}
    assert {c.backend: why for c, why in plan.verdicts(NOW)} == {"a": Unavailable.DRAINED, "b": None}
    router.told((DeploymentTold("a", "d"),), NOW)
    assert "a" in shares(router, many=50)


def test_all_drained_is_said_as_such() -> None:
    router = fleet({})
    router.told((DeploymentTold("a", "d", drained=True),), NOW)
    plan = router.order(Wanted("m"), NOW)
    assert plan.next(NOW, set()) is None
    assert skipped(plan) == {"a": "drained"}
    refused = router.refusal(plan, NOW)
    assert (refused.reason.value, refused.rule) == ("no_backend", "drained")
    assert refused.retry_after


def test_weights_are_changed_at_once_and_put_back() -> None:
    router = fleet({"weight": 1}, {"weight": 1})
    router.told((DeploymentTold("a", "d", weight=9),), NOW)
    assert shares(router) == pytest.approx({"a": 0.9, "b": 0.1}, abs=0.05)
    router.told((DeploymentTold("a", "d", weight=0),), NOW)
    assert shares(router) == {"b": 1.0}
    router.told((DeploymentTold("a", "d"),), NOW)
    assert shares(router) == pytest.approx({"a": 0.5, "b": 0.5}, abs=0.05)


# Slow start.


def broken(router: Router, backend: str, now: float = NOW) -> Candidate:
    found = next(c for c in router.order(Wanted("m"), now).candidates if c.backend == backend)
    for _ in range(Breaker().failures):
        router.started(found)
        router.report(found, Outcome.CONNECT_FAILED, now)
    return found


def test_a_deployment_that_comes_back_gets_its_share_over_time() -> None:
    router = fleet({}, {}, slow_start=10)
    found = broken(router, "a")
    assert shares(router, many=50) == {"b": 1.0}
    back = NOW + 6
    assert router.started(found)
    router.answering(found, back)
    router.report(found, Outcome.OK, back)
    grown = [shares(router, back + seconds).get("a", 0.0) for seconds in (0, 2.5, 5, 10)]
    assert grown == pytest.approx([0.1 / 1.1, 0.325 / 1.325, 0.55 / 1.55, 0.5], abs=0.05)
    assert grown == sorted(grown)


def test_without_a_slow_start_it_is_back_at_once() -> None:
    router = fleet({}, {}, slow_start=0)
    found = broken(router, "a")
    router.started(found)
    router.answering(found, NOW + 6)
    router.report(found, Outcome.OK, NOW + 6)
    assert shares(router, NOW + 6)["a"] == pytest.approx(0.5, abs=0.05)


def test_a_breaker_that_another_worker_closed_is_a_slow_start_too() -> None:
    """Whoever met it while it was out knows since when it is not."""
    router = fleet({}, {}, slow_start=10)
    broken(router, "a")
    shares(router, NOW + 3, many=50)
    breaker = router.breakers.get(("a", "d"))
    assert breaker is not None
    router.breakers.reconfigure((), Breaker(open_for=Seconds(1)))
    router.breakers.reconfigure((("a", "d"), ("b", "d")), Breaker())
    assert shares(router, NOW + 3.2)["a"] < 0.2


# The record.


def test_records_name_who_was_considered_where_there_was_a_choice() -> None:
    assert fleet({}).order(Wanted("m"), NOW).considered() == ()
    router = fleet({}, {"region": "there"})
    plan = router.order(Wanted("m", ("here",)), NOW)
    plan.next(NOW, set())
    assert skipped(plan) == {"a": None, "b": "region"}
    router = fleet(*[{}] * 25)
    plan = router.order(Wanted("m"), NOW)
    found = plan.next(NOW, set())
    assert found is not None
    assert len(plan.considered()) == 20
    assert plan.considered()[0].backend == found.backend
    assert plan.considered() is plan.considered(), "it is made once for all who go the same way"


def test_those_that_were_passed_over_are_counted_once() -> None:
    router = fleet({}, {"priority": 1})
    found = router.order(Wanted("m"), NOW).next(NOW, set())
    assert found is not None
    router.started(found)
    router.report(found, Outcome.THROTTLED, NOW, 5.0)
    plan = router.order(Wanted("m"), NOW)
    plan.next(NOW, set())
    plan.next(NOW, set())
    assert plan.passed == [("a", "d", "throttled")]
    assert skipped(plan) == {"a": "throttled", "b": None}
