"""What all hours of the months come to on so many units: tokens by where they were served, costs, latency. Pure.

Every token that is asked for is in one place: served by a deployment, over its client's limit, or refused. What units
cost is shared among clients by what these have them do; what stands idle is so as well.
"""

from collections.abc import Callable, Sequence

import msgspec

from bench.plan import deployments
from bench.plan.demand import Asker, Demand
from bench.plan.ladder import Ladder, Ladders
from bench.plan.latency import percentile
from bench.plan.stretch import CACHED, COMPLETION, LIMITED, PROMPT, REFUSED, REQUESTS, places
from bench.plan.structs import HOURS_A_MONTH, HOURS_A_WEEK, Plan, Standard

_MILLION = 1_000_000
_ROUNDED = 1e-9
_HOURS_EACH = HOURS_A_MONTH / HOURS_A_WEEK  # times that each hour of the week is in a month
_ROWS = (REQUESTS, PROMPT, COMPLETION, CACHED)


class Share(msgspec.Struct, frozen=True):
    """A client's or a deployment's part: requests, millions of tokens, and what they cost."""

    name: str
    requests: float
    prompt: float
    completion: float
    cached: float
    cost: float

    @property
    def tokens(self) -> float:
        return self.prompt + self.completion


class Month(msgspec.Struct, frozen=True):
    """`places` are in the order of `stretch.places`, `clients` in that of the askers, with what they are billed.

    utilisation  of the units, over all hours
    spilled      share of all tokens asked for that standard deployments served
    refused      share of all requests that were within their clients' limits, and refused
    queued       share of all requests that waited for a deployment
    """

    number: int
    places: tuple[Share, ...]
    clients: tuple[Share, ...]
    provisioned: float
    standard: float
    utilisation: float
    spilled: float
    limited: float
    refused: float
    queued: float
    first_p50: float | None
    first_p99: float | None

    @property
    def cost(self) -> float:
        return self.provisioned + self.standard


class Hour(msgspec.Struct, frozen=True):
    """An hour of the week in one month. Rates are of a second; shares are of tokens, `refused` and `limited` of
    requests. `standard` is what is paid by tokens.
    """

    asked: float
    tokens: float
    provisioned: float
    spilled: tuple[float, ...]
    limited: float
    refused: float
    queued: float
    utilisation: float
    standard: float
    first_p50: float | None
    first_p99: float | None


class Costed(msgspec.Struct, frozen=True):
    """What so many units come to. `misses` says what of the service does not hold, and when first."""

    units: int
    months: tuple[Month, ...]
    misses: tuple[str, ...]

    @property
    def cost(self) -> float:
        return sum(month.cost for month in self.months)

    @property
    def holds(self) -> bool:
        return not self.misses


class _Flows:
    """What is asked for, by asker and by where it ended: a row of counts each, and the first tokens of streams."""

    def __init__(self, askers: int, ends: int) -> None:
        self.counts = [[[0.0] * ends for _ in _ROWS] for _ in range(askers)]
        self.first: dict[int, float] = {}
        self.queued = 0.0

    def add(self, ladder: Ladder, level: int, requests: Sequence[float], askers: Sequence[Asker]) -> None:
        """So many requests of each asker at a level."""
        found = ladder.stretches[level]
        streams = 0.0
        for number, (count, asker) in enumerate(zip(requests, askers, strict=True)):
            if not count:
                continue
            means, shares = asker.means, found.of(number)
            rows = self.counts[number]
            for row, mean in zip(_ROWS, (1.0, means.prompt, means.completion, means.cached), strict=True):
                amount, into = count * mean, rows[row]
                for place, share in enumerate(shares[row]):
                    into[place] += amount * share
            streams += count * means.streams * sum(shares[REQUESTS][:-2])
        for at, share in found.first.items():
            self.first[at] = self.first.get(at, 0.0) + share * streams
        self.queued += found.queued * sum(requests)

    def place(self, place: int) -> list[float]:
        return [sum(rows[row][place] for rows in self.counts) for row in _ROWS]

    def total(self, row: int) -> float:
        return sum(sum(rows[row]) for rows in self.counts)


def unit_price(plan: Plan) -> float:
    """Of one unit for a month: reserved, where that is cheaper."""
    hourly = plan.provisioned.price_per_hour * HOURS_A_MONTH
    reserved = plan.provisioned.reservation_per_month
    return hourly if reserved is None else min(hourly, reserved)


def costed(ladders: Ladders, units: int) -> Costed:
    """All months on so many units."""
    months = tuple(_month(ladders, units, number) for number in range(ladders.plan.months))
    return Costed(units, months, tuple(misses(ladders.plan, months)))


def misses(plan: Plan, months: Sequence[Month]) -> list[str]:
    """What of the service does not hold in these months."""
    service, found = plan.service, []
    bounds: list[tuple[str, float | None, Callable[[Month], float | None], Callable[[float], str]]] = [
        ("refused", service.refused_at_most, lambda month: month.refused, _percent),
        ("spilled over", service.spilled_at_most, lambda month: month.spilled, _percent),
        ("first token, p50", service.first_p50_at_most, lambda month: month.first_p50, _seconds),
        ("first token, p99", service.first_p99_at_most, lambda month: month.first_p99, _seconds),
    ]
    for what, most, of, said in bounds:
        for month in months:
            value = of(month)
            if most is not None and value is not None and value > most + _ROUNDED:
                found.append(f"{what}: {said(value)} in month {month.number + 1}, {said(most)} at most")
                break
    return found


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _month(ladders: Ladders, units: int, number: int) -> Month:
    plan, demand = ladders.plan, ladders.demand
    flows = _Flows(len(demand.askers), len(places(plan)))
    grown = demand.grown(number)
    for of, kind in enumerate(ladders.kinds):
        ladder = ladders.of(units, of)
        asked = [[0.0] * len(demand.askers) for _ in ladder.levels]
        for hour in kind.hours:
            rates = demand.rates(hour)
            for level, share in ladder.at(sum(rates) * grown):
                into = asked[level]
                for asker, rate in enumerate(rates):
                    into[asker] += rate * grown * 3600 * _HOURS_EACH * share
        for level, requests in enumerate(asked):
            flows.add(ladder, level, requests, demand.askers)
    return _accounted(plan, demand, units, number, flows)


