"""How much there was in the last slots of time: a count that forgets at no cost that grows with the traffic. Pure."""


class Sliding:
    """`total` is what the last `slots` hold, the present one, `slot`, among them. Slots are numbers as time goes on."""

    __slots__ = ("_counts", "_size", "slot", "total")

    def __init__(self, slots: int) -> None:
        self._size = slots
        self._counts = [0] * slots
        self.slot = 0
        self.total = 0

    def move(self, slot: int) -> None:
        """Time has come to a slot: forget those that are over for good. It does not go back."""
        if slot <= self.slot:
            return
        counts, size = self._counts, self._size
        for passed in range(max(self.slot, slot - size) + 1, slot + 1):
            self.total -= counts[passed % size]
            counts[passed % size] = 0
        self.slot = slot

    def add(self, amount: int, slot: int) -> None:
        """Count in a slot; in the oldest, if it is older than that."""
        oldest = self.slot - self._size + 1
        self._counts[(slot if slot > oldest else oldest) % self._size] += amount
        self.total += amount

    @property
    def whole(self) -> int:
        """The total without the oldest slot."""
        return self.total - self._counts[(self.slot + 1) % self._size]
