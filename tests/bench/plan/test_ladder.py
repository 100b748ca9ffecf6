"""Hours between levels, and the search over numbers of units: pure arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.plan.costs import Costed, Month
from bench.plan.demand import synthetic
from bench.plan.ladder import Ladder, kinds
from bench.plan.search import candidates, cheapest
from bench.plan.structs import Bursts, Client, Provisioned
from proxy.config.structs import Seconds
from tests.bench.plan.plans import LATENCY, tiny


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=9, unique=True), st.floats(0.01, 1e6))
def test_what_lies_between_levels_is_of_both_and_no_more(levels: list[float], rate: float) -> None:
    ladder = Ladder(sorted(levels), [])
    found = ladder.at(rate)
    assert sum(share for _, share in found) == pytest.approx(1)
    assert all(share >= 0 for _, share in found)
    if min(levels) <= rate <= max(levels):
        full = 1.0  # a second is served at every level, however much is asked for
        assert sum(rate * share * full / ladder.levels[level] for level, share in found) == pytest.approx(full)


def test_hours_in_which_others_ask_are_another_kind() -> None:
    day = (*[1.0] * 12, *[0.0] * 12)
    night = (*[0.0] * 12, *[1.0] * 11, 0.0)
    plan = tiny(clients=(Client(name="day", day=day), Client(name="night", day=night)))
    found = kinds(synthetic(plan))
    assert sorted(len(kind.hours) for kind in found) == [7 * 11, 7 * 12]
    assert sorted(kind.shares for kind in found) == [(0.0, 1.0), (1.0, 0.0)]


def test_units_that_can_be_had_and_are_of_use() -> None:
    plan = tiny()
    among = candidates(plan, synthetic(plan))
    assert among[:3] == (0, 2, 4)
    assert among[-1] == 12  # seven do what is asked for a second, in the last month; sixteen tenths of them
    assert candidates(tiny(standard=()), synthetic(plan))[0] == 2
    few = Provisioned(price_per_hour=1.0, at_most=5, latency=LATENCY)
    assert candidates(tiny(provisioned=few), synthetic(plan)) == (0, 2, 4)
    bursts = tiny(workload={"bursts": Bursts(per_hour=1, lasts=Seconds(30), times=4.0)})
    assert candidates(bursts, synthetic(bursts))[-1] > 2 * 12


def month(units: int, cost: float, refused: float = 0.0) -> Month:
    return Month(0, (), (), float(units), cost, 0.0, 0.0, 0.0, refused, 0.0, None, None)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.1, 3.0))
def test_the_cheapest_that_holds_is_found(best: int, holds_from: int, price: float) -> None:
    """Where cost falls to the best and rises from it, and the service holds from a number on."""
    among = range(61)

    def cost(units: int) -> Costed:
        found = month(units, 10_000 + 40 * price * abs(units - best) ** 1.5)
        return Costed(units, (found,), () if units >= holds_from else ("refused",))

    chosen, looked_at = cheapest(among, cost, price)
    wanted = cost(max(best, holds_from))
    assert chosen.holds
    assert chosen.cost <= wanted.cost * 1.0065
    assert len(looked_at) <= 18


def test_where_none_holds_the_one_that_refuses_least_is_told() -> None:
    def cost(units: int) -> Costed:
        return Costed(units, (month(units, 5.0 + units, refused=1 / (1 + units)),), ("refused",))

    chosen, _ = cheapest(range(0, 50, 5), cost, 1.0)
    assert (chosen.units, chosen.holds) == (45, False)


def test_what_costs_more_by_itself_is_not_looked_at() -> None:
    asked = []

    def cost(units: int) -> Costed:
        asked.append(units)
        return Costed(units, (month(units, 100.0 + units),), ())

    cheapest(range(1_000), cost, 1.0)
    assert max(asked) <= 100
