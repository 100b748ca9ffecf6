"""Whether something grows: by the slope that the median pair of moments has, which no peak and no single step moves
(Theil, Sen). Pure.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import median

_POINTS = 120  # of more, each is the median of several


def growth(times: Sequence[float], values: Sequence[float]) -> float | None:
    """What the trend adds from the first moment to the last; None of fewer than two moments."""
    if len(times) < 2:
        return None
    points = _thinned(times, values)
    slope = median((later - value) / (at - time) for (time, value), (at, later) in combinations(points, 2) if at > time)
    return slope * (times[-1] - times[0])


def _thinned(times: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    several = -(-len(times) // _POINTS)
    return [
        (median(times[at : at + several]), median(values[at : at + several])) for at in range(0, len(times), several)
    ]
