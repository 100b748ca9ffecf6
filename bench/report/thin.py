"""A long run's seconds as no more places than a chart has room for, honestly: what peaks in one of them is not lost.

Counts become means a second. Latencies, memory and descriptors are the highest of what is put together, CPU the mean.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import msgspec

from bench.report.stored import Second

MOST = 240
"""Places at the most."""

_MEANS = ("cpu_share", "attempts", "backend_")


class Thinned(msgspec.Struct, frozen=True):
    """`width`: seconds put together as one place; `places`: when each begins, with all of its seconds."""

    width: int
    places: tuple[tuple[int, tuple[Second, ...]], ...]

    @property
    def starts(self) -> list[float]:
        return [float(at) for at, _ in self.places]

    @property
    def end(self) -> float:
        return self.places[-1][0] + self.width if self.places else 0.0

    def mean(self, of: Callable[[Second], float]) -> list[float | None]:
        """A second, over the seconds that are known."""
        return [fmean(of(second) for second in seconds) for _, seconds in self.places]

    def most(self, of: Callable[[Second], float | None]) -> list[float | None]:
        """None where none was seen."""
        return [
            max((value for one in seconds if (value := of(one)) is not None), default=None)
            for _, seconds in self.places
        ]

    def more(self, name: str) -> list[float | None]:
        """A further figure by its name."""
        if any(part in name for part in _MEANS):
            known = ([one.more[name] for one in seconds if name in one.more] for _, seconds in self.places)
            return [fmean(values) if values else None for values in known]
        return self.most(lambda one: one.more.get(name))


def thin(seconds: Sequence[Second], most: int = MOST) -> Thinned:
    """Put together as many of them as it takes; those that nothing is known of have no place."""
    if not seconds:
        return Thinned(1, ())
    first, last = min(one.at for one in seconds), max(one.at for one in seconds)
    width = -(-(last - first + 1) // most)
    places: dict[int, list[Second]] = {}
    for second in sorted(seconds, key=lambda one: one.at):
        places.setdefault(first + (second.at - first) // width * width, []).append(second)
    return Thinned(width, tuple((at, tuple(several)) for at, several in places.items()))


def names(several: Iterable[Thinned]) -> list[str]:
    """The further figures that there are."""
    return list(
        dict.fromkeys(
            name for one in several for _, seconds in one.places for second in seconds for name in second.more
        )
    )
