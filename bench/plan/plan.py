"""A plan from its file to its result. Pure but for what was recorded; the same for the same file."""

from collections.abc import Callable

import msgspec

from bench.failure import BenchError
from bench.plan import demand as synthetic
from bench.plan.check import Checked, Deviation, check, deviation
from bench.plan.costs import Costed, Hour, costed, hour, misses, unit_price
from bench.plan.demand import Demand
from bench.plan.ladder import Ladders
from bench.plan.recorded import recorded
from bench.plan.search import candidates, cheapest
from bench.plan.structs import HOURS_A_MONTH, HOURS_A_WEEK, Plan


class Planned(msgspec.Struct, frozen=True):
    """The result. `week` are the hours of the chosen number's last month; `monthly` is the cheapest number of units
    that was looked at and holds the service in each month, None where none does.
    """

    plan: Plan
    demand: Demand
    chosen: Costed
    looked_at: tuple[Costed, ...]
    week: tuple[Hour, ...]
    monthly: tuple[int | None, ...]
    checked: tuple[Checked, ...]
    deviation: Deviation | None
    simulated: int
    stretches: int


def planned(plan: Plan, said: Callable[[str], None] = lambda _: None) -> Planned:
    """Find the number of units. `said` hears how it goes. Raises `BenchError`."""
    workload = plan.workload
    demand = synthetic.synthetic(plan) if workload.recorded is None else recorded(plan, workload.recorded)
    among = candidates(plan, demand)
    if not among:
        raise BenchError("there are no units to be had and no standard deployment; raise provisioned.at_most")
    ladders = Ladders(plan, demand)

    def cost(units: int) -> Costed:
        found = costed(ladders, units)
        how = "holds" if found.holds else "; ".join(found.misses)
        a_month = found.cost / plan.months
        said(f"{units} units: {a_month:,.0f} {plan.currency} a month, {how} ({ladders.stretches} stretches so far)")
        return found

    chosen, looked_at = cheapest(among, cost, unit_price(plan) * plan.months)
    said(f"checking hours between the levels at {chosen.units} units")
    checked = check(ladders, chosen.units)
    return Planned(
        plan,
        demand,
        chosen,
        tuple(looked_at),
        tuple(hour(ladders, chosen.units, plan.months - 1, of) for of in range(HOURS_A_WEEK)),
        tuple(_monthly(plan, looked_at, month) for month in range(plan.months)),
        checked,
        deviation(checked, chosen.units * unit_price(plan) / HOURS_A_MONTH),
        ladders.simulated,
        ladders.stretches,
    )


def _monthly(plan: Plan, looked_at: list[Costed], month: int) -> int | None:
    """The cheapest number for one month alone."""
    holding = [one for one in looked_at if not misses(plan, one.months[month : month + 1])]
    return min(holding, key=lambda one: one.months[month].cost).units if holding else None
