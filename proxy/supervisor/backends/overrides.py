"""What people have set at run time, over the configuration: drained deployments, weights, breakers held open.

It lasts as long as the deployment is configured, through reloads and whatever becomes of workers. A gateway that is
started again knows nothing of it, and goes by its configuration alone. Times are monotonic. Pure.
"""

from collections.abc import Collection, Iterable

import msgspec

from proxy.routing.candidate import Key


class Weighing(msgspec.Struct, frozen=True):
    """A weight on its way: from `start` at `began` to `goal` at `ends`, in a straight line."""

    start: float
    goal: float
    began: float
    ends: float

    def at(self, now: float) -> float:
        if now >= self.ends:
            return self.goal
        share = max(0.0, now - self.began) / (self.ends - self.began)
        return round(self.start + (self.goal - self.start) * share, 3)


class Overrides:
    """`drained` tells since when; `weights`, what replaces the configuration's; `held`, how long a breaker is open."""

    def __init__(self) -> None:
        self.drained: dict[Key, float] = {}
        self.weights: dict[Key, Weighing] = {}
        self.held: dict[Key, float] = {}

    def reconfigure(self, keys: Collection[Key]) -> None:
        """Forget what is configured no more."""
        for kept in (self.drained, self.weights, self.held):
            for key in [key for key in kept if key not in keys]:
                del kept[key]

    def drain(self, keys: Iterable[Key], now: float) -> None:
        for key in keys:
            self.drained.setdefault(key, now)

    def undrain(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.drained.pop(key, None)

    def weigh(self, key: Key, present: float, goal: float | None, over: float, now: float) -> None:
        """Let the weight become `goal` within `over` seconds, from what is in force; None: the configuration's again.

        `present`: what is in force if nothing was set here.
        """
        if goal is None:
            self.weights.pop(key, None)
            return
        before = self.weights.get(key)
        self.weights[key] = Weighing(present if before is None else before.at(now), goal, now, now + over)

    def weight(self, key: Key, now: float) -> float | None:
        """None: the configuration's."""
        weighing = self.weights.get(key)
        return None if weighing is None else weighing.at(now)

    def hold(self, keys: Iterable[Key], until: float) -> None:
        for key in keys:
            self.held[key] = until

    def let_go(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self.held.pop(key, None)

    def held_until(self, key: Key, now: float) -> float | None:
        """Until when a breaker is held open; None: it is not."""
        until = self.held.get(key)
        return until if until is not None and until > now else None
