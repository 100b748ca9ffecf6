"""The deployments of one class in tiers: who is chosen among first, who after them, and who not at all. Pure.

Tiers are priorities, with two differences: a deployment that is drained is in none, and one that is too busy, by what
it says of its utilisation, is behind the next priority. Both change seldom, and so do weights: a ranking is made at
most ten times a second, and is at once made anew when something was told.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from proxy.routing.affinity import preferred
from proxy.routing.candidate import Considered, Key
from proxy.routing.seat import Seat

DRAINED = "drained"
SPILL_OVER = "spill_over"
_HOMES = 4096
_LASTS = 0.1  # s
_SLOW = 0.1  # of its weight, that a deployment begins with


class Tier:
    """Equals, with their weights at present. `nominal` are the weights without slow start, and those that affinity goes
    by: whom it prefers is remembered for as long as they and the seats are the same.
    """

    __slots__ = ("cumulative", "homes", "mean", "nominal", "seats", "total", "weights")

    def __init__(self, seats: Sequence[Seat], now: float, slow_start: float) -> None:
        self.seats = tuple(seats)
        self.nominal = tuple(float(seat.load.weight or seat.candidate.weight) for seat in seats)
        self.weights = tuple(
            weight * _warmth(now - seat.load.recovered, slow_start)
            for seat, weight in zip(seats, self.nominal, strict=True)
        )
        self.cumulative = tuple(accumulate(self.weights))
        self.total = self.cumulative[-1]
        self.mean = self.total / len(self.seats)
        self.homes: dict[bytes, int] = {}

    def home(self, affinity: bytes) -> int:
        """The index of the seat that an affinity prefers."""
        found = self.homes.get(affinity)
        if found is None:
            if len(self.homes) >= _HOMES:
                self.homes.clear()
            found = self.homes[affinity] = preferred(affinity, [seat.seed for seat in self.seats], self.nominal)
        return found

    def follows(self, before: "Tier") -> None:
        """What was remembered a moment ago still holds, if this is the same."""
        if self.seats == before.seats and self.nominal == before.nominal:
            self.homes = before.homes


class Ranking:
    """`aside` are those that are not where their priority would have them, with why. `considered` is what records say,
    by the one that was asked, where nobody was passed over.
    """

    __slots__ = ("aside", "considered", "epoch", "tiers", "until")

    def __init__(
        self,
        groups: Iterable[Sequence[Seat]],
        now: float,
        slow_start: float,
        epoch: int,
        before: "Ranking | None" = None,
    ) -> None:
        self.until = now + _LASTS
        self.epoch = epoch
        tiers: list[Tier] = []
        aside: list[tuple[Seat, str]] = []
        behind: list[Seat] = []
        for group in groups:
            able = [seat for seat in group if not seat.load.drained]
            spared = [seat for seat in able if seat.load.spills(seat.candidate.spill_at, now)]
            tiers += [Tier(seats, now, slow_start) for seats in (_without(able, spared), behind) if seats]
            behind = spared
            aside += [(seat, DRAINED) for seat in group if seat.load.drained]
            aside += [(seat, SPILL_OVER) for seat in spared]
        if behind:
            tiers.append(Tier(behind, now, slow_start))
        self.tiers = tuple(tiers)
        for tier, earlier in zip(tiers, () if before is None else before.tiers, strict=False):
            tier.follows(earlier)
        self.aside = tuple(aside)
        self.considered: dict[Key, tuple[Considered, ...]] = {}


def _without(seats: list[Seat], others: list[Seat]) -> list[Seat]:
    return [seat for seat in seats if seat not in others] if others else seats


def _warmth(since: float, slow_start: float) -> float:
    """The share of its weight that a deployment has, so long after it came back."""
    if since >= slow_start:
        return 1.0
    return _SLOW + (1 - _SLOW) * max(0.0, since) / slow_start
