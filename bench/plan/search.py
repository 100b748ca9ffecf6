"""The cheapest number of units that holds the service: a few over the whole range, then ever nearer to the best."""

import math
from collections.abc import Callable, Mapping, Sequence

from bench.plan import deployments
from bench.plan.costs import Costed
from bench.plan.demand import Demand
from bench.plan.structs import HOURS_A_WEEK, Plan

_COARSE = 4
_AT_MOST = 18
"""Numbers of units that are looked at."""
_MATTERS = 0.006  # of the cost: chance makes as much of a difference
_SPARE = 1.6  # times what the busiest hour's average asks for: beyond that, nothing is gained


def candidates(plan: Plan, demand: Demand) -> tuple[int, ...]:
    """All numbers of units that can be had and may be of use, ascending; 0: none at all, where there is another way."""
    unit = plan.units[plan.workload.model]
    busiest = max(range(HOURS_A_WEEK), key=lambda hour: sum(demand.rates(hour)))
    grown = max(demand.grown(month) for month in (0, plan.months - 1))
    work = 0.0
    for asker, rate in zip(demand.askers, demand.rates(busiest), strict=True):
        means = asker.means
        work += rate * grown * deployments.work(unit, means.prompt, means.cached, means.completion)
    spare = _SPARE if demand.bursts is None else max(_SPARE, demand.bursts.times)
    most = deployments.rounded(work * 60 / unit.tokens_per_minute * spare, unit)
    if plan.provisioned.at_most:
        most = min(most, plan.provisioned.at_most)
    steps = range(unit.minimum, most + 1, unit.step)
    return (*((0,) if plan.standard else ()), *steps)


def cheapest(among: Sequence[int], cost: Callable[[int], Costed], price: float) -> tuple[Costed, list[Costed]]:
    """The cheapest that holds the service, or, if none does, the one that refuses least; and all that were looked at.

    `price` is a unit's: as many as would cost more than the best that is known by themselves are not looked at.
    """
    seen: dict[int, Costed] = {}

    def look(at: int) -> None:
        best = min((one.cost for one in seen.values() if one.holds), default=math.inf)
        if at not in seen and among[at] * price < best:
            seen[at] = cost(among[at])

    look(0)
    best = seen[0].cost if seen[0].holds else math.inf
    last = max(at for at, units in enumerate(among) if not at or units * price < best)
    for step in range(1, _COARSE):
        look(round(last * step / (_COARSE - 1)))
    while len(seen) < _AT_MOST:
        best_at = min(seen, key=lambda at: _rank(seen[at]))
        below = max((at for at in seen if at < best_at), default=None)
        above = min((at for at in seen if at > best_at), default=None)
        before = len(seen)
        for other, opposite in ((below, above), (above, below)):
            if other is not None and _promising(seen, best_at, other, opposite):
                look((other + best_at) // 2)
        if len(seen) == before:
            break
    found = [seen[at] for at in sorted(seen)]
    return min(found, key=_rank), found


def _promising(seen: Mapping[int, Costed], best: int, other: int, opposite: int | None) -> bool:
    """Whether something that matters may lie between the best and another.

    Costs fall to the best and rise from it, ever faster, so beyond it they fall no faster than they fell before it.
    """
    if abs(other - best) <= 1:
        return False
    if opposite is None or not (seen[other].holds and seen[best].holds and seen[opposite].holds):
        return True
    slope = (seen[opposite].cost - seen[best].cost) / abs(opposite - best)
    return slope * abs(other - best) > _MATTERS * seen[best].cost


def _rank(costed: Costed) -> tuple[bool, float, float]:
    """The better first: one that holds, then by its cost; of those that do not, by what they refuse."""
    refused = 0.0 if costed.holds else max(month.refused for month in costed.months)
    return not costed.holds, refused, costed.cost
