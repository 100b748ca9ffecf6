"""Which deployment answers: residency, priority, weight, what was tried, and what is said when nobody is left."""

import random
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.config.structs import Backend, Breaker, Deployment, Model, Routing, Seconds
from proxy.refusal import Reason
from proxy.routing.breaker import Unavailable
from proxy.routing.candidate import Candidate, Wanted
from proxy.routing.outcome import Outcome
from proxy.routing.select import Plan, Router

NOW = 1_000.0
BACKENDS = tuple(
    Backend(name=name, url=f"https://{name}.example", region=region, tier=tier, credential="gateway")  # type: ignore[arg-type]
    for name, region, tier in (
        ("swc-ptu", "swedencentral", "provisioned"),
        ("swc-std", "swedencentral", "standard"),
        ("fra-std", "francecentral", "standard"),
        ("eus-std", "eastus", "standard"),
    )
)
MODELS = (
    Model(
        name="gpt-4o",
        deployments=(
            Deployment(backend="fra-std", deployment="gpt-4o", priority=1, weight=1),
            Deployment(backend="swc-ptu", deployment="gpt-4o-ptu", priority=0, weight=1),
            Deployment(backend="swc-std", deployment="gpt-4o", priority=1, weight=3),
            Deployment(backend="eus-std", deployment="gpt-4o", priority=2, weight=1),
        ),
    ),
    Model(name="alias", deployments=(Deployment(backend="swc-std", deployment="gpt-4o"),)),
)
ROUTING = Routing(breaker=Breaker(failures=2, open_for=Seconds(4), open_at_most=Seconds(16)))


def router(seed: int = 0) -> Router:
    return Router(MODELS, BACKENDS, ROUTING, random.Random(seed).random)


def names(plan: Plan) -> list[str]:
    return [candidate.backend for candidate in plan.candidates]


def candidate(made: Router, backend: str, model: str = "gpt-4o") -> Candidate:
    return next(c for c in made.order(Wanted(model), NOW).candidates if c.backend == backend)


def attempt(made: Router, backend: str, outcome: Outcome, now: float = NOW, wait: float | None = None) -> None:
    chosen = candidate(made, backend)
    probe = made.started(chosen)
    made.report(chosen, outcome, now, wait, probe=probe)


def break_(made: Router, *backends: str, now: float = NOW) -> None:
    for backend in backends:
        for _ in range(2):
            attempt(made, backend, Outcome.CONNECT_FAILED, now)


# The plan.


def test_the_plan_is_by_priority_and_has_everybody_once() -> None:
    made = router()
    for _ in range(50):
        plan = names(made.order(Wanted("gpt-4o"), NOW))
        assert plan[0] == "swc-ptu"
        assert sorted(plan[1:3]) == ["fra-std", "swc-std"]
        assert plan[3:] == ["eus-std"]


def test_within_a_priority_the_first_is_drawn_by_weight() -> None:
    made = router(1)
    wanted = Wanted("gpt-4o", backends=("swc-std", "fra-std"))
    first = Counter(names(made.order(wanted, NOW))[0] for _ in range(4_000))
    assert first["swc-std"] / 4_000 == pytest.approx(3 / 4, abs=0.03)
    assert first["fra-std"] / 4_000 == pytest.approx(1 / 4, abs=0.03)


@pytest.mark.parametrize("uniform", [0.0, 0.999999999])
def test_the_ends_of_chance_are_orders_too(uniform: float) -> None:
    made = Router(MODELS, BACKENDS, ROUTING, lambda: uniform)
    assert sorted(names(made.order(Wanted("gpt-4o"), NOW))) == sorted(backend.name for backend in BACKENDS)


