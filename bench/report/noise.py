"""Whether two rows of repeats differ by more than noise. Pure.

Repeats are few, so nothing is read from their order or from a single one. What is compared are logarithms, in which a
cost that doubles moves by as much as one that halves, and noise is a share of the value. Student's test for two samples
(Student, 1908; both sides have the same noise, since they are measured alike) tells how likely so great a difference is
by chance; Holm's procedure (1979) holds over all figures of a report together: that any of them is called different
by chance has one chance in twenty.
"""

import math
from collections.abc import Sequence
from statistics import fmean, variance

import msgspec

FEWEST = 3
"""Repeats on either side, below which nothing can be told."""

LEVEL = 0.05
ALIKE = math.log(1.10)
"""What is surely less than this is no change."""

_FINEST = 0.005  # no measurement is better than this share of itself
_FREEDOM = 1000  # beyond which more of it changes nothing


class Difference(msgspec.Struct, frozen=True):
    """Logarithms. `change` lies between `low` and `high` in 95 of 100 cases; `chance`: of its being noise."""

    change: float
    low: float
    high: float
    chance: float


def difference(before: Sequence[float], now: Sequence[float]) -> Difference | None:
    """How far `now` is from `before`, both logarithms, `FEWEST` of each at the least; None with fewer."""
    if min(len(before), len(now)) < FEWEST:
        return None
    freedom = len(before) + len(now) - 2
    spread = ((len(before) - 1) * variance(before) + (len(now) - 1) * variance(now)) / freedom
    error = math.sqrt((spread + _FINEST**2) * (1 / len(before) + 1 / len(now)))
    change = fmean(now) - fmean(before)
    margin = error * quantile(freedom)
    return Difference(change, change - margin, change + margin, tail(abs(change) / error, freedom))


def beyond_noise(chances: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which of the differences are none of chance, by Holm's procedure."""
    found = [False] * len(chances)
    order = sorted(range(len(chances)), key=lambda place: chances[place])
    for number, place in enumerate(order):
        if chances[place] > level / (len(chances) - number):
            break
        found[place] = True
    return found


def tail(t: float, freedom: int) -> float:
    """The chance that Student's t is that far from 0, either way (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    freedom = min(freedom, _FREEDOM)
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return min(1.0, max(0.0, 1 - within))


def quantile(freedom: int, level: float = LEVEL) -> float:
    """The t that is that far from 0 by chance with this level."""
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, freedom) > level else (low, middle)
    return high
