"""Canaries: a share of clients or users asks them first, always the same ones, and nobody else ever does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Client
from proxy.policy.operations import OPERATIONS, Target
from proxy.routing.breaker import Unavailable
from proxy.routing.canary import NOBODYS, Canaries, place
from proxy.routing.candidate import Wanted
from proxy.routing.outcome import Outcome
from proxy.routing.wanted import wanted
from tests.routing.fleet import NOW, first, fleet, order, skipped

MANY = 4_000


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_share_is_what_it_says(share: float) -> None:
    router = fleet({}, {"canary": share, "priority": 3})
    got = sum(first(router, sticky=f"client-{n}") == "b" for n in range(MANY))
    spread = 5 * (share * (1 - share) / MANY) ** 0.5  # five standard deviations
    assert abs(got / MANY - share) <= spread


def test_who_gets_it_gets_it_always_and_still_does_when_the_share_grows() -> None:
    few, more = Canaries("m", [0.1]), Canaries("m", [0.3])
    mine = {n for n in range(MANY) if few.of(f"c{n}") == 0}
    assert mine == {n for n in range(MANY) if few.of(f"c{n}") == 0}
    assert mine < {n for n in range(MANY) if more.of(f"c{n}") == 0}
    other = Canaries("another", [0.1])
    assert mine != {n for n in range(MANY) if other.of(f"c{n}") == 0}


@given(st.text(), st.text())
def test_everybody_has_a_place(model: str, who: str) -> None:
    who = who.encode("utf-8", "replace").decode()
    model = model.encode("utf-8", "replace").decode()
    assert 0 <= place(model, who) < 1
    assert Canaries(model, [1.0]).of(who) == 0
    assert Canaries(model, [0.0]).of(who) == NOBODYS


def test_two_canaries_share_nobody() -> None:
    canaries = Canaries("m", [0.2, 0.3])
    of = [canaries.of(f"c{n}") for n in range(MANY)]
    assert of.count(0) / MANY == pytest.approx(0.2, abs=0.04)
    assert of.count(1) / MANY == pytest.approx(0.3, abs=0.04)


def _one(wants: int) -> str:
    """Somebody who gets canary `wants`, of a half."""
    canaries = Canaries("m", [0.5])
    return next(f"c{n}" for n in range(100) if canaries.of(f"c{n}") == wants)


def test_those_in_the_share_fall_back_and_the_others_never_ask_it() -> None:
    router = fleet({}, {"canary": 0.5})
    mine, others = _one(0), _one(NOBODYS)
    plan = router.order(Wanted("m", sticky=mine), NOW)
    assert order(plan) == "ba"
    canary = plan.next(NOW, set())
    assert canary is not None
    router.started(canary)
    router.report(canary, Outcome.THROTTLED, NOW, 30.0)
    assert first(router, sticky=mine) == "a"
    plan = router.order(Wanted("m", sticky=others), NOW)
    assert (order(plan), skipped(plan)) == ("a", {"a": None, "b": "canary"})
    assert {c.backend: why for c, why in plan.verdicts(NOW)} == {"a": None}
    assert router.order(Wanted("m", sticky=mine), NOW).verdicts(NOW)[-1][1] is Unavailable.THROTTLED


@pytest.mark.parametrize(
    ("sticky", "user", "expected"),
    [("client", "u", "c"), ("client", None, "c"), ("user", "u", "c\0u"), ("user", None, "c")],
)
def test_whose_share_it_is(sticky: str, user: str | None, expected: str) -> None:
    deployments = fleet({}, {"canary": 0.5}, sticky=sticky).deployments("m")
    assert deployments is not None
    target = Target(OPERATIONS["embeddings"], "v1", None)
    assert wanted(deployments, Client(name="c"), user, target, None, 9).sticky == expected