def _accounted(plan: Plan, demand: Demand, units: int, number: int, flows: _Flows) -> Month:
    unit, ends = plan.units[plan.workload.model], places(plan)
    provisioned = units * unit_price(plan)
    worked = [_work(plan, [row[0] for row in rows]) for rows in flows.counts]
    if not sum(worked):  # nobody has used the units: they are everybody's, by what is asked for
        worked = [sum(rows[PROMPT]) + sum(rows[COMPLETION]) for rows in flows.counts]
    whole = sum(worked) or 1.0
    clients = []
    for asker, rows, work in zip(demand.askers, flows.counts, worked, strict=True):
        paid = sum(_price(standard, [row[at] for row in rows]) for at, standard in enumerate(plan.standard, start=1))
        clients.append(_share(asker.name, [sum(row) for row in rows], provisioned * work / whole + paid))
    found = []
    for at, name in enumerate(ends):
        counts = flows.place(at)
        paid = provisioned if at == 0 else 0.0
        if 1 <= at <= len(plan.standard):
            paid = _price(plan.standard[at - 1], counts)
        found.append(_share(name, counts, paid))
    requests = flows.total(REQUESTS)
    limited, refused = flows.place(ends.index(LIMITED))[REQUESTS], flows.place(ends.index(REFUSED))[REQUESTS]
    spilled = sum(share.tokens for share in found[1:-2]) * _MILLION
    tokens = flows.total(PROMPT) + flows.total(COMPLETION)
    capacity = units * unit.tokens_per_minute * 60 * HOURS_A_MONTH
    return Month(
        number,
        tuple(found),
        tuple(clients),
        provisioned,
        sum(share.cost for share in found[1:]),
        _work(plan, flows.place(0)) / capacity if capacity else 0.0,
        spilled / tokens if tokens else 0.0,
        limited / requests if requests else 0.0,
        refused / (requests - limited) if requests > limited else 0.0,
        flows.queued / requests if requests else 0.0,
        percentile(flows.first, 0.5),
        percentile(flows.first, 0.99),
    )


def _work(plan: Plan, counts: Sequence[float]) -> float:
    unit = plan.units[plan.workload.model]
    return deployments.work(unit, counts[PROMPT], counts[CACHED], counts[COMPLETION])


def _price(standard: Standard, counts: Sequence[float]) -> float:
    cached = standard.prompt if standard.cached is None else standard.cached
    prompt = counts[PROMPT] - counts[CACHED]
    return (prompt * standard.prompt + counts[CACHED] * cached + counts[COMPLETION] * standard.completion) / _MILLION


def _share(name: str, counts: Sequence[float], cost: float) -> Share:
    prompt, completion, cached = (counts[row] / _MILLION for row in (PROMPT, COMPLETION, CACHED))
    return Share(name, counts[REQUESTS], prompt, completion, cached, cost)


def hour(ladders: Ladders, units: int, number: int, of: int) -> Hour:
    """An hour of the week in a month, read off from the levels."""
    demand = ladders.demand
    rates = [rate * demand.grown(number) for rate in demand.rates(of)]
    flows = _Flows(len(demand.askers), len(places(ladders.plan)))
    kind = ladders.kind_of.get(of)
    if kind is not None:
        ladder = ladders.of(units, kind)
        for level, share in ladder.at(sum(rates)):
            flows.add(ladder, level, [rate * share for rate in rates], demand.askers)
    return _hour(ladders.plan, units, flows)


def simulated(ladders: Ladders, units: int, number: int, of: int, seed: str) -> Hour:
    """The same hour, run for itself: its own load, those who ask in it, and other chances."""
    demand = ladders.demand
    rates = [rate * demand.grown(number) for rate in demand.rates(of)]
    flows = _Flows(len(demand.askers), len(places(ladders.plan)))
    flows.add(Ladder([sum(rates)], [ladders.run(units, rates, seed)]), 0, rates, demand.askers)
    return _hour(ladders.plan, units, flows)


def _hour(plan: Plan, units: int, flows: _Flows) -> Hour:
    unit, ends = plan.units[plan.workload.model], places(plan)
    requests = flows.total(REQUESTS)
    tokens = flows.total(PROMPT) + flows.total(COMPLETION)
    by = [flows.place(at) for at in range(len(ends))]
    served = [(counts[PROMPT] + counts[COMPLETION]) / tokens if tokens else 0.0 for counts in by]
    capacity = units * unit.tokens_per_minute / 60
    return Hour(
        requests,
        tokens,
        served[0],
        tuple(served[1:-2]),
        by[ends.index(LIMITED)][REQUESTS] / requests if requests else 0.0,
        by[ends.index(REFUSED)][REQUESTS] / requests if requests else 0.0,
        flows.queued / requests if requests else 0.0,
        _work(plan, by[0]) / capacity if capacity else 0.0,
        3600 * sum(_price(standard, by[at]) for at, standard in enumerate(plan.standard, start=1)),
        percentile(flows.first, 0.5),
        percentile(flows.first, 0.99),
    )
