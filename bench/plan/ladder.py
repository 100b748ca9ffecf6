"""Levels of load, and what happens between them: an hour is read off from the two levels that it lies between.

Who asks differs from hour to hour: hours in which the same ones ask for the same shares are of one kind, and each kind
has a ladder of its own. Levels are where something changes: where the units are full, or the quotas are, where clients
are at their limits, and the same for a burst. Between two, what comes to each place a second changes in proportion.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import msgspec

from bench.plan import deployments, stretch
from bench.plan.demand import Asker, Demand
from bench.plan.stretch import Stretch
from bench.plan.structs import HOURS_A_WEEK, Plan

_ALIKE = 0.25  # of all requests, that may be another's in two hours of one kind
_KINDS = 4
_APART = 1.12  # times, that two levels are apart at least
_FURTHEST = 3.0  # times, that they are apart at most
_LEVELS = 14
_NOTHING = 1e-9  # requests a second


class Kind(msgspec.Struct):
    """Hours of the week in which the same ones ask. `shares`: each asker's, of all requests in these hours."""

    shares: tuple[float, ...]
    hours: tuple[int, ...]


def kinds(demand: Demand) -> tuple[Kind, ...]:
    """All hours of the week in which anybody asks, each in one kind: with the centre that it is like, from the busiest
    hour on; what is like none when there are enough is with the nearest.
    """
    busy = [hour for hour in range(HOURS_A_WEEK) if sum(demand.rates(hour)) > _NOTHING]
    busy.sort(key=lambda hour: (-sum(demand.rates(hour)), hour))
    centres: list[tuple[float, ...]] = []
    members: list[list[int]] = []
    for hour in busy:
        shares = _shares(demand.rates(hour))
        nearest = min(range(len(centres)), key=lambda at: _distance(centres[at], shares), default=None)
        if nearest is None or (_distance(centres[nearest], shares) > _ALIKE and len(centres) < _KINDS):
            centres.append(shares)
            members.append([hour])
        else:
            members[nearest].append(hour)
    return tuple(
        Kind(_shares([sum(rates) for rates in zip(*map(demand.rates, hours), strict=True)]), tuple(sorted(hours)))
        for hours in members
    )


def _shares(rates: Sequence[float]) -> tuple[float, ...]:
    total = sum(rates)
    return tuple(rate / total for rate in rates)


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / 2


class Ladder:
    """Of one kind of hours, on so many units: levels in requests a second, and a stretch at each."""

    def __init__(self, levels: Sequence[float], stretches: Sequence[Stretch]) -> None:
        self.levels = tuple(levels)
        self.stretches = tuple(stretches)

    def at(self, rate: float) -> tuple[tuple[int, float], ...]:
        """The levels that a rate lies between, and the share of its requests that fare as those at each. In proportion
        is what comes a second: what full units serve is the same, however much more is asked for.
        """
        levels = self.levels
        above = bisect_right(levels, rate)
        if above == 0:
            return ((0, 1.0),)
        if above == len(levels):
            return ((above - 1, 1.0),)
        share = (rate - levels[above - 1]) / (levels[above] - levels[above - 1])
        return ((above - 1, (1.0 - share) * levels[above - 1] / rate), (above, share * levels[above] / rate))


class Ladders:
    """All of them, each made when it is first asked for. `simulated` counts requests, `ran` hears of each stretch."""

    def __init__(self, plan: Plan, demand: Demand, ran: Callable[[], None] = lambda: None) -> None:
        self.plan = plan
        self.demand = demand
        self.kinds = kinds(demand)
        self.kind_of = {hour: number for number, kind in enumerate(self.kinds) for hour in kind.hours}
        self.simulated = 0
        self.stretches = 0
        self._ran = ran
        self._made: dict[tuple[int, int], Ladder] = {}

    def of(self, units: int, kind: int) -> Ladder:
        found = self._made.get((units, kind))
        if found is None:
            shares = self.kinds[kind].shares
            levels = self._levels(units, kind)
            ran = [self.run(units, [rate * share for share in shares], f"{self.plan.seed}") for rate in levels]
            found = self._made[units, kind] = Ladder(levels, ran)
        return found

    def run(self, units: int, rates: Sequence[float], seed: str) -> Stretch:
        """A stretch for itself. One seed is one row of chances, so that what differs is the load and the units."""
        found = stretch.run(self.plan, self.demand, units, rates, seed)
        self.simulated += found.requests
        self.stretches += 1
        self._ran()
        return found

    def _levels(self, units: int, kind: int) -> list[float]:
        plan, demand, hours = self.plan, self.demand, self.kinds[kind].hours
        grown = [demand.grown(month) for month in range(plan.months)]
        rates = [sum(demand.rates(hour)) for hour in hours]
        low, high = min(rates) * min(grown), max(rates) * max(grown)
        full = [*self._full(units, self.kinds[kind]), *self._limited(self.kinds[kind])]
        wanted = [level for at in full for level in (0.8 * at, at, 1.25 * at)]
        if demand.bursts is not None:
            wanted += [level / demand.bursts.times for level in wanted[1::3]]
        levels = [low]
        for level in sorted(wanted):
            if levels[-1] * _APART < level < high / _APART:
                levels.append(level)
        if levels[-1] < high:
            levels.append(high)
        return _filled(levels)

    def _limited(self, kind: Kind) -> Iterator[float]:
        """Requests a second, of all, at which a client is at its limit."""
        for asker, share in zip(self.demand.askers, kind.shares, strict=True):
            limits = asker.limits
            if share > _NOTHING and limits.tokens_per_minute:
                yield limits.tokens_per_minute / 60 / (asker.means.prompt + _most(asker)) / share
            if share > _NOTHING and limits.requests_per_minute:
                yield limits.requests_per_minute / 60 / share

    def _full(self, units: int, kind: Kind) -> list[float]:
        """Requests a second at which the units are full, and at which each of the standard quotas is as well."""
        plan, askers = self.plan, self.demand.askers
        unit = plan.units[plan.workload.model]
        work = tokens = requests = 0.0
        for asker, share in zip(askers, kind.shares, strict=True):
            means = asker.means
            work += share * deployments.work(unit, means.prompt, means.cached, means.completion)
            tokens += share * (means.prompt + _most(asker))
        found = []
        if units:
            requests = units * unit.tokens_per_minute / 60 / work
            found.append(requests)
        for standard in sorted(plan.standard, key=lambda one: one.priority):
            quotas = [standard.tokens_per_minute / 60 / tokens, standard.requests_per_minute / 60]
            limits = [quota for quota in quotas if quota]
            if not limits:
                break
            requests += min(limits)
            found.append(requests)
        return found


def _most(asker: Asker) -> float:
    """What is expected of a completion, in tokens."""
    return sum(size.most or asker.means.completion for size in asker.sizes) / len(asker.sizes)


def _filled(levels: list[float]) -> list[float]:
    """With more levels between those that are far apart."""
    found = levels[:1]
    for level in levels[1:]:
        steps = 1
        while (level / found[-1]) ** (1 / steps) > _FURTHEST and steps < _LEVELS:
            steps += 1
        first = found[-1]
        found += [first * (level / first) ** (step / steps) for step in range(1, steps)]
        found.append(level)
    return found
