"""Which deployment answers a request: of the eligible ones those of the first priority, among equals a choice of two.

The order of a plan is decided as far as it is needed: whether somebody is available, and who is the better one, is
looked at when its turn comes, and not before. `eligible` says who may answer, `ranking` who comes first, `balance` who
it is among equals. Pure.
"""

from collections.abc import Callable, Iterable

from proxy.config.structs import Backend, Model, Routing
from proxy.refusal import Reason, Refused
from proxy.routing.balance import choose
from proxy.routing.breaker import Unavailable
from proxy.routing.breakers import Breakers, Change
from proxy.routing.candidate import Candidate, Considered, Key, Wanted
from proxy.routing.eligible import Deployments, Eligible
from proxy.routing.load import DECIDED_EVERY, SHOWN_EVERY, Load
from proxy.routing.outcome import Outcome
from proxy.routing.ranking import Ranking
from proxy.routing.seat import Seat
from proxy.routing.shared import DeploymentSeen, DeploymentTold

CONSIDERED = 20
"""Deployments that a record names, at most."""
_BROKEN = (Unavailable.OPEN, Unavailable.PROBING)


class Plan:
    """The candidates for one request, in the order in which they are asked."""

    __slots__ = ("_chosen", "_eligible", "_met", "_now", "_router", "_wanted", "passed")

    def __init__(self, router: "Router", eligible: Eligible, wanted: Wanted, now: float) -> None:
        self._router = router
        self._eligible = eligible
        self._wanted = wanted
        self._now = now
        self._chosen: Seat | None = None
        self._met: dict[Key, str | None] = {}
        self.passed: list[tuple[str, str, str]] = []
        """Those that were passed over because of how they stand, and why; whoever counts them takes them out."""

    def next(self, now: float, tried: set[Key]) -> Candidate | None:
        """The best that is available and has not been tried."""
        router, eligible = self._router, self._eligible
        only = eligible.only
        if only is not None:
            if only.key in tried:
                return None
            why = router.unavailable(only, now)
            if why is None:
                return only.candidate
            self._pass(only, why.value)
            return None
        chosen = self._chosen
        if chosen is not None and chosen.key not in tried:
            del self._met[chosen.key]  # it was never asked: somebody better may have come back
        unavailable = router.breakers.unavailable

        def usable(seat: Seat) -> bool:
            if seat.key in tried:
                return False
            why = unavailable(seat.key, now)
            if why is None:
                return True
            if why in _BROKEN:
                seat.load.recovered = now  # not before now: its slow start begins when this was the last time
            self._pass(seat, why.value)
            return False

        ranking = router.ranking(eligible, now)
        for seat, aside in ranking.aside:
            self._pass(seat, aside)
        for tier in ranking.tiers:
            self._chosen = chosen = choose(tier, self._wanted, now, router.uniform, usable)
            if chosen is not None:
                self._met[chosen.key] = None
                return chosen.candidate
        return None

    def _pass(self, seat: Seat, why: str) -> None:
        if seat.key not in self._met:
            self._met[seat.key] = why
            self.passed.append((*seat.key, why))

    @property
    def candidates(self) -> list[Candidate]:
        """All of them: those that were chosen, then those that would follow; who does is decided when it is needed."""
        if self._chosen is None and not self._met:
            self.next(self._now, set())
        return [seat.candidate for seat in self._ordered(key for key, why in self._met.items() if why is None)]

    def _ordered(self, first: Iterable[Key]) -> list[Seat]:
        """Some, in that order, then the others as they are ranked."""
        ranking = self._eligible.ranking
        ranked = [] if ranking is None else [seat for tier in ranking.tiers for seat in tier.seats]
        order = dict.fromkeys(first)
        order |= dict.fromkeys(seat.key for seat in (*ranked, *self._eligible.seats))
        known = {seat.key: seat for seat in self._eligible.seats}
        return [known[key] for key in order]

    def verdicts(self, now: float) -> list[tuple[Candidate, Unavailable | None]]:
        """Each candidate, and why it would be skipped."""
        seats = {seat.key: seat for seat in self._eligible.seats}
        return [(found, self._router.unavailable(seats[found.key], now)) for found in self.candidates]

    def considered(self) -> tuple[Considered, ...]:
        """All who were considered, in order, for the record; nobody where there was nothing to consider."""
        eligible, chosen = self._eligible, self._chosen
        if eligible.only is not None and not self._met:
            return (eligible.only.considered, *eligible.passed_by) if eligible.passed_by else ()
        ranking = eligible.ranking
        if chosen is None or len(self._met) > 1 or ranking is None:
            return self._told()
        found = ranking.considered.get(chosen.key)
        if found is None:
            found = ranking.considered[chosen.key] = self._told()
        return found

    def _told(self) -> tuple[Considered, ...]:
        entries = [
            seat.considered if (why := self._met.get(seat.key)) is None else Considered(*seat.key, why)
            for seat in self._ordered(self._met)
        ]
        return (*entries, *self._eligible.passed_by)[:CONSIDERED]

    @property
    def eligible(self) -> Eligible:
        return self._eligible


