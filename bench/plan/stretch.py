"""Some minutes of one load through the gateway, in virtual time: what became of what was asked for.

The gateway is its own code: routers, queue, retry budgets and breakers that workers tell each other of
(`bench.simulate`), the supervisor's view of deployments, and clients' limits. Only deployments are modelled. What
comes while it fills up is not counted, nor what comes last, beside which nothing else would come.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from bench.plan.admission import EVERY, Admissions
from bench.plan.demand import Asker, Demand, Size
from bench.plan.deployments import Asked, ProvisionedUnits, StandardQuota, work
from bench.plan.latency import bucket
from bench.plan.structs import Plan, Unit
from bench.simulate.account import Attempt, Wait
from bench.simulate.clock import Clock
from bench.simulate.fleet import quiet
from bench.simulate.sharing import Sharing
from bench.simulate.worker import Request, Worker, priority
from proxy.config import structs
from proxy.messages import DeploymentsSeen
from proxy.policy.lease import Admission
from proxy.routing.breakers import Change
from proxy.routing.candidate import Key, Wanted
from proxy.routing.select import Router
from proxy.supervisor.backends.deployments import Deployments
from proxy.supervisor.backends.overrides import Overrides

REQUESTS, PROMPT, COMPLETION, CACHED = range(4)
"""What is counted of what became of requests."""
LIMITED, REFUSED = "over its client's limit", "refused"
"""Where requests end that no deployment serves."""

_WARM = 60.0  # s: quotas are by the minute
_AFTER = 30.0  # s, that a burst is felt for
_LAST = 5.0  # s, that are asked and not counted
_LEAST, _MOST = 60.0, 900.0  # s, that are counted: whole minutes, since limits may be spent at a minute's beginning
_WANTED = 1_000  # requests, within those bounds
_UNEVEN = 10.0  # s, for which a rate is the same
_DELAY = 0.005  # s, of a message between a worker and the supervisor, at most
_TOLD_EVERY = 1.0  # s
_UNTIL = 40  # half minutes, in which all that was asked has ended
_HAND = 64
_EMPTY = (0.0,) * 4


class Stretch(msgspec.Struct, frozen=True):
    """`shares`: of each asker, what of its requests and tokens came to each place (`places`), by what is counted; None:
    it has not asked. `all`: the same of everybody. `first`: shares of streams by bucket of their time to the first
    token; `queued`: the share of requests that waited for a deployment.
    """

    shares: tuple[tuple[tuple[float, ...], ...] | None, ...]
    all: tuple[tuple[float, ...], ...]
    first: dict[int, float]
    queued: float
    requests: int

    def of(self, asker: int) -> tuple[tuple[float, ...], ...]:
        return self.shares[asker] or self.all


def places(plan: Plan) -> tuple[str, ...]:
    """Where requests end: the provisioned deployment, the standard ones, and nowhere."""
    return (plan.provisioned.name, *(standard.name for standard in plan.standard), LIMITED, REFUSED)


def run(plan: Plan, demand: Demand, units: int, rates: Sequence[float], seed: str) -> Stretch:
    """An hour's load, `rates` being the askers' requests a second on its average, on so many units."""
    with quiet():
        return _Gateway(plan, demand, units, rates, seed).stretch()


class _Segment(msgspec.Struct, frozen=True):
    """A while in which `times` the load's base is asked for. `counts`: what a request in it stands for, a second."""

    lasts: float
    times: float
    counts: float


def _segments(demand: Demand, total: float) -> list[_Segment]:
    """Warm up, a quiet while, and one burst with what follows it, each for as much of an hour as there is of it."""
    quiet_for = min(_MOST, _LEAST * math.ceil(max(1.0, _WANTED / total / _LEAST)))
    bursts = demand.bursts
    if bursts is None:
        return [_Segment(_WARM, 1.0, 0.0), _Segment(quiet_for, 1.0, 1 / quiet_for), _Segment(_LAST, 1.0, 0.0)]
    base = 1 / (1 + bursts.per_hour * bursts.lasts / 3600 * (bursts.times - 1))
    felt = bursts.lasts + _AFTER
    share = min(1.0, bursts.per_hour * felt / 3600)
    return [
        _Segment(_WARM, base, 0.0),
        _Segment(quiet_for, base, (1 - share) / quiet_for),
        _Segment(bursts.lasts, base * bursts.times, share / felt),
        _Segment(_AFTER, base, share / felt),
        _Segment(_LAST, base, 0.0),
    ]


class _Deck:
    """Sizes in a random order, in which every few are as the whole: few large ones more would be as much more load."""

    def __init__(self, sizes: Sequence[Size], uniform: random.Random) -> None:
        self._sizes = sorted(sizes)
        self._uniform = uniform
        self._hand: list[Size] = []

    def draw(self) -> Size:
        if not self._hand:
            sizes, uniform, hand = self._sizes, self._uniform, min(_HAND, len(self._sizes))
            part = len(sizes) / hand
            self._hand = [sizes[int((number + uniform.random()) * part)] for number in range(hand)]
            uniform.shuffle(self._hand)
        return self._hand.pop()


