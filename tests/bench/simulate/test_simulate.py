"""The routing of a fleet in virtual time: seeds, and hypothesis, look for a run that breaks a law.

`PENSTOCK_SIMULATIONS` is how many of each (default: 40); a thousand take some minutes.
"""

import os
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.__main__ import main
from bench.simulate.clock import Clock
from bench.simulate.fleet import simulate
from bench.simulate.laws import broken
from bench.simulate.scenario import Backend, Client, Death, Kind, Scenario, Trouble, drawn, settling
from proxy.config.structs import Breaker, Queueing, RetryBudget, Routing, Seconds
from proxy.routing import breaker, candidate, queue, retry_budget
from proxy.routing.outcome import Outcome

SIMULATIONS = int(os.environ.get("PENSTOCK_SIMULATIONS", "40"))
REGIONS = ("swedencentral", "francecentral")
CALM = 30.0


def seconds(*values: float) -> st.SearchStrategy[Seconds]:
    return st.sampled_from(tuple(map(Seconds, values)))


ROUTINGS = st.builds(
    Routing,
    attempts=st.integers(1, 4),
    retry_first_byte_timeout=st.booleans(),
    breaker=st.builds(
        Breaker,
        failures=st.integers(1, 6),
        ratio=st.sampled_from((0.2, 0.5, 1.0)),
        volume=st.sampled_from((3, 20)),
        open_for=seconds(1, 4),
        open_at_most=seconds(4, 15),
        retry_after_at_most=seconds(2, 10),
        misconfigured_for=seconds(1, 3),
    ),
    retries=st.builds(RetryBudget, ratio=st.sampled_from((0.05, 0.5)), at_least=st.sampled_from((1, 100))),
    queue=st.builds(Queueing, wait=seconds(0, 1, 3), size=st.sampled_from((2, 1000))),
)
TROUBLES = st.builds(
    lambda kind, since, lasts, share, wait: Trouble(kind, since, since + lasts, share, wait),
    st.sampled_from(Kind),
    st.floats(1, 15),
    st.floats(0.2, 8),
    st.sampled_from((1.0, 0.5, 0.1)),
    st.sampled_from((0.05, 3.0, 86_400.0)),
)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    routing, first_byte = draw(ROUTINGS), 4.0
    backends = tuple(
        Backend(
            name=f"b{number}",
            region=draw(st.sampled_from(REGIONS)),
            priority=draw(st.integers(0, 1)),
            weight=draw(st.sampled_from((1, 4))),
            first=draw(st.sampled_from((0.1, 0.4))),
            troubles=tuple(draw(st.lists(TROUBLES, max_size=2))),
        )
        for number in range(draw(st.integers(1, 4)))
    )
    regions = sorted({backend.region for backend in backends})
    priority = draw(st.sampled_from(("interactive", "batch")))
    clients = (
        Client("c0", 4.0, streams=draw(st.sampled_from((0.5, 1.0))), timeout=draw(st.sampled_from((600.0, 1.0)))),
        Client("c1", 2.0, (draw(st.sampled_from(regions)),), leaves=draw(st.sampled_from((0.0, 0.2)))),
        Client("c2", 1.0, priority=priority),
    )
    workers = draw(st.integers(1, 3))
    longest = max((t.until - t.since for backend in backends for t in backend.troubles), default=0.0)
    return Scenario(
        seed=draw(st.integers(0, 2**32)),
        workers=workers,
        delay=draw(st.sampled_from((0.0, 0.01, 0.5))),
        duration=24.0 + settling(routing, first_byte, longest) + CALM,
        calm=CALM,
        first_byte=first_byte,
        routing=routing,
        backends=backends,
        clients=clients,
        deaths=tuple(draw(st.lists(st.builds(Death, st.floats(1, 23), st.integers(0, workers - 1)), max_size=1))),
    )


