"""Virtual time: what is due, in order; of what is due at once, in the order in which it was asked for."""

import heapq
from collections.abc import Callable
from itertools import count


class Clock:
    """`now` in seconds. It starts at a time that is not 0: monotonic clocks do not either."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at a time; now, if that has passed."""
        heapq.heappush(self._due, (max(when, self.now), next(self._order), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        self.at(self.now + seconds, do)

    def run(self, until: float) -> None:
        """Do what falls due until then."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, do = heapq.heappop(due)
            do()
        self.now = max(self.now, until)