@pytest.mark.parametrize(
    ("regions", "allowed"),
    [
        (("swedencentral",), {"swc-ptu", "swc-std"}),
        (("francecentral", "eastus"), {"fra-std", "eus-std"}),
        (("SwedenCentral",), set()),
        (("norwayeast",), set()),
    ],
)
def test_residency_is_a_rule(regions: tuple[str, ...], allowed: set[str]) -> None:
    """Nobody outside is in the plan, not even when all inside are out."""
    made = router()
    break_(made, "swc-ptu", "swc-std", "fra-std")
    for _ in range(20):
        plan = made.order(Wanted("gpt-4o", regions), NOW)
        assert set(names(plan)) == allowed
        chosen = plan.next(NOW, set())
        assert chosen is None or chosen.region in regions


def test_no_deployment_in_the_clients_regions_is_said_as_such() -> None:
    made = router()
    refused = made.refusal(made.order(Wanted("gpt-4o", ("norwayeast",)), NOW), NOW)
    assert refused.reason is Reason.NO_BACKEND
    assert refused.retry_after is None
    assert refused.message != Reason.NO_BACKEND.terms.message


def test_a_model_nobody_configured_has_no_candidates() -> None:
    assert names(router().order(Wanted("nothing"), NOW)) == []


def test_plans_that_clients_could_make_many_of_are_forgotten() -> None:
    made = router()
    for number in range(10_000):
        made.order(Wanted("gpt-4o", (f"region-{number}",)), NOW)
    deployments = made.deployments("gpt-4o")
    assert deployments is not None
    assert len(deployments._classes) <= 1_024
    assert len(names(made.order(Wanted("gpt-4o"), NOW))) == 4


# One after another.


def test_each_is_tried_once_in_the_plans_order_while_it_is_available() -> None:
    made = router()
    plan = made.order(Wanted("gpt-4o"), NOW)
    tried: set[tuple[str, str]] = set()
    asked = []
    while (chosen := plan.next(NOW, tried)) is not None:
        tried.add(chosen.key)
        asked.append(chosen.backend)
    assert asked == names(plan)


def test_provisioned_spills_over_to_standard_while_it_is_throttled_and_no_longer() -> None:
    made = router()
    attempt(made, "swc-ptu", Outcome.THROTTLED, wait=5.0)
    plan = made.order(Wanted("gpt-4o"), NOW)
    chosen = plan.next(NOW, set())
    assert chosen is not None
    assert chosen.priority == 1
    again = plan.next(NOW + 5, set())
    assert again is not None
    assert again.backend == "swc-ptu"


def test_availability_is_looked_at_when_a_candidates_turn_comes() -> None:
    made = router()
    plan = made.order(Wanted("gpt-4o"), NOW)
    break_(made, "swc-ptu")
    chosen = plan.next(NOW, set())
    assert chosen is not None
    assert chosen.backend != "swc-ptu"
    assert {c.backend: why for c, why in plan.verdicts(NOW)}["swc-ptu"] is Unavailable.OPEN


def test_two_models_of_one_deployment_share_its_breaker() -> None:
    made = router()
    break_(made, "swc-std")
    plan = made.order(Wanted("alias"), NOW)
    assert names(plan) == ["swc-std"]
    assert plan.next(NOW, set()) is None


def test_a_single_probe_goes_out_and_the_others_go_elsewhere() -> None:
    made = router()
    break_(made, "swc-ptu")
    later = NOW + 4
    plan = made.order(Wanted("gpt-4o"), later)
    probe = plan.next(later, set())
    assert probe is not None
    assert probe.backend == "swc-ptu"
    assert made.started(probe)
    other = plan.next(later, set())
    assert other is not None
    assert other.backend != "swc-ptu"
    assert not made.started(other)


def test_a_probe_whose_client_left_makes_room_for_the_next() -> None:
    made = router()
    break_(made, "swc-ptu")
    chosen = candidate(made, "swc-ptu")
    assert made.started(chosen)
    made.report(chosen, Outcome.CANCELLED, NOW + 4, probe=True)
    assert made.breakers.unavailable(chosen.key, NOW + 4) is None


