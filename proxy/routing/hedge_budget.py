"""How many requests may be hedged: a share of those of the last ten seconds. Pure; times are monotonic seconds."""

from proxy.routing.sliding import Sliding

_SECONDS = 10


class HedgeBudget:
    """Counts the requests that may be hedged, and those that were, by seconds."""

    __slots__ = ("_hedges", "_requests")

    def __init__(self) -> None:
        self._requests = Sliding(_SECONDS)
        self._hedges = Sliding(_SECONDS)

    def request(self, now: float) -> None:
        """One that may be hedged has begun."""
        requests = self._requests
        requests.move(int(now))
        requests.add(1, requests.slot)

    def take(self, ratio: float, began: float, now: float) -> bool:
        """Hedge the one that `began` then, if no more than `ratio` of all are; it counts for as long as that."""
        requests, hedges = self._requests, self._hedges
        requests.move(int(now))
        hedges.move(int(now))
        if hedges.total + 1 > ratio * requests.total:
            return False
        hedges.add(1, int(began))
        return True
