"""The choice among equals. Pure; `uniform` gives numbers in [0, 1).

A choice of two (Mitzenmacher, 2001): two are drawn by weight, and the first is it unless the second is clearly better
off: it has room where the first has none, or it has less to do for its weight and answers faster, both together by a
quarter. So weights decide where nothing speaks against it, and nobody runs after a difference that is none.

What has an affinity goes where it prefers to, while that has room, is no more than a quarter busier than the others,
and does not answer much more slowly.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from proxy.routing.affinity import preferred
from proxy.routing.candidate import Wanted
from proxy.routing.ranking import Tier
from proxy.routing.seat import Seat

_CLEARLY = 1.25
_BUSIER = 1.25  # times what the others have to do, and one
_SLOWER = 4.0
_NOTICED = 0.1  # s; less than that is less than what a cache saves

Usable = Callable[[Seat], bool]


def choose(tier: Tier, wanted: Wanted, now: float, uniform: Callable[[], float], usable: Usable) -> Seat | None:
    """One of a tier; None: none of it is usable."""
    seats = tier.seats
    if len(seats) == 1:
        return seats[0] if usable(seats[0]) else None
    if wanted.affinity:
        found = _preferred(tier, wanted, now, usable)
        if found is not None:
            return found
    first, second = _drawn(tier, uniform)
    if not (usable(seats[first]) and usable(seats[second])):
        among = [index for index, seat in enumerate(seats) if usable(seat)]
        if not among:
            return None
        first, second = _drawn_among(tier, among, uniform)
    found, roomy = _better(tier, first, second, wanted, now)
    if roomy or len(seats) == 2:
        return found
    # Neither has room. Of the others somebody may.
    among = [
        index
        for index, seat in enumerate(seats)
        if seat.load.has_room(wanted.tokens, seat.candidate.tokens_per_minute, now) and usable(seat)
    ]
    return _better(tier, *_drawn_among(tier, among, uniform), wanted, now)[0] if among else found


def _drawn(tier: Tier, uniform: Callable[[], float]) -> tuple[int, int]:
    """Two of a tier, by weight and without replacement."""
    cumulative, last = tier.cumulative, len(tier.seats) - 1
    first = min(bisect_right(cumulative, uniform() * tier.total), last)
    weight = tier.weights[first]
    mark = uniform() * (tier.total - weight)
    if mark >= cumulative[first] - weight:
        mark += weight
    second = min(bisect_right(cumulative, mark), last)
    if second == first:  # by rounding
        second = first - 1 if first else 1
    return first, second


def _drawn_among(tier: Tier, among: Sequence[int], uniform: Callable[[], float]) -> tuple[int, int]:
    """The same, of some of them; one alone is both."""
    if len(among) == 1:
        return among[0], among[0]
    weights = [tier.weights[index] for index in among]
    first = _at(weights, uniform())
    weights[first] = 0.0
    return among[first], among[_at(weights, uniform())]


def _at(weights: Sequence[float], mark: float) -> int:
    mark *= sum(weights)
    last = 0
    for index, weight in enumerate(weights):
        if weight:
            last = index
            if mark < weight:
                break
            mark -= weight
    return last


def _better(tier: Tier, first: int, second: int, wanted: Wanted, now: float) -> tuple[Seat, bool]:
    """The one of two to ask, and whether it has room."""
    one, other = tier.seats[first], tier.seats[second]
    tokens = wanted.tokens
    roomy = one.load.has_room(tokens, one.candidate.tokens_per_minute, now)
    if one is other:
        return one, roomy
    if roomy is not other.load.has_room(tokens, other.candidate.tokens_per_minute, now):
        return (one, True) if roomy else (other, True)
    busy = one.load.in_flight / tier.weights[first] * tier.mean + 1
    less = other.load.in_flight / tier.weights[second] * tier.mean + 1
    slow, fast = _times(one, other, wanted, now)
    return (other if less * fast * _CLEARLY < busy * slow else one), roomy


def _times(one: Seat, other: Seat, wanted: Wanted, now: float) -> tuple[float, float]:
    """How long two take to answer; where one has not answered lately, both are as good."""
    if wanted.stream:
        first, second = one.load.streams.at(now), other.load.streams.at(now)
    else:
        first, second = one.load.answers.at(now), other.load.answers.at(now)
    return (first, second) if first and second else (1.0, 1.0)


def _preferred(tier: Tier, wanted: Wanted, now: float, usable: Usable) -> Seat | None:
    """Where a request's prompt may be in the cache, if that can well take it."""
    seats = tier.seats
    at = tier.home(wanted.affinity)
    if not usable(seats[at]):
        among = [index for index, seat in enumerate(seats) if usable(seat)]
        if not among:
            return None
        at = among[preferred(wanted.affinity, [seats[i].seed for i in among], [tier.nominal[i] for i in among])]
    seat = seats[at]
    if not seat.load.has_room(wanted.tokens, seat.candidate.tokens_per_minute, now):
        return None
    mean = sum([other.load.in_flight for other in seats]) / len(seats)
    if seat.load.in_flight / tier.weights[at] * tier.mean > _BUSIER * mean + 1:
        return None
    own, others = _times(seat, seats[at - 1], wanted, now)
    return None if own > _SLOWER * others and own - others > _NOTICED else seat