def test_a_probes_answer_closes_the_breaker_when_it_begins_not_when_its_stream_ends() -> None:
    made = router()
    break_(made, "swc-ptu")
    chosen = candidate(made, "swc-ptu")
    assert made.started(chosen)
    change = made.answering(chosen, NOW + 4)
    assert change is not None
    assert (change.state, change.reason) == ("closed", "recovered")
    assert made.breakers.unavailable(chosen.key, NOW + 4) is None
    assert made.report(chosen, Outcome.OK, NOW + 600) is None
    assert {made.in_flight(standing.key) for standing in made.breakers.view(NOW)} == {0}


# What is announced and shown.


def test_changes_are_announced_once() -> None:
    made = router()
    chosen = candidate(made, "swc-ptu")
    made.started(chosen)
    assert made.report(chosen, Outcome.CONNECT_FAILED, NOW) is None
    made.started(chosen)
    change = made.report(chosen, Outcome.CONNECT_FAILED, NOW)
    assert change is not None
    assert (change.backend, change.deployment) == chosen.key
    assert change.state == "open"
    assert change.reason == "connect_failed"
    assert NOW + 3.2 <= change.until <= NOW + 4


@pytest.mark.parametrize(
    ("outcome", "state"), [(Outcome.THROTTLED, "throttled"), (Outcome.MISCONFIGURED, "misconfigured")]
)
def test_what_is_no_fault_is_announced_by_its_own_name(outcome: Outcome, state: str) -> None:
    made = router()
    chosen = candidate(made, "swc-ptu")
    made.started(chosen)
    change = made.report(chosen, outcome, NOW, 9.0)
    assert change is not None
    assert change.state == state
    standing = {s.backend: s for s in made.breakers.view(NOW)}["swc-ptu"]
    assert (standing.state, standing.until) == (state, change.until)
    assert {s.backend: s for s in made.breakers.view(NOW + 100)}["swc-ptu"].state == "closed"


def test_those_of_a_renewed_credential_are_announced_and_no_others() -> None:
    made = router()
    for name in ("swc-ptu", "swc-std"):
        chosen = candidate(made, name)
        made.started(chosen)
        made.report(chosen, Outcome.CREDENTIAL_REJECTED, NOW)
    (change,) = made.breakers.forgive({"swc-std", "fra-std"}, NOW + 1)
    assert (change.backend, change.state, change.reason) == ("swc-std", "closed", "credential_renewed")
    states = {s.backend: s.state for s in made.breakers.view(NOW + 1)}
    assert (states["swc-std"], states["swc-ptu"]) == ("closed", "misconfigured")


def test_what_is_in_flight_is_counted_for_each_deployment() -> None:
    made = router()
    chosen = candidate(made, "swc-std")
    for _ in range(3):
        made.started(chosen)
    made.report(chosen, Outcome.OK, NOW)
    assert {s.backend: made.in_flight(s.key) for s in made.breakers.view(NOW)} == {
        "swc-ptu": 0, "swc-std": 2, "fra-std": 0, "eus-std": 0,
    }  # fmt: skip


# A new configuration.


def test_deployments_that_remain_keep_their_breakers_and_the_others_are_forgotten() -> None:
    made = router()
    break_(made, "swc-ptu", "swc-std")
    gone = candidate(made, "swc-ptu")
    made.started(gone)
    made.reconfigure(MODELS[1:], BACKENDS, ROUTING)
    assert made.report(gone, Outcome.OK, NOW) is None  # ends under the old configuration
    assert [standing.backend for standing in made.breakers.view(NOW)] == ["swc-std"]
    assert made.order(Wanted("alias"), NOW).next(NOW, set()) is None
    assert names(made.order(Wanted("gpt-4o"), NOW)) == []


