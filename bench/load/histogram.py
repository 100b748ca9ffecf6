"""Percentiles at a bounded error and bounded memory: buckets that grow by one part in a hundred."""

import math

_GROWTH = math.log(1.01)
_SMALLEST = 1e-7


class Histogram:
    """Durations in seconds. A percentile is at most one per cent too high."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.sum = 0.0
        self.max = 0.0

    def add(self, value: float) -> None:
        bucket = math.ceil(math.log(value / _SMALLEST) / _GROWTH) if value > _SMALLEST else 0
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.sum += value
        self.max = max(self.max, value)

    def percentile(self, share: float) -> float:
        """The value that `share` (0 to 1) of all are at or below; 0 without any."""
        wanted = math.ceil(share * self.count)
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(_SMALLEST * math.exp(bucket * _GROWTH), self.max) if bucket else 0.0
        return 0.0

    def summary(self) -> dict[str, float]:
        """p50, p99 and max in milliseconds, and the count."""
        return {
            "count": self.count,
            "p50_ms": round(self.percentile(0.5) * 1000, 3),
            "p99_ms": round(self.percentile(0.99) * 1000, 3),
            "max_ms": round(self.max * 1000, 3),
        }
