"""What has changed since an earlier run, and whether that is more than noise. Pure.

A machine is never as fast as it was, so that what follows its speed is compared as the ratio to other proxies that were
measured next to it, of the same versions, in both: to the geometric mean of the steady ones, which is steadier still.
Where there is none, only a greater change counts, and none at all if the machine is another.
"""

import math
from collections.abc import Iterator, Sequence
from enum import Enum
from statistics import fmean

import msgspec

from bench.report.figures import Better, Figure, figure
from bench.report.noise import ALIKE, FEWEST, Difference, beyond_noise, difference
from bench.report.stored import CONTROL, DIRECT, OURS
from bench.report.together import Case, Middle, Together

_LEAST_CHANGE = math.log(1.03)
_LEAST_CHANGE_ALONE = math.log(1.10)  # where nothing was measured beside it that is as fast as it was
_STEADY = ("nginx", "haproxy", "envoy", "caddy")


class Became(Enum):
    WORSE = "worse"
    BETTER = "better"
    SAME = "the same"
    UNKNOWN = "cannot tell"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of a proxy in a case, before and now.

    beside       the proxies that both are ratios to, if any
    difference   of logarithms, None where there are too few repeats
    why          it cannot be told
    """

    case: Case
    proxy: str
    figure: Figure
    before: Middle
    now: Middle
    beside: tuple[str, ...]
    difference: Difference | None
    became: Became
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as much it is now, beside the other proxy if there is one."""
        return None if self.difference is None else math.exp(self.difference.change)

    @property
    def span(self) -> tuple[float, float]:
        """The ratios between which it lies with 95 %; there must be a difference."""
        assert self.difference is not None
        return math.exp(self.difference.low), math.exp(self.difference.high)

    @property
    def word(self) -> str:
        """What became of it."""
        if self.became is Became.WORSE:
            return self.figure.worse
        return self.figure.improved if self.became is Became.BETTER else self.became.value


def changes(before: Together, now: Together) -> list[Change]:
    """Every figure that is better one way and that both have."""
    alike = _machines(before) == _machines(now)
    found = list(_pairs(before, now))
    real: set[int] = set()
    for proxy in now.names:  # each is a question of its own
        asked = [
            (place, one.difference.chance) for place, one in enumerate(found) if one.proxy == proxy and one.difference
        ]
        told = beyond_noise([chance for _, chance in asked])
        real |= {place for (place, _), beyond in zip(asked, told, strict=True) if beyond}
    return [_judged(one, place in real, alike=alike) for place, one in enumerate(found)]


def subject(found: Sequence[Change]) -> list[Change]:
    """Those of what the bench is about: Penstock's, or anyone's where it was not measured."""
    return [one for one in found if one.proxy == OURS] or list(found)


def _machines(runs: Together) -> set[str]:
    return {run.machine.cpu for run in runs.runs}


def _pairs(before: Together, now: Together) -> Iterator[Change]:
    """Not judged yet."""
    for case in now.cases:
        earlier = before.case(case.key)
        if earlier is not None:
            judged = [one for one in map(figure, case.figures) if one.better is not Better.NEITHER]
            for proxy in case.measured:
                for one in judged:
                    found = _pair(earlier, case, proxy, one, _beside(before, now, earlier, case, proxy, one))
                    if found is not None:
                        yield found


def _pair(earlier: Case, case: Case, proxy: str, one: Figure, beside: tuple[str, ...]) -> Change | None:
    before, now = earlier.middle(proxy, one.name), case.middle(proxy, one.name)
    if before is None or now is None:
        return None
    same = earlier.title == case.title
    logs = (_logs(whose, proxy, one, beside) for whose in (earlier, case))
    return Change(
        case=case,
        proxy=proxy,
        figure=one,
        before=before,
        now=now,
        beside=beside,
        difference=difference(*logs) if same else None,
        became=Became.UNKNOWN,
        why="" if same else f"another job then: {earlier.title}",
    )


def _beside(before: Together, now: Together, earlier: Case, case: Case, proxy: str, one: Figure) -> tuple[str, ...]:
    """Whose figures both are compared with: of the same versions, and measured next to it often enough both times."""
    if not one.of_speed:
        return ()
    versions = {other.name: other.version for other in now.proxies}
    same = [other.name for other in before.proxies if versions.get(other.name) == other.version]
    found = [
        name
        for name in same
        if name not in (proxy, OURS, CONTROL) and all(_next_to(whose, proxy, one, name) for whose in (earlier, case))
    ]
    steady = tuple(name for name in _STEADY if name in found)
    return steady or ((DIRECT,) if DIRECT in found else tuple(found[:1]))


def _next_to(case: Case, proxy: str, one: Figure, beside: str) -> bool:
    """Whether each of its repeats has one of the other's, more than nothing, and there are enough of them."""
    theirs, others = case.values(proxy, one.name), case.values(beside, one.name)
    return len(theirs) >= FEWEST and all(others.get(place, 0.0) > 0 for place in theirs)


def _logs(case: Case, proxy: str, one: Figure, beside: Sequence[str]) -> list[float]:
    values = case.values(proxy, one.name)
    others = [case.values(other, one.name) for other in beside]
    return [
        _log(value, one) - (fmean(_log(theirs[place], one) for theirs in others) if others else 0.0)
        for place, value in values.items()
    ]


def _log(value: float, one: Figure) -> float:
    """Differences below the figure's floor vanish, and less than nothing is nothing."""
    return math.log(max(0.0, value) + one.floor)


def _judged(change: Change, real: bool, *, alike: bool) -> Change:
    found = change.difference
    alone = change.figure.of_speed and not change.beside
    if found is None:
        return msgspec.structs.replace(change, why=change.why or f"fewer than {FEWEST} repeats")
    if alone and not alike:
        return msgspec.structs.replace(change, why="another machine, and no proxy to compare with")
    worse = (found.change > 0) is (change.figure.better is Better.LESS)
    if real and abs(found.change) >= (_LEAST_CHANGE_ALONE if alone else _LEAST_CHANGE):
        return msgspec.structs.replace(change, became=Became.WORSE if worse else Became.BETTER)
    if max(abs(found.low), abs(found.high)) <= ALIKE:
        return msgspec.structs.replace(change, became=Became.SAME)
    return msgspec.structs.replace(change, why="noise hides it" if not real else "small, and nothing to compare with")