def test_a_backend_that_moves_moves_in_the_plans_too() -> None:
    made = router()
    assert names(made.order(Wanted("alias", ("eastus",)), NOW)) == []
    moved = (Backend(name="swc-std", url="https://x.example", region="eastus", credential="gateway"),)
    made.reconfigure(MODELS[1:], moved, ROUTING)
    assert names(made.order(Wanted("alias", ("eastus",)), NOW)) == ["swc-std"]


def test_a_probe_under_way_while_the_configuration_changes_ends_as_one() -> None:
    made = router()
    break_(made, "swc-std")
    chosen = candidate(made, "swc-std")
    probe = made.started(chosen)
    made.reconfigure(MODELS, BACKENDS, Routing(breaker=Breaker(failures=9)))
    made.report(chosen, Outcome.OK, NOW + 5, probe=probe)
    assert made.breakers.unavailable(chosen.key, NOW + 5) is None


# What the client is told.

ALL = ("swc-ptu", "swc-std", "fra-std", "eus-std")


def refused_after(*happened: tuple[str, Outcome, float | None], now: float = NOW) -> tuple[Reason, float | None]:
    made = router()
    for backend, outcome, wait in happened:
        for _ in range(2 if outcome.breaker else 1):
            attempt(made, backend, outcome, NOW, wait)
    refused = made.refusal(made.order(Wanted("gpt-4o"), now), now)
    wait = refused.retry_after
    return refused.reason, None if wait is None else round(wait, 3)


@pytest.mark.parametrize(
    ("happened", "reason", "wait"),
    [
        ([(name, Outcome.THROTTLED, 9.0) for name in ALL], Reason.BACKENDS_THROTTLED, 9.0),
        (
            [(name, Outcome.THROTTLED, wait) for name, wait in zip(ALL, (30.0, 7.5, 60.0, 8.0), strict=True)],
            Reason.BACKENDS_THROTTLED,
            7.5,
        ),
        ([(name, Outcome.THROTTLED, 0.001) for name in ALL], Reason.BACKENDS_THROTTLED, 0.05),
        ([(name, Outcome.MISCONFIGURED, None) for name in ALL], Reason.BACKENDS_MISCONFIGURED, None),
        # One that is misconfigured will be so at its time, too: it makes no wait shorter.
        (
            [("swc-ptu", Outcome.THROTTLED, 50.0), *((name, Outcome.MISCONFIGURED, None) for name in ALL[1:])],
            Reason.BACKENDS_THROTTLED,
            50.0,
        ),
        ([], Reason.BACKENDS_FAILED, None),
        # Somebody can be asked again at once: here because one fault does not open a breaker.
        (
            [("swc-ptu", Outcome.THROTTLED, 50.0)],
            Reason.BACKENDS_THROTTLED,
            0.05,
        ),
    ],
)
def test_what_is_said_when_nobody_is_left(
    happened: list[tuple[str, Outcome, float | None]], reason: Reason, wait: float | None
) -> None:
    assert refused_after(*happened) == (reason, wait)


def test_open_breakers_are_a_503_with_the_time_of_the_first_probe() -> None:
    reason, wait = refused_after(*((name, Outcome.CONNECT_FAILED, None) for name in ALL))
    assert reason is Reason.NO_BACKEND
    assert wait is not None
    assert 3.2 <= wait <= 4


def test_throttled_and_open_say_the_sooner_time() -> None:
    reason, wait = refused_after(
        *((name, Outcome.CONNECT_FAILED, None) for name in ALL[1:]), ("swc-ptu", Outcome.THROTTLED, 2.0)
    )
    assert (reason, wait) == (Reason.BACKENDS_THROTTLED, 2.0)


