"""Where a value is on an axis, as a share of its length, and which values the axis names."""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

_LEAST, _MOST = 1e-6, 1e15  # values that are told from nothing, and from one another
_DECADES = 2.2  # up to which an axis names 1, 2 and 5 of each power of ten
_WIDE = 15.0  # the ratio from which on values are shown by powers of ten


class Scale(Protocol):
    """`ticks` are the values that are named. A value off the axis is at its end."""

    ticks: Sequence[float]

    def share(self, value: float) -> float: ...

    def name(self, value: float) -> str: ...


class Even:
    """From `low` to a round number that is `high` at least."""

    def __init__(self, high: float, low: float = 0.0, count: int = 4) -> None:
        self._low = low
        self.ticks: Sequence[float] = [low + step for step in ticks(high - low, count)]
        self._length = self.ticks[-1] - low

    def share(self, value: float) -> float:
        return _within((value - self._low) / self._length)

    def name(self, value: float) -> str:
        return compact(value)


class Logarithmic:
    """From 1, 2 or 5 times a power of ten to another that hold all values between them; nothing is at its beginning."""

    def __init__(self, values: Iterable[float]) -> None:
        known = [min(_MOST, max(_LEAST, value)) for value in values if value > 0] or [1.0]
        steps = list(_steps(min(known), max(known)))
        self._low, high = steps[0], steps[-1]
        self._length = math.log(high / self._low)
        whole = [step for step in steps if _is_power(step)]
        self.ticks: Sequence[float] = steps if self._length < _DECADES * math.log(10) else whole

    def share(self, value: float) -> float:
        return _within(math.log(max(value, self._low) / self._low) / self._length)

    def name(self, value: float) -> str:
        return compact(value)


class Nines:
    """Shares of all, from 0 on: half, 90 %, 99 %, 99.9 % and so on, each as far from the one before.

    It goes as far as one of so many tells: 3.5 nines where there are about three thousand.
    """

    def __init__(self, nines: float) -> None:
        self._nines = min(7.0, max(2.0, nines))
        whole = range(1, math.floor(self._nines + 1e-9) + 1)
        self.ticks: Sequence[float] = [0.5, *(1 - 10.0**-power for power in whole)]

    def share(self, value: float) -> float:
        return _within(-math.log10(max(1e-12, 1 - value)) / self._nines)

    def name(self, value: float) -> str:
        return f"{value * 100:.6g} %"


def ticks(most: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to `most` or a little more, about `count` steps of them."""
    if not _LEAST < most < _MOST:
        return [0.0, 1.0]
    rough = most / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= rough * 0.999)
    return [number * step for number in range(math.ceil(most / step - 1e-9) + 1)]


def spans_decades(values: Iterable[float]) -> bool:
    """Whether the least of them cannot be seen beside the greatest."""
    known = [value for value in values if value > 0]
    return len(known) > 1 and max(known) / min(known) >= _WIDE


def compact(value: float) -> str:
    """Three digits at most, thousands as k and so on: 0.25, 17.5, 940, 16k, 2.4M."""
    for least, power, letter in ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / power:.3g}{letter}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"


def _within(share: float) -> float:
    return min(1.0, max(0.0, share))


def _is_power(value: float) -> bool:
    return abs(math.log10(value) - round(math.log10(value))) < 1e-9


def _steps(least: float, most: float) -> Iterable[float]:
    """1, 2 and 5 times powers of ten: the last at or below `least`, the first at or over `most`, all in between."""
    power = math.floor(math.log10(least))
    candidates = [
        digit * 10.0**exponent for exponent in range(power - 1, math.ceil(math.log10(most)) + 2) for digit in (1, 2, 5)
    ]
    first = max(number for number, value in enumerate(candidates) if value <= least * (1 + 1e-9))
    last = min(number for number, value in enumerate(candidates) if value >= most * (1 - 1e-9))
    return candidates[first : max(last, first + 1) + 1]
