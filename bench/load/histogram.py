"""HdrHistogram as it is recorded on a path that must cost nothing: a bucket's number from a few shifts, and a count.

Buckets are those of `HdrHistogram(1, 3_600_000_000, 3)`: microseconds, up to an hour, three significant digits
(http://hdrhistogram.org). Only those that were met take memory. `hdr` gives the library's own histogram.
"""

import math
from collections import defaultdict
from collections.abc import Mapping

from hdrh.histogram import HdrHistogram

LOWEST, HIGHEST, DIGITS = 1, 3_600_000_000, 3
_MAGNITUDE = 11  # bits within a bucket: 2,048 values, of which the lower half is the bucket before's
_ROUGH = 5  # bits of a bucket's number that do not matter where there are to be few
_HALF = 1 << (_MAGNITUDE - 1)


class Histogram:
    """Durations in seconds. A percentile is at most one part in a thousand too high, and a microsecond."""

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts: defaultdict[int, int] = defaultdict(int, counts or {})

    def add(self, value: float) -> None:
        """Hot: twice an event. What is below nought is nought."""
        place = int(value * 1e6)
        if place > 2047:
            shift = place.bit_length() - 11
            place = (shift << 10) + (place >> shift)
        elif place < 0:
            place = 0
        self._counts[place] += 1

    def nought(self, count: int) -> None:
        """Add so many durations of no time."""
        self._counts[0] += count

    def merge(self, other: "Histogram") -> None:
        for place, count in other._counts.items():
            self._counts[place] += count

    def coarse(self) -> "Histogram":
        """The same in few buckets, for those that are kept by the thousand: at most one part in thirty too high."""
        made = Histogram()
        for place, count in self._counts.items():
            bits = _ROUGH if place >> _MAGNITUDE else max(0, place.bit_length() - _MAGNITUDE + _ROUGH)
            made._counts[place | ((1 << bits) - 1)] += count
        return made

    @property
    def counts(self) -> dict[int, int]:
        """By the bucket's index in the library's array of counts."""
        return dict(self._counts)

    @property
    def count(self) -> int:
        return sum(self._counts.values())

    @property
    def max(self) -> float:
        return _highest(max(self._counts)) if self._counts else 0.0

    def percentile(self, share: float) -> float:
        """The value that `share` (0 to 1) of all are at or below; 0 without any."""
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for place in sorted(self._counts):
            seen += self._counts[place]
            if seen >= wanted:
                return _highest(place)
        return 0.0

    def summary(self) -> dict[str, float]:
        """Percentiles and the greatest, in milliseconds, and the count."""
        shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p99.9_ms": 0.999}
        figures = {name: round(self.percentile(share) * 1000, 3) for name, share in shares.items()}
        return {"count": self.count, **figures, "max_ms": round(self.max * 1000, 3)}

    def hdr(self) -> HdrHistogram:
        """The library's, in microseconds."""
        made = HdrHistogram(LOWEST, HIGHEST, DIGITS)
        for place, count in self._counts.items():
            made.record_value(min(_value(place), HIGHEST), count)
        return made

    def encoded(self) -> str:
        """HdrHistogram's compressed V2 encoding, base64."""
        return str(self.hdr().encode().decode())


def _value(place: int) -> int:
    """The lowest value of a bucket, in microseconds."""
    if not place >> _MAGNITUDE:
        return place
    shift = (place >> (_MAGNITUDE - 1)) - 1
    return ((place & (_HALF - 1)) + _HALF) << shift


def _highest(place: int) -> float:
    """The highest value of a bucket, in seconds."""
    shift = max(0, (place >> (_MAGNITUDE - 1)) - 1)
    return (_value(place) + (1 << shift) - 1) / 1e6