@pytest.mark.parametrize(("throttled", "wait"), [(False, 1.0), (True, 1.0)])
def test_a_probe_under_way_is_no_reason_to_come_back_at_once(throttled: bool, wait: float) -> None:
    made = router()
    break_(made, *ALL)
    if throttled:
        attempt(made, "swc-std", Outcome.THROTTLED, NOW, 60.0)
    later = NOW + 4
    for name in ALL:
        if not throttled or name != "swc-std":
            assert made.started(candidate(made, name))
    refused = made.refusal(made.order(Wanted("gpt-4o"), later), later)
    assert refused.reason is (Reason.BACKENDS_THROTTLED if throttled else Reason.NO_BACKEND)
    assert refused.retry_after == wait


class Fleet(RuleBasedStateMachine):
    """Requests come, end and change everybody's standing; what can answer does."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.router = router(3)
        self.under_way: list[tuple[Candidate, bool]] = []

    @rule(regions=st.sampled_from([(), ("swedencentral",), ("francecentral", "eastus")]), tries=st.integers(1, 4))
    def ask(self, regions: tuple[str, ...], tries: int) -> None:
        plan = self.router.order(Wanted("gpt-4o", regions), self.now)
        tried: set[tuple[str, str]] = set()
        for _ in range(tries):
            usable = [c for c, why in plan.verdicts(self.now) if why is None and c.key not in tried]
            chosen = plan.next(self.now, tried)
            if chosen is None:
                assert not usable
                return
            assert chosen.priority == min(c.priority for c in usable)
            assert not regions or chosen.region in regions
            tried.add(chosen.key)
            self.under_way.append((chosen, self.router.started(chosen)))

    @precondition(lambda self: self.under_way)
    @rule(
        which=st.integers(0, 100),
        outcome=st.sampled_from(Outcome),
        wait=st.none() | st.floats(0, 100),
        begun=st.booleans(),
    )
    def end(self, which: int, outcome: Outcome, wait: float | None, begun: bool) -> None:
        chosen, probe = self.under_way.pop(which % len(self.under_way))
        if probe and begun:
            self.router.answering(chosen, self.now)
            assert self.router.breakers.unavailable(chosen.key, self.now) in (None, *_SET_ASIDE)
            probe = False
        self.router.report(chosen, outcome, self.now, wait, probe=probe)

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(models=st.sampled_from([MODELS, MODELS[:1]]), failures=st.integers(1, 3))
    def reconfigure(self, models: tuple[Model, ...], failures: int) -> None:
        self.router.reconfigure(models, BACKENDS, Routing(breaker=Breaker(failures=failures)))

    @invariant()
    def what_is_said_is_honest(self) -> None:
        plan = self.router.order(Wanted("gpt-4o"), self.now)
        verdicts = plan.verdicts(self.now)
        if any(why is None for _, why in verdicts):
            assert plan.next(self.now, set()) is not None
            return
        refused = self.router.refusal(plan, self.now)
        assert refused.reason.terms.status in (429, 502, 503)
        if refused.retry_after is None:
            assert {why for _, why in verdicts} == {Unavailable.MISCONFIGURED}
        elif Unavailable.PROBING not in {why for _, why in verdicts} and refused.retry_after > 1:
            assert plan.next(self.now + refused.retry_after + 1e-6, set()) is not None

    @invariant()
    def one_probe_at_most_and_everything_is_counted(self) -> None:
        probes = Counter(c.key for c, probe in self.under_way if probe)
        assert all(count == 1 for count in probes.values())
        flying = Counter(c.key for c, _ in self.under_way)
        for standing in self.router.breakers.view(self.now):
            assert self.router.in_flight(standing.key) == flying[standing.key]

    def teardown(self) -> None:
        """Nobody stays out for ever: everything ends, time passes, and all of them can be asked."""
        for chosen, probe in self.under_way:
            self.router.report(chosen, Outcome.CANCELLED, self.now, probe=probe)
        later = self.now + 600
        assert all(why is None for _, why in self.router.order(Wanted("gpt-4o"), later).verdicts(later))


_SET_ASIDE = (Unavailable.THROTTLED, Unavailable.MISCONFIGURED)
Fleet.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestFleet = Fleet.TestCase
