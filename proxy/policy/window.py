"""How much of a budget a minute is taken: a sliding window in slots of a quarter of a second.

Units are handed out as leases, and a leased unit may be spent some time after it was debited. So a slot is named by the
moment at which its leases *end*, and its units count for 60 s from then: what is spent before a lease's end and what
can be granted after the slot has left the window lie at least 60 s apart. Hence no interval of 60 s ever holds more
reservations than the limit. Nothing in here performs I/O or reads a clock; `now` is the machine's monotonic time, which
all its processes share (CLOCK_MONOTONIC), and never goes back.
"""

from collections.abc import Iterator

SLOT = 0.25  # s; a power of two, so that slot times are exact
SPAN = 60.0  # s: "a minute"
UNLIMITED = 1 << 62
_LEASE = 3  # slots: a lease lives for more than 0.5 s and at most 0.75 s
_STEPS = 16


def lease_slot(now: float) -> int:
    """The slot to which units handed out at `now` are debited."""
    return int(now / SLOT) + _LEASE


def ends(slot: int) -> float:
    """When the leases of this slot end: they may be spent before, never at or after this time."""
    return slot * SLOT


def forgotten(slot: int) -> float:
    """When this slot's units count no more."""
    return slot * SLOT + SPAN


class Window:
    """The units of one budget taken in the last minute. `limit` is units in 60 s, `UNLIMITED` where there is none.

    `used` may exceed the limit by debt, or after the limit was lowered; then nothing is free until enough has left.
    """

    __slots__ = ("_slots", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._slots: dict[int, int] = {}  # in ascending order, since time does not go back; at most 243

    def free(self, now: float) -> int:
        """How much can be debited now."""
        slots = self._slots
        while slots:
            oldest = next(iter(slots))
            if now < forgotten(oldest):
                break
            self.used -= slots.pop(oldest)
        return max(0, self.limit - self.used)

    def debit(self, units: int, now: float) -> int:
        """Take units, whether free or not (debt), and return the slot in which they count."""
        slot = lease_slot(now)
        self._slots[slot] = self._slots.get(slot, 0) + units
        self.used += units
        return slot

    def credit(self, slot: int, units: int) -> None:
        """Take back what was debited to `slot` and not used. What has left the window has nothing to give back."""
        units = min(units, self._slots.get(slot, 0))
        if units > 0:
            self._slots[slot] -= units
            self.used -= units

    def opens(self, units: int, now: float) -> float:
        """When `units` (not more than the limit) are free if nothing else is taken; `now` if they are free already."""
        if self.free(now) >= units:
            return now
        return next((at for free, at in self._relief() if free >= units), now + SPAN)

    def steps(self, units: int, now: float) -> tuple[tuple[int, float], ...]:
        """What is free when, if nothing else is taken: at most 18 pairs, ascending, exact for `units`.

        The first pair is what is free now. An amount between two pairs may be free sooner than the later one says.
        """
        free = self.free(now)
        steps = [(free, now)]
        grain = max(1, -(-(self.limit - free) // _STEPS))
        for more, at in self._relief():
            if free < units <= more or more >= steps[-1][0] + grain or (more == self.limit and steps[-1][0] < more):
                steps.append((more, at))
            free = more
        return tuple(steps)

    def _relief(self) -> Iterator[tuple[int, float]]:
        used = self.used
        for slot, units in self._slots.items():
            used -= units
            yield self.limit - used, forgotten(slot)
