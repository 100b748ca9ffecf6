"""How many requests may be hedged: a share of those of the last ten seconds. Pure; times are monotonic seconds."""

_SLOTS = 10  # of a second


class HedgeBudget:
    """Counts the requests that may be hedged, and those that were, in slots of a second."""

    __slots__ = ("_hedges", "_requests", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._requests = [0] * _SLOTS
        self._hedges = [0] * _SLOTS

    def request(self, now: float) -> None:
        """One that may be hedged has begun."""
        self._move(now)
        self._requests[self._second % _SLOTS] += 1

    def take(self, ratio: float, began: float, now: float) -> bool:
        """Hedge the one that `began` then, if no more than `ratio` of all are; it counts for as long as that."""
        self._move(now)
        if sum(self._hedges) + 1 > ratio * sum(self._requests):
            return False
        self._hedges[max(int(began), self._second - _SLOTS + 1) % _SLOTS] += 1
        return True

    def _move(self, now: float) -> None:
        second = int(now)
        for passed in range(self._second + 1, min(second, self._second + _SLOTS) + 1):
            self._requests[passed % _SLOTS] = self._hedges[passed % _SLOTS] = 0
        self._second = max(second, self._second)