@settings(max_examples=SIMULATIONS, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_no_sequence_of_troubles_breaks_a_law(scenario: Scenario) -> None:
    assert broken(scenario, simulate(scenario)) == []


@pytest.mark.parametrize("block", range(4))
def test_no_seed_breaks_a_law(block: int) -> None:
    each = max(1, SIMULATIONS // 4)
    for seed in range(block * each, (block + 1) * each):
        scenario = drawn(seed)
        assert broken(scenario, simulate(scenario)) == [], f"seed {seed}"


def test_a_seed_is_the_same_run_each_time() -> None:
    first, second = (msgspec.to_builtins(simulate(drawn(7)).ended) for _ in range(2))
    assert first == second


def made(*troubles: Trouble, workers: int = 2, **more: object) -> Scenario:
    """Two regions, of which the first has troubles; a client for both and one for the first alone."""
    routing = Routing(breaker=Breaker(open_for=Seconds(1), open_at_most=Seconds(4), retry_after_at_most=Seconds(5)))
    given: dict[str, object] = {
        "seed": 1,
        "workers": workers,
        "delay": 0.01,
        "duration": 90.0,
        "calm": CALM,
        "first_byte": 4.0,
        "routing": routing,
        "backends": (Backend("swc", REGIONS[0], troubles=troubles), Backend("frc", REGIONS[1])),
        "clients": (Client("any", 6.0), Client("bound", 3.0, (REGIONS[0],))),
    }
    return Scenario(**given | more)  # type: ignore[arg-type]


DOWN = Trouble(Kind.DOWN, 5, 15)


def test_what_is_modelled_is_what_is_met() -> None:
    scenario = made(DOWN, Trouble(Kind.THROTTLE, 16, 20, wait=0.5), Trouble(Kind.BREAK, 21, 23))
    account = simulate(scenario)
    outcomes = {attempt.outcome for attempt in account.attempts}
    assert {Outcome.CONNECT_FAILED, Outcome.THROTTLED, Outcome.BROKEN_MID_ANSWER, Outcome.OK} <= outcomes
    assert {ended.how for ended in account.ended} >= {"answered", "broken", "refused"}
    assert broken(scenario, account) == []
    first = [ended.first for ended in account.ended if ended.first is not None]
    assert 0.2 < sorted(first)[len(first) // 2] < 2.0


def test_capacity_and_quota_are_kept_by_429() -> None:
    limited = (Backend("swc", REGIONS[0], capacity=2), Backend("frc", REGIONS[1], tokens_per_minute=600))
    account = simulate(made(backends=limited, clients=(Client("any", 8.0),)))
    throttled = {attempt.key[0] for attempt in account.attempts if attempt.outcome is Outcome.THROTTLED}
    assert throttled == {"swc", "frc"}


def test_a_worker_that_dies_loses_what_it_has_and_no_more() -> None:
    scenario = made(deaths=(Death(20.0, 0),))
    account = simulate(scenario)
    lost = [ended for ended in account.ended if ended.how == "lost"]
    assert 0 < len(lost) < 30
    assert {(ended.worker, ended.over) for ended in lost} == {(0, 20.0)}
    assert broken(scenario, account) == []


def test_time_is_in_order_and_the_order_of_asking_breaks_ties() -> None:
    clock, seen = Clock(0.0), []
    for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "never")):
        clock.at(when, lambda name: seen.append((clock.now, name)), name)
    clock.after(0.5, lambda: clock.at(0.1, lambda: seen.append((clock.now, "late"))))
    clock.run(5.0)
    assert seen == [(0.5, "late"), (1.0, "a"), (1.0, "b"), (2.0, "c")]
    assert clock.now == 5.0


# The laws find what they are for: each of these takes a rule out of the routing.


def found(scenario: Scenario) -> set[str]:
    return {what.partition(":")[0] for what in broken(scenario, simulate(scenario))}


def test_residency_that_is_not_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bench.simulate.fleet.Wanted", lambda model, _regions, **more: candidate.Wanted(model, (), **more)
    )
    assert found(made()) == {"residency"}


def test_a_breaker_that_stays_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = breaker.Breaker.unavailable

    def unavailable(self: breaker.Breaker, now: float) -> breaker.Unavailable | None:
        return real(self, now) if self.state is breaker.State.CLOSED else breaker.Unavailable.OPEN

    monkeypatch.setattr(breaker.Breaker, "unavailable", unavailable)
    assert "everybody_comes_back" in found(made(DOWN))


def test_a_probe_that_is_never_over_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = breaker.Breaker.end

    def end(self: breaker.Breaker, outcome: Outcome, now: float, wait: float | None, *, probe: bool) -> str | None:
        return None if probe else real(self, outcome, now, wait, probe=probe)

    monkeypatch.setattr(breaker.Breaker, "end", end)
    assert "everybody_comes_back" in found(made(DOWN, workers=1))


def test_asking_who_is_throttled_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker.Breaker, "unavailable", lambda _self, _now: None)
    assert "throttled_is_left_alone" in found(made(Trouble(Kind.THROTTLE, 5, 15, wait=3.0)))


def test_a_healthy_backend_that_is_passed_over_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        breaker.Breaker, "unavailable", lambda self, now: breaker.Unavailable.OPEN if now < 1010 else None
    )
    assert "healthy_is_used" in found(made())


def test_a_retry_budget_that_is_exceeded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_budget.RetryBudget, "left", lambda _self, _now: True)
    routing = Routing(retries=RetryBudget(ratio=0.01, at_least=1))
    assert "retries_are_budgeted" in found(made(DOWN, Trouble(Kind.ERROR, 16, 20), routing=routing))


WAITING: dict[str, Any] = {
    "backends": (Backend("swc", REGIONS[0], troubles=(Trouble(Kind.THROTTLE, 5, 12, wait=1.5),)),),
    "clients": (Client("many", 12.0), Client("few", 2.0), Client("night", 2.0, priority="batch")),
    "workers": 1,
}


def test_who_waits_has_turns() -> None:
    scenario = made(**WAITING)
    account = simulate(scenario)
    assert {wait.client for wait in account.waits if wait.released} == {"many", "few", "night"}
    assert broken(scenario, account) == []


def test_turns_that_are_unfair_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = queue.Queue.join
    monkeypatch.setattr(queue.Queue, "join", lambda self, ticket: real(self, _as_one(ticket)))
    assert "turns_are_fair" in found(made(**WAITING))


def _as_one(ticket: queue.Ticket) -> queue.Ticket:
    """Everybody is the same client, of the same priority: who came first goes first."""
    ticket.client, ticket.priority = "all", 0
    return ticket


def test_the_command_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "2", "--first", "3"]) == 0
    out = capsys.readouterr().out
    assert "2 seeds from 3" in out
    assert "every law held" in out
