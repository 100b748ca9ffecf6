"""Times to the first token as counts in buckets that grow by a twentieth: cheap to count, to weigh and to add. Pure."""

import math
from collections.abc import Mapping

_LEAST = 0.001  # s
_GROWTH = math.log(1.05)


def bucket(seconds: float) -> int:
    return max(0, round(math.log(max(seconds, _LEAST) / _LEAST) / _GROWTH))


def seconds(at: int) -> float:
    """The middle of a bucket."""
    return _LEAST * math.exp(at * _GROWTH)


def percentile(counts: Mapping[int, float], share: float) -> float | None:
    """What that share is within, in seconds; None where there is nothing."""
    total = sum(counts.values())
    if total <= 0:
        return None
    wanted = total * share
    for at in sorted(counts):
        wanted -= counts[at]
        if wanted <= total * 1e-12:
            break
    return seconds(at)
