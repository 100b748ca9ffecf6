"""Virtual time: what is due, in order; of what is due at once, in the order in which it was asked for."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count


class Clock:
    """`now` in seconds. It starts at a time that is not 0: monotonic clocks do not either."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now
        self._due: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = count()

    def at(self, when: float, do: Callable[..., None], *arguments: object) -> None:
        """Do something at a time; now, if that has passed."""
        now = self.now
        heappush(self._due, (when if when > now else now, next(self._order), do, arguments))

    def after(self, seconds: float, do: Callable[..., None], *arguments: object) -> None:
        self.at(self.now + seconds, do, *arguments)

    def run(self, until: float) -> None:
        """Do what falls due until then."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, do, arguments = heappop(due)
            do(*arguments)
        self.now = max(self.now, until)
