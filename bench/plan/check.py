"""How far what was read off between levels is from the truth: hours that were no level, run for themselves."""

import random

import msgspec

from bench.plan.costs import Hour, hour, simulated
from bench.plan.ladder import Ladders

_HOURS = 6
_NEAR = 0.02  # of a level, that an hour is away at least


class Checked(msgspec.Struct, frozen=True):
    """An hour of the week (0 to 167) in a month, as it was read off and as it was run."""

    month: int
    hour: int
    read: Hour
    run: Hour


def check(ladders: Ladders, units: int) -> tuple[Checked, ...]:
    """Some hours, the busier the likelier; their loads lie between levels."""
    demand, uniform = ladders.demand, random.Random(f"{ladders.plan.seed} check")
    there = [
        (month, of)
        for month in range(ladders.plan.months)
        for of, kind in ladders.kind_of.items()
        if _between(sum(demand.rates(of)) * demand.grown(month), ladders.of(units, kind).levels)
    ]
    weights = {(month, of): sum(demand.rates(of)) * demand.grown(month) for month, of in there}
    found = []
    for number in range(_HOURS):
        if not there:
            break
        month, of = uniform.choices(there, [weights[one] for one in there])[0]
        rate = weights[month, of]
        there = [one for one in there if abs(weights[one] - rate) > _NEAR * rate]  # another load, next time
        run = simulated(ladders, units, month, of, f"{ladders.plan.seed} check {number}")
        found.append(Checked(month, of, hour(ladders, units, month, of), run))
    return tuple(found)


def _between(rate: float, levels: tuple[float, ...]) -> bool:
    return all(abs(rate - level) > _NEAR * level for level in levels)


class Deviation(msgspec.Struct, frozen=True):
    """Of all checked hours together: what is paid by tokens and shares of tokens and requests, read less run; of the
    cost, as a share of what the units and the tokens cost in these hours.
    """

    cost: float
    spilled: float
    refused: float
    first_p99: float | None


def deviation(checked: tuple[Checked, ...], units_an_hour: float) -> Deviation | None:
    """None where no hour lies between levels."""
    if not checked:
        return None
    run = sum(units_an_hour + one.run.standard for one in checked)
    read = sum(units_an_hour + one.read.standard for one in checked)
    tokens = sum(one.run.tokens for one in checked)
    asked = sum(one.run.asked for one in checked)
    slow = [
        (one.read.first_p99 / one.run.first_p99 - 1, one.run.asked)
        for one in checked
        if one.read.first_p99 and one.run.first_p99
    ]
    streamed = sum(weight for _, weight in slow)
    return Deviation(
        (read - run) / run if run else 0.0,
        sum((sum(one.read.spilled) - sum(one.run.spilled)) * one.run.tokens for one in checked) / tokens,
        sum((one.read.refused - one.run.refused) * one.run.asked for one in checked) / asked,
        sum(off * weight for off, weight in slow) / streamed if streamed else None,
    )
