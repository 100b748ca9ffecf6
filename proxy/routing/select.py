"""Which deployment answers a request: eligible ones by priority, within a priority at random by weight.

Residency is a rule: a deployment outside the client's regions is not in the plan at all. Availability is looked at when
a candidate's turn comes, not before. Pure.
"""

from collections.abc import Callable, Iterable, Sequence

from proxy.config.structs import Backend, Model, Routing
from proxy.refusal import Reason, Refused
from proxy.routing.breaker import Unavailable
from proxy.routing.breakers import Breakers, Change
from proxy.routing.candidate import Candidate, Key, Wanted
from proxy.routing.hints import Hints
from proxy.routing.load import DECIDED_EVERY, SHOWN_EVERY, Load
from proxy.routing.outcome import Outcome
from proxy.routing.shared import DeploymentSeen, DeploymentTold

_PLANS = 4096


class Plan:
    """The candidates for one request, in the order they will be asked."""

    __slots__ = ("_router", "candidates")

    def __init__(self, router: "Router", candidates: Sequence[Candidate]) -> None:
        self._router = router
        self.candidates = candidates

    def next(self, now: float, tried: set[Key]) -> Candidate | None:
        """The first that is available and has not been tried."""
        router = self._router
        for candidate in self.candidates:
            key = candidate.key
            if key not in tried and router.breakers.unavailable(key, now) is None and not router.drained(key):
                return candidate
        return None

    def verdicts(self, now: float) -> list[tuple[Candidate, Unavailable | None]]:
        """Each candidate, and why it would be skipped."""
        return [(candidate, self._router.breakers.unavailable(candidate.key, now)) for candidate in self.candidates]


class Router:
    """A worker's knowledge of all deployments."""

    def __init__(
        self, models: Iterable[Model], backends: Iterable[Backend], routing: Routing, uniform: Callable[[], float]
    ) -> None:
        self._uniform = uniform
        self._loads: dict[Key, Load] = {}
        self._candidates: dict[str, tuple[Candidate, ...]] = {}
        self.breakers = Breakers((), routing.breaker, uniform)
        self.reconfigure(models, backends, routing)

    def reconfigure(self, models: Iterable[Model], backends: Iterable[Backend], routing: Routing) -> None:
        """A new configuration; deployments that remain keep their breakers."""
        known = {backend.name: backend for backend in backends}
        self._candidates = {
            model.name: tuple(
                Candidate(
                    deployment.backend,
                    deployment.deployment,
                    known[deployment.backend].region,
                    known[deployment.backend].tier,
                    deployment.priority,
                    deployment.weight,
                )
                for deployment in model.deployments
            )
            for model in models
        }
        keys = {candidate.key for candidates in self._candidates.values() for candidate in candidates}
        self.breakers.reconfigure(keys, routing.breaker)
        busy = {key: load for key, load in self._loads.items() if load.in_flight}  # until what is there has ended
        self._loads = busy | {key: self._loads.get(key) or Load() for key in sorted(keys)}
        chosen = {c.key for candidates in self._candidates.values() if len(candidates) > 1 for c in candidates}
        for key, load in self._loads.items():
            load.hints_every = DECIDED_EVERY if key in chosen else SHOWN_EVERY
        self._eligible: dict[tuple[str, tuple[str, ...]], tuple[tuple[Candidate, ...], ...]] = {}

    def order(self, wanted: Wanted, _now: float) -> Plan:
        """A plan for one request."""
        groups = self._eligible.get((wanted.model, wanted.regions))
        if groups is None:
            groups = self._groups(wanted.model, wanted.regions)
        if len(groups) == 1 and len(groups[0]) == 1:
            return Plan(self, groups[0])
        return Plan(self, [candidate for group in groups for candidate in self._shuffled(group)])

    def _groups(self, model: str, regions: tuple[str, ...]) -> tuple[tuple[Candidate, ...], ...]:
        eligible = [c for c in self._candidates.get(model, ()) if not regions or c.region in regions]
        priorities = sorted({candidate.priority for candidate in eligible})
        groups = tuple(tuple(c for c in eligible if c.priority == priority) for priority in priorities)
        if len(self._eligible) >= _PLANS:
            self._eligible.clear()
        self._eligible[model, regions] = groups
        return groups

    def _shuffled(self, group: tuple[Candidate, ...]) -> Iterable[Candidate]:
        """In random order, by weight and without replacement (Efraimidis and Spirakis, 2006)."""
        if len(group) == 1:
            return group
        return sorted(group, key=lambda candidate: -(self._uniform() ** (1 / candidate.weight)))

    def drained(self, key: Key) -> bool:
        load = self._loads.get(key)
        return load is not None and load.drained

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

    def charge(self, candidate: Candidate, tokens: int, now: float) -> None:
        """So many tokens are expected to be used there."""
        load = self._loads.get(candidate.key)
        if load is not None:
            load.charge(tokens, now)

    def correct(self, candidate: Candidate, tokens: int, at: float, now: float) -> None:
        """What was charged `at` a time was so many too few, or, where negative, too many."""
        load = self._loads.get(candidate.key)
        if load is not None:
            load.correct(tokens, at, now)

    def answered(self, candidate: Candidate, seconds: float, now: float, *, stream: bool) -> None:
        """The head of an answer came, so many seconds after it was asked for."""
        load = self._loads.get(candidate.key)
        if load is not None:
            load.answered(seconds, now, stream=stream)

    def takes_hints(self, candidate: Candidate, now: float) -> bool:
        """Whether it is time to read what a deployment says of its room: as often as it can matter, and no more."""
        load = self._loads.get(candidate.key)
        return load is not None and load.takes_hints(now)

    def hinted(self, candidate: Candidate, hints: Hints, now: float) -> None:
        """What the head of an answer says of a deployment's room."""
        load = self._loads.get(candidate.key)
        if load is not None:
            load.hinted(*hints, now)

    def answering(self, candidate: Candidate, now: float) -> Change | None:
        """A probe has found what it was for: an answer has begun. Its `report`, in the end, is like any other's."""
        return self.breakers.judge(candidate.key, Outcome.OK, now, None, probe=True)

    def report(
        self, candidate: Candidate, outcome: Outcome, now: float, wait: float | None = None, *, probe: bool = False
    ) -> Change | None:
        """How it went; the change to announce, if there is one."""
        load = self._loads.get(candidate.key)
        if load is not None:
            load.ended(outcome)
        return self.breakers.judge(candidate.key, outcome, now, wait, probe=probe)

    def refusal(self, plan: Plan, now: float) -> Refused:
        """What the client is told when nobody is left to ask, with the soonest honest time to come back."""
        if not plan.candidates:
            return Refused(Reason.NO_BACKEND, "no deployment in the client's regions", message=_NO_REGION)
        breakers = [breaker for c in plan.candidates if (breaker := self.breakers.get(c.key)) is not None]
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


_PROBE = 1.0
_UNMENDED = (Unavailable.MISCONFIGURED,)
_NO_REGION = "No backend in the regions this client is bound to serves this model."


def _rule(kinds: set[Unavailable]) -> str:
    return ", ".join(sorted(kind.value for kind in kinds))