class _Gateway:
    """Workers, deployments, clients, and the count of what becomes of requests."""

    def __init__(self, plan: Plan, demand: Demand, units: int, rates: Sequence[float], seed: str) -> None:
        self._clock = Clock()
        self._start = self._clock.now
        self._demand = demand
        self._askers = demand.askers
        self._uniform = random.Random(f"{seed} chance")
        self._asking = random.Random(f"{seed} asking")
        self._rates = tuple(accumulate(rates))
        self._decks = [_Deck(asker.sizes, self._asking) for asker in self._askers]
        self._estimates = tuple(round(asker.means.completion) for asker in self._askers)
        self._places = {name: number for number, name in enumerate(places(plan))}
        self._segments = _segments(demand, self._rates[-1])
        self._arrivals = self._due(self._rates[-1])
        self._asked = 0
        self._workers = self._built(plan, units, rates, seed)
        self._sharing = Sharing(self._workers, self._clock, _DELAY, self._uniform)
        self._keys = tuple((name, plan.workload.model) for name in self._deployments)
        self._seen = Deployments(self._keys)
        self._overrides = Overrides()
        limits = {asker.name: asker.limits for asker in self._askers}
        self._admissions = Admissions(limits, plan.workers) if any(map(_limited, self._askers)) else None
        self._admitted: dict[int, Admission] = {}
        self._counts = [[[0.0] * len(self._places) for _ in _EMPTY] for _ in self._askers]
        self._first: dict[int, float] = {}
        self._queued = self._counted = 0.0

    def _built(self, plan: Plan, units: int, rates: Sequence[float], seed: str) -> list[Worker]:
        model = plan.workload.model
        unit, provisioned = plan.units[model], plan.provisioned
        self._model = model
        self._deployments: dict[str, ProvisionedUnits | StandardQuota] = {}
        chance = random.Random(f"{seed} deployments")
        backends, deployments = [], []
        if units:
            means = tuple(asker.means.completion for asker in self._askers)
            bought = ProvisionedUnits(units, unit, provisioned, means, chance)
            bought.begin(self._work(unit, rates) * self._segments[0].times)
            self._deployments[provisioned.name] = bought
            backends.append(_backend(provisioned.name, provisioned.region, "provisioned"))
            deployments.append(
                structs.Deployment(backend=provisioned.name, deployment=model, spill_at=provisioned.spill_at)
            )
        for standard in plan.standard:
            self._deployments[standard.name] = StandardQuota(standard, chance)
            backends.append(_backend(standard.name, standard.region, "standard"))
            deployments.append(
                structs.Deployment(
                    backend=standard.name,
                    deployment=model,
                    priority=standard.priority,
                    weight=standard.weight,
                    tokens_per_minute=standard.tokens_per_minute or None,
                )
            )
        models = (structs.Model(name=model, deployments=tuple(deployments)),)
        return [
            Worker(
                (index, 0),
                self._clock,
                Router(models, backends, plan.routing, self._uniform.random),
                plan.routing,
                self._deployments,
                self,
                self._start,
            )
            for index in range(plan.workers)
        ]

    def _work(self, unit: Unit, rates: Sequence[float]) -> float:
        """What is asked for a second, in prompt tokens."""
        means = [asker.means for asker in self._askers]
        works = [work(unit, mean.prompt, mean.cached, mean.completion) for mean in means]
        return sum(rate * each for rate, each in zip(rates, works, strict=True))

    def stretch(self) -> Stretch:
        """Run, until all that was asked has ended."""
        clock = self._clock
        self._come()
        self._tell()
        if self._admissions is not None:
            self._give_back()
        clock.run(self._start + sum(segment.lasts for segment in self._segments))
        for _ in range(_UNTIL):
            if not any(worker.under_way for worker in self._workers):
                break
            clock.run(clock.now + 30.0)
        everybody = [[sum(counts) for counts in zip(*row, strict=True)] for row in zip(*self._counts, strict=True)]
        streams = sum(self._first.values())
        return Stretch(
            tuple(_shares(counts) if any(counts[REQUESTS]) else None for counts in self._counts),
            _shares(everybody),
            {at: weight / streams for at, weight in sorted(self._first.items())},
            self._queued / self._counted if self._counted else 0.0,
            self._asked,
        )

    # Who asks.

    def _due(self, total: float) -> list[tuple[float, float]]:
        """When requests come, and what each counts for: at random, but as many in all as the rate has it."""
        uniform, found = self._asking, []
        since = self._start
        for segment in self._segments:
            slots = list(accumulate(self._slots(segment.lasts)))
            times = []
            least = 1 if segment.counts else 0  # however little is asked for, something is known of it
            for _ in range(max(least, round(total * segment.times * segment.lasts))):
                slot = min(bisect_left(slots, uniform.random() * slots[-1]), len(slots) - 1)
                times.append(since + (slot + uniform.random()) * segment.lasts / len(slots))
            found += [(at, segment.counts) for at in sorted(times)]
            since += segment.lasts
        return found

    def _slots(self, lasts: float) -> list[float]:
        """How likely a request is in each part of a while."""
        variance = self._demand.unevenness
        if not variance:
            return [1.0]
        return [self._asking.gammavariate(1 / variance, variance) for _ in range(math.ceil(lasts / _UNEVEN))]

    def _come(self) -> None:
        """The next request, when it is due."""
        if self._asked < len(self._arrivals):
            self._clock.at(self._arrivals[self._asked][0], self._ask)

    def _ask(self) -> None:
        now, uniform, number = self._clock.now, self._asking, self._asked
        self._asked += 1
        self._come()
        index = min(bisect_left(self._rates, uniform.random() * self._rates[-1]), len(self._rates) - 1)
        asker = self._askers[index]
        size = self._decks[index].draw()
        tokens = size.prompt + (size.most or self._estimates[index])
        wanted = Wanted(self._model, tiers=asker.tiers, tokens=tokens, stream=size.stream)
        rank = priority(asker.limits.priority)
        request = Asked(number, asker.name, rank, wanted, now, now + asker.timeout)
        request.asker, request.size = index, size
        worker = self._workers[int(self._uniform.random() * len(self._workers))]
        if self._admissions is not None:
            admission = self._admissions.admit(worker.index, asker.name, tokens, now)
            if admission is None:
                self._count(request, self._places[LIMITED])
                return
            self._admitted[number] = admission
        worker.serve(request)

    # What becomes of it.

    def attempted(self, worker: Worker, attempt: Attempt) -> None:
        """Nothing is kept of attempts."""

    def waits(self, wait: Wait) -> None:
        """Nor of those who wait."""

    def waited(self, wait: Wait) -> None:
        """Their requests know for how long."""

    def announced(self, worker: Worker, change: Change) -> None:
        self._sharing.announced(worker, change)

    def ended(
        self,
        worker: Worker,
        request: Request,
        how: str,
        reason: str,
        *,
        first: float | None = None,
        told: float | None = None,
        untried: tuple[Key, ...] = (),
    ) -> None:
        assert isinstance(request, Asked)
        size, served = request.size, how == "answered"
        admission = self._admitted.pop(request.number, None)
        if admission is not None and self._admissions is not None:
            used = size.prompt + size.completion if served else None
            self._admissions.settle(worker.index, admission, used, self._clock.now)
        weight = self._count(request, self._places[request.at] if served else self._places[REFUSED])
        if served and first is not None and size.stream and weight:
            at = bucket(first)
            self._first[at] = self._first.get(at, 0.0) + weight
        if request.waited:
            self._queued += weight

    def _count(self, request: Asked, place: int) -> float:
        weight = self._arrivals[request.number][1]
        if weight:
            size, counts = request.size, self._counts[request.asker]
            counts[REQUESTS][place] += weight
            counts[PROMPT][place] += weight * size.prompt
            counts[COMPLETION][place] += weight * size.completion
            counts[CACHED][place] += weight * size.cached
            self._counted += weight
        return weight

    # What the supervisor does.

    def _busy(self) -> bool:
        return self._asked < len(self._arrivals) or any(worker.under_way for worker in self._workers)

    def _tell(self) -> None:
        """Workers report what is new of deployments, and are told of the others'."""
        now = self._clock.now
        for worker in self._workers:
            self._seen.seen(worker.index, DeploymentsSeen(worker.router.seen(now)), now)
        for worker in self._workers:
            told = self._seen.told(worker.index, self._overrides, now)
            if told is not None:
                worker.router.told(told.deployments, now)
        if self._busy():
            self._clock.after(_TOLD_EVERY, self._tell)

    def _give_back(self) -> None:
        assert self._admissions is not None
        self._admissions.tick(self._clock.now)
        if self._busy():
            self._clock.after(EVERY, self._give_back)


def _backend(name: str, region: str, tier: str) -> structs.Backend:
    return structs.Backend(
        name=name,
        url="https://modelled.invalid",
        region=region,
        tier="provisioned" if tier == "provisioned" else "standard",
        credential="none",
    )


def _limited(asker: Asker) -> bool:
    limits = asker.limits
    return any((limits.requests_per_minute, limits.tokens_per_minute, limits.concurrent_requests))


def _shares(counts: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    """Of each row, by place; where nothing was counted, as requests were."""
    found = []
    for row in counts:
        total = sum(row)
        if not total:
            row, total = counts[REQUESTS], sum(counts[REQUESTS])
        found.append(tuple(value / total if total else 0.0 for value in row))
    return tuple(found)
