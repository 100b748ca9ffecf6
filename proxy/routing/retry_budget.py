"""How many attempts beyond the first all requests of a worker may make together. Pure.

Retries help while few requests need them; when all do, they multiply an outage. So in any ten seconds they are bounded
by a share of the requests, or by a number below which a share means little. Counted by seconds, at no cost that grows
with the traffic; where a second is only partly within the ten, it counts in full for what was spent and not at all for
what was earned.
"""

from proxy.config.structs import RetryBudget as Settings
from proxy.routing.sliding import Sliding

_SECONDS = 10


class RetryBudget:
    """Times are monotonic seconds."""

    __slots__ = ("_requests", "_retries", "settings")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._requests = Sliding(_SECONDS + 1)  # the oldest is only partly within the ten
        self._retries = Sliding(_SECONDS + 1)

    def request(self, now: float) -> None:
        """A request begins; its first attempt is free."""
        requests, second = self._requests, int(now)
        if second > requests.slot:
            requests.move(second)
        requests.add(1, requests.slot)

    def left(self, now: float) -> bool:
        """Whether another attempt may be made."""
        requests, retries, second = self._requests, self._retries, int(now)
        requests.move(second)
        retries.move(second)
        return retries.total + 1 <= max(self.settings.at_least, self.settings.ratio * requests.whole)

    def take(self, now: float) -> bool:
        """Make another attempt; false if there must be none."""
        if not self.left(now):
            return False
        self._retries.add(1, self._retries.slot)
        return True
