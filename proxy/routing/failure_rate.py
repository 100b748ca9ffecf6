"""The share of a deployment's answers that are failures, over a sliding window. Pure.

The window is counted in tenths, so what it costs does not depend on how many answers there are; it covers nine tenths
of its length to all of it.
"""

from proxy.config.structs import Breaker as Settings

_SLOTS = 10


class FailureRate:
    """Times are monotonic seconds."""

    __slots__ = ("_failed", "_slot", "_slots", "_total")

    def __init__(self) -> None:
        self._slots: list[tuple[int, int]] = [(0, 0)] * _SLOTS  # answers, failures
        self._slot = 0
        self._total = self._failed = 0

    def count(self, now: float, settings: Settings, *, failed: bool) -> bool:
        """One more answer; true if too many of the window's have failed, and there were enough to tell."""
        slot = int(now * _SLOTS / settings.window)
        if slot != self._slot:
            self._turn(slot)
        total, failures = self._slots[slot % _SLOTS]
        self._slots[slot % _SLOTS] = total + 1, failures + failed
        self._total += 1
        self._failed += failed
        return failed and self._total >= settings.volume and self._failed >= settings.ratio * self._total

    def forget(self) -> None:
        """What was counted tells nothing of what comes: the deployment is back."""
        self._slots = [(0, 0)] * _SLOTS
        self._total = self._failed = 0

    def _turn(self, slot: int) -> None:
        """Drop the slots that have left the window."""
        for old in range(max(self._slot, slot - _SLOTS) + 1, slot + 1):
            total, failures = self._slots[old % _SLOTS]
            self._total -= total
            self._failed -= failures
            self._slots[old % _SLOTS] = 0, 0
        self._slot = slot
