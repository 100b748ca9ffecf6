"""How many connections are kept ready for a backend, and when the next may be opened. Pure.

One at a time, and ever more seldom where there is none to be had. One that its backend closes as soon as it is open
counts as none.
"""

from collections.abc import Callable

_FIRST_BACKOFF = 1.0  # s
_BACKOFF_AT_MOST = 60.0  # s
_YOUNG = 10.0  # s


class Warmth:
    """`target` connections of a pool are kept idle. Times are monotonic; `uniform` is in [0, 1)."""

    __slots__ = ("_failures", "_not_before", "_uniform", "opening", "target")

    def __init__(self, target: int, uniform: Callable[[], float]) -> None:
        self.target = target
        self.opening = False
        self._uniform = uniform
        self._failures = 0
        self._not_before = 0.0

    def __repr__(self) -> str:
        return f"<Warmth {self.target} failures={self._failures}>"

    def wants(self, idle: int, now: float) -> bool:
        """Whether a connection is to be opened now."""
        return idle < self.target and not self.opening and now >= self._not_before

    def failed(self, now: float) -> None:
        """None could be opened: the next one after twice as long as the last time, less up to a half."""
        wait = min(_FIRST_BACKOFF * 2**self._failures, _BACKOFF_AT_MOST)
        self._failures = min(self._failures + 1, 16)
        self._not_before = now + wait * (1 - self._uniform() / 2)

    def lost(self, lived: float, now: float) -> None:
        """The backend closed one that had lived for so long and never been used."""
        if lived < _YOUNG:
            self.failed(now)
        else:
            self.answered()

    def answered(self) -> None:
        """The backend does serve connections."""
        self._failures = 0
        self._not_before = 0.0