class Router:
    """A worker's knowledge of all deployments. `uniform` gives numbers in [0, 1)."""

    def __init__(
        self, models: Iterable[Model], backends: Iterable[Backend], routing: Routing, uniform: Callable[[], float]
    ) -> None:
        self.uniform = uniform
        self._loads: dict[Key, Load] = {}
        self._models: dict[str, Deployments] = {}
        self._epoch = 0
        self._slow_start = 0.0
        self.breakers = Breakers((), routing.breaker, uniform)
        self.reconfigure(models, backends, routing)

    def reconfigure(self, models: Iterable[Model], backends: Iterable[Backend], routing: Routing) -> None:
        """A new configuration; deployments that remain keep their breakers and loads."""
        models = tuple(models)
        keys = {(deployment.backend, deployment.deployment) for model in models for deployment in model.deployments}
        self.breakers.reconfigure(keys, routing.breaker)
        busy = {key: load for key, load in self._loads.items() if load.in_flight}  # until what is there has ended
        self._loads = busy | {key: self._loads.get(key) or Load() for key in sorted(keys)}
        known = {backend.name: backend for backend in backends}
        self._models = {model.name: Deployments(model, known, self._loads.__getitem__) for model in models}
        self._slow_start = float(routing.slow_start)
        chosen = {seat.key for found in self._models.values() if len(found.seats) > 1 for seat in found.seats}
        for key, load in self._loads.items():
            load.hints_every = DECIDED_EVERY if key in chosen else SHOWN_EVERY

    def deployments(self, model: str) -> Deployments | None:
        """Those of a model, None where there is no such model."""
        return self._models.get(model)

    def order(self, wanted: Wanted, now: float) -> Plan:
        """A plan for one request."""
        found = self._models.get(wanted.model)
        return Plan(self, _NOBODY if found is None else found.of(wanted), wanted, now)

    def ranking(self, eligible: Eligible, now: float) -> Ranking:
        """Who comes first, as of a moment ago at most."""
        ranking = eligible.ranking
        if ranking is None or now >= ranking.until or ranking.epoch != self._epoch:
            ranking = eligible.ranking = Ranking(eligible.groups, now, self._slow_start, self._epoch, before=ranking)
        return ranking

    def unavailable(self, seat: Seat, now: float) -> Unavailable | None:
        return Unavailable.DRAINED if seat.load.drained else self.breakers.unavailable(seat.key, now)

    # How deployments do.

    def load(self, key: Key) -> Load | None:
        """What a deployment has to do; None where it is not configured any more."""
        return self._loads.get(key)

    def in_flight(self, key: Key) -> int:
        """The requests of this worker that are at a deployment."""
        load = self._loads.get(key)
        return 0 if load is None else load.in_flight

    def told(self, deployments: Iterable[DeploymentTold], now: float) -> None:
        """What holds over all workers; deployments that are not among them stay as they were told."""
        for told in deployments:
            load = self._loads.get((told.backend, told.deployment))
            if load is not None:
                load.told(told, now)
        self._epoch += 1

    def seen(self, now: float) -> tuple[DeploymentSeen, ...]:
        """What there is to tell of deployments since the last time; those without anything new are left out."""
        found = (load.seen(*key, now) for key, load in self._loads.items())
        return tuple(seen for seen in found if seen is not None)

    def started(self, candidate: Candidate) -> bool:
        """A request goes to a candidate; every one of these is followed by a `report`. True if it is a probe."""
        key = candidate.key
        load = self._loads.get(key)
        if load is not None:
            load.started()
        return self.breakers.begin(key)

    def answering(self, candidate: Candidate, now: float) -> Change | None:
        """A probe has found what it was for: an answer has begun. Its `report`, in the end, is like any other's."""
        return self._recovering(self.breakers.judge(candidate.key, Outcome.OK, now, None, probe=True), now)

    def report(
        self, candidate: Candidate, outcome: Outcome, now: float, wait: float | None = None, *, probe: bool = False
    ) -> Change | None:
        """How it went; the change to announce, if there is one."""
        key = candidate.key
        load = self._loads.get(key)
        if load is not None:
            load.ended(outcome)
        return self._recovering(self.breakers.judge(key, outcome, now, wait, probe=probe), now)

    def _recovering(self, change: Change | None, now: float) -> Change | None:
        """A deployment whose breaker closes begins slowly."""
        if change is not None and change.state == "closed":
            load = self._loads.get((change.backend, change.deployment))
            if load is not None:
                load.recovered = now
                self._epoch += 1
        return change

    def refusal(self, plan: Plan, now: float) -> Refused:
        """What the client is told when nobody is left to ask, with the soonest honest time to come back."""
        if not plan.eligible.seats:
            return _impossible(plan.eligible)
        seats = [seat for seat in plan.eligible.seats if not seat.load.drained]
        if not seats:
            return Refused(Reason.NO_BACKEND, Unavailable.DRAINED.value, retry_after=_DRAINED)
        breakers = [breaker for seat in seats if (breaker := self.breakers.get(seat.key)) is not None]
        causes = [(breaker.unavailable(now), breaker.until - now) for breaker in breakers]
        kinds = {cause for cause, _ in causes if cause is not None}
        # Nobody knows how long a probe takes, and waiting does not mend what is configured wrongly.
        waits = [_PROBE if cause is Unavailable.PROBING else wait for cause, wait in causes if cause not in _UNMENDED]
        soonest = max(min(waits, default=0.0), 0.05)
        if Unavailable.THROTTLED in kinds:
            return Refused(Reason.BACKENDS_THROTTLED, _rule(kinds), retry_after=soonest)
        if kinds == {Unavailable.MISCONFIGURED}:
            return Refused(Reason.BACKENDS_MISCONFIGURED, _rule(kinds))
        if Unavailable.OPEN in kinds or Unavailable.PROBING in kinds:
            return Refused(Reason.NO_BACKEND, _rule(kinds), retry_after=max(soonest, 1.0))
        return Refused(Reason.BACKENDS_FAILED, "every candidate was tried")


_NOBODY = Eligible((), None, ())
_PROBE = 1.0
_DRAINED = 5.0
_UNMENDED = (Unavailable.MISCONFIGURED,)
_NO_REGION = "No backend in the regions this client is bound to serves this model."
_NOT_ALLOWED = "No backend that this client is bound to serves this model."


def _impossible(eligible: Eligible) -> Refused:
    """Why nobody may ever answer."""
    reasons = {why for _, why in eligible.excluded}
    rule = ", ".join(sorted(why.value for why in reasons))
    if any(not why.of_the_client for why in reasons):
        return Refused(Reason.NOT_SERVED, rule)
    if len(reasons) == 1 and rule == "region":
        return Refused(Reason.NO_BACKEND, "no deployment in the client's regions", message=_NO_REGION)
    return Refused(Reason.NO_BACKEND, rule or "no deployment", message=_NOT_ALLOWED if rule else None)


def _rule(kinds: set[Unavailable]) -> str:
    return ", ".join(sorted(kind.value for kind in kinds))
