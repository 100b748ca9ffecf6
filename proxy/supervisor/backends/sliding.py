"""Windows that slide: what was counted within the last minute, and how long first bytes took of late.

Times are monotonic and do not go back. What is kept does not grow with what is counted. Pure.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

MINUTE = 60.0
_GRAIN = 1.0
_LATELY = 300.0
_SLOT = 15.0


class Counts(NamedTuple):
    """What became of the attempts at a deployment: how many, the tokens used, how many failed or were throttled.

    Tokens are estimates first, and corrected later: there can be fewer than none.
    """

    requests: int = 0
    tokens: int = 0
    failed: int = 0
    throttled: int = 0

    def plus(self, other: "Counts", sign: int = 1) -> "Counts":
        return Counts(
            self.requests + sign * other.requests,
            self.tokens + sign * other.tokens,
            self.failed + sign * other.failed,
            self.throttled + sign * other.throttled,
        )


class Minute:
    """The counts of the last sixty seconds, to the second. Its total is at hand: it is asked for by every worker."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, Counts]] = deque()
        self._total = Counts()

    def add(self, counts: Counts, now: float) -> None:
        self._forget(now)
        self._total = self._total.plus(counts)
        if self._entries and now - self._entries[-1][0] < _GRAIN:
            began, before = self._entries.pop()
            self._entries.append((began, before.plus(counts)))
        elif any(counts):
            self._entries.append((now, counts))

    def total(self, now: float) -> Counts:
        self._forget(now)
        return self._total

    def lately(self, now: float, seconds: float) -> Counts:
        """Of the last few seconds alone."""
        total = Counts()
        for told, counts in reversed(self._entries):
            if told <= now - seconds:
                break
            total = total.plus(counts)
        return total

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0][0] <= now - MINUTE:
            self._total = self._total.plus(self._entries.popleft()[1], -1)


class Percentiles(msgspec.Struct, frozen=True):
    """In seconds, as exact as the buckets they are told from."""

    p50: float
    p90: float
    p99: float


class Lately:
    """A distribution over the last five minutes, by buckets: `bounds` are the upper ones, without the infinite."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._slots: deque[tuple[float, list[int]]] = deque()

    def add(self, counts: Sequence[int], now: float) -> None:
        """So many more in each bucket; the last is the infinite one."""
        if not any(counts):
            return
        self._forget(now)
        if not self._slots or now - self._slots[-1][0] >= _SLOT:
            self._slots.append((now, [0] * (len(self._bounds) + 1)))
        slot = self._slots[-1][1]
        for index, count in enumerate(counts):
            slot[index] += count

    def percentiles(self, now: float) -> Percentiles | None:
        """None where there was nothing."""
        self._forget(now)
        if not self._slots:
            return None
        counts = [sum(column) for column in zip(*(slot for _, slot in self._slots), strict=True)]
        return Percentiles(*(quantile(counts, self._bounds, share) for share in (0.5, 0.9, 0.99)))

    def _forget(self, now: float) -> None:
        while self._slots and self._slots[0][0] <= now - _LATELY:
            self._slots.popleft()


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float:
    """The value that `share` of what was counted stays below, if it is spread evenly within each bucket.

    Of the infinite bucket only its lower bound is known.
    """
    rank = share * sum(counts)
    below = 0
    lower = 0.0
    for count, upper in zip(counts, bounds, strict=False):
        if count and below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below += count
        lower = upper
    return lower
