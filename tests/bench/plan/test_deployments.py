"""Deployments throttle and come back as Azure's do."""

import random

import pytest

from bench.plan.demand import Size
from bench.plan.deployments import Asked, ProvisionedUnits, StandardQuota
from bench.plan.structs import Provisioned, Unit
from bench.simulate.worker import Reply
from proxy.config.structs import Seconds
from proxy.routing.candidate import Wanted
from proxy.routing.outcome import Outcome
from tests.bench.plan.plans import LATENCY, standard

UNIT = Unit(tokens_per_minute=600, completion=3)


def request(prompt: int = 100, completion: int = 10, most: int = 10, cached: int = 0) -> Asked:
    asked = Asked(0, "web", 0, Wanted("m", tokens=prompt + most), 0.0, 60.0)
    asked.asker, asked.size = 0, Size(prompt, completion, cached, most, True)
    return asked


def units(count: int = 1, burst: float = 10.0) -> ProvisionedUnits:
    config = Provisioned(price_per_hour=1.0, burst=Seconds(burst), latency=LATENCY)
    return ProvisionedUnits(count, UNIT, config, (10.0,), random.Random(1))


def ask(deployment: ProvisionedUnits | StandardQuota, now: float, asked: Asked | None = None) -> Reply:
    return deployment.asked(now, asked or request())


def test_units_are_full_at_what_they_do_in_the_time_that_fits() -> None:
    deployment = units()  # ten tokens a second, a hundred fit
    assert ask(deployment, 0.0).outcome is Outcome.OK  # a hundred and thirty
    refused = ask(deployment, 0.0)
    assert refused.outcome is Outcome.THROTTLED
    assert refused.wait == pytest.approx(3.0, abs=0.01), "until it is below"
    assert ask(deployment, 2.9).outcome is Outcome.THROTTLED
    again = ask(deployment, refused.wait or 0.0)
    assert again.outcome is Outcome.OK
    assert again.utilisation == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (request(most=30), 100 + 90),
        (request(most=0), 100 + 30),  # it does not say: its client's mean
        (request(prompt=2_000, cached=1_500), 500 + 30),
        (request(prompt=1_500, cached=1_000), 1_500 + 30),  # too few to count before the end
    ],
)
def test_what_a_request_is_expected_to_take_and_then_has_taken(asked: Asked, held: int) -> None:
    deployment = units(burst=1_000.0)
    reply = deployment.asked(0.0, asked)
    shown = ask(deployment, 0.0).utilisation
    assert shown is not None
    assert shown * 10_000 == pytest.approx(held)
    deployment.done(0.0, asked, reply)
    shown = ask(deployment, 0.0, request()).utilisation
    assert shown is not None
    assert shown * 10_000 == pytest.approx(130 + asked.size.prompt - asked.size.cached + 30)


def test_answers_are_slower_where_much_is_worked() -> None:
    idle, busy = units(100), units(100)
    for number in range(2_000):
        reply = ask(busy, number / 10)
    assert busy.utilisation(200.0) == pytest.approx(1.0, abs=0.05)
    while reply.outcome is not Outcome.OK:
        number += 1
        reply = ask(busy, number / 10)
    assert reply.rest == pytest.approx(2 * ask(idle, 0.0).rest, rel=0.05)


def test_standard_quota_is_by_tokens_and_by_requests() -> None:
    by_tokens = StandardQuota(standard(tokens_per_minute=220), random.Random(1))
    assert [ask(by_tokens, 0.0).outcome for _ in range(3)] == [Outcome.OK, Outcome.OK, Outcome.THROTTLED]
    assert ask(by_tokens, 30.2).wait == 30.0, "whole seconds"
    assert ask(by_tokens, 60.1).outcome is Outcome.OK
    by_requests = StandardQuota(standard(requests_per_minute=12), random.Random(1))
    assert [ask(by_requests, 1.0).outcome for _ in range(3)] == [Outcome.OK, Outcome.OK, Outcome.THROTTLED]
    assert ask(by_requests, 11.0).outcome is Outcome.OK, "a sixth of them in each ten seconds"
