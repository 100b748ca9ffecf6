"""How many attempts beyond the first all requests of a worker may make together. Pure.

Retries help while few requests need them; when all do, they multiply an outage. So in any ten seconds they are bounded
by a share of the requests, or by a number below which a share means little. Counted by seconds, at no cost that grows
with the traffic; where a second is only partly within the ten, it counts in full for what was spent and not at all for
what was earned.
"""

from proxy.config.structs import RetryBudget as Settings

_SECONDS = 10


class RetryBudget:
    """Times are monotonic seconds."""

    __slots__ = ("_earned", "_now", "_requests", "_retries", "_spent", "settings")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._requests = [0] * (_SECONDS + 1)  # by second; the slot after the present one's is the oldest
        self._retries = [0] * (_SECONDS + 1)
        self._earned = self._spent = 0  # their sums
        self._now = 0

    def request(self, now: float) -> None:
        """A request begins; its first attempt is free."""
        second = int(now)
        if second > self._now:
            self._turn(second)
        self._requests[self._now % (_SECONDS + 1)] += 1
        self._earned += 1

    def left(self, now: float) -> bool:
        """Whether another attempt may be made."""
        second = int(now)
        if second > self._now:
            self._turn(second)
        whole = self._earned - self._requests[(self._now + 1) % (_SECONDS + 1)]
        return self._spent + 1 <= max(self.settings.at_least, self.settings.ratio * whole)

    def take(self, now: float) -> bool:
        """Make another attempt; false if there must be none."""
        if not self.left(now):
            return False
        self._retries[self._now % (_SECONDS + 1)] += 1
        self._spent += 1
        return True

    def _turn(self, second: int) -> None:
        """Forget the seconds that are over for good."""
        for old in range(max(self._now, second - _SECONDS - 1) + 1, second + 1):
            slot = old % (_SECONDS + 1)
            self._earned -= self._requests[slot]
            self._spent -= self._retries[slot]
            self._requests[slot] = self._retries[slot] = 0
        self._now = second
