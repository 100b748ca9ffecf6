"""Stored runs laid together: what was measured of whom in each case, over all repeats. Pure.

A case is a scenario with so many streams and workers. A repeat belongs to its run: the same number in another run is
another repeat. All text is made fit to be shown here, once (see `words`); it is not escaped.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

import msgspec

from bench.report.figures import order
from bench.report.stored import CONTROL, DIRECT, NOISY, OURS, Measured, Proxy, Stored, Verdict
from bench.report.words import clean

_NAMED = 8


class Place(NamedTuple):
    """Where something was measured: those of one place were measured next to each other."""

    run: int
    repeat: int


class Middle(NamedTuple):
    """Of all repeats."""

    median: float
    least: float
    most: float
    repeats: int


class Key(NamedTuple):
    scenario: str
    streams: int
    workers: int


class Case(msgspec.Struct, frozen=True):
    """`measured`: by proxy and place."""

    key: Key
    title: str
    measured: dict[str, dict[Place, Measured]]

    @property
    def name(self) -> str:
        """What it is called among all cases."""
        return f"{self.key.scenario}, {self.which}" if self.which else self.key.scenario

    @property
    def which(self) -> str:
        """Which one it is of its scenario's."""
        _, streams, workers = self.key
        parts = [f"{streams:,} streams" if streams else "", f"{workers} workers" if workers > 1 else ""]
        return ", ".join(part for part in parts if part)

    @property
    def story(self) -> str:
        """What it is about; empty where that is not said."""
        return next((one.story for places in self.measured.values() for one in places.values() if one.story), "")

    @property
    def repeated(self) -> bool:
        return any(len(places) > 1 for places in self.measured.values())

    @property
    def figures(self) -> list[str]:
        """Those that there are, the most important first."""
        everything = (one for places in self.measured.values() for one in places.values())
        return sorted(dict.fromkeys(name for one in everything for name in one.figures), key=order)

    def values(self, proxy: str, figure: str) -> dict[Place, float]:
        places = self.measured.get(proxy, {})
        return {place: one.figures[figure] for place, one in places.items() if figure in one.figures}

    def middle(self, proxy: str, figure: str) -> Middle | None:
        values = list(self.values(proxy, figure).values())
        return Middle(median(values), min(values), max(values), len(values)) if values else None

    def ratio(self, proxy: str, figure: str, to: str) -> float | None:
        """How many times `to`'s a proxy's figure is: the median of those that were measured next to each other."""
        theirs, others = self.values(proxy, figure), self.values(to, figure)
        pairs = [value / others[place] for place, value in theirs.items() if others.get(place)]
        return median(pairs) if pairs else None

    def histograms(self, name: str, proxy: str) -> list[str]:
        places = self.measured.get(proxy, {}).values()
        return [one.histograms[name] for one in places if name in one.histograms]

    def watched(self, proxy: str) -> Measured | None:
        """The repeat of which every second is shown: the first that has any."""
        return next((one for one in self.measured.get(proxy, {}).values() if one.seconds), None)


class Judged(NamedTuple):
    """A verdict, and what it is about where that is one case and proxy; `of` repeats, of which it holds in `held`."""

    about: str
    verdict: Verdict
    held: int
    of: int

    @property
    def holds(self) -> bool:
        return self.held == self.of


class Together(msgspec.Struct, frozen=True):
    """`proxies` in the order of columns, `cases` as they were measured."""

    runs: tuple[Stored, ...]
    proxies: tuple[Proxy, ...]
    cases: tuple[Case, ...]

    @property
    def names(self) -> list[str]:
        return [proxy.name for proxy in self.proxies]

    def case(self, key: Key) -> Case | None:
        return next((case for case in self.cases if case.key == key), None)

    @property
    def verdicts(self) -> list[Judged]:
        """Those over all that was measured, then those of cases; the same one of several repeats is one."""
        found = [Judged("", verdict, int(verdict.holds), 1) for run in self.runs for verdict in run.verdicts]
        for case in self.cases:
            for proxy, places in case.measured.items():
                about = case.name if proxy == OURS else f"{case.name}: {proxy}"
                found += _summed(about, [verdict for one in places.values() for verdict in one.verdicts])
        return found


def lay(runs: Sequence[Stored]) -> Together:
    """All of them, as one."""
    shown = tuple(_cleaned(run) for run in runs)
    cases: dict[Key, dict[str, dict[Place, Measured]]] = {}
    titles: dict[Key, str] = {}
    for number, run in enumerate(shown):
        for one in run.measured:
            key = Key(one.scenario, one.streams, one.workers)
            titles.setdefault(key, one.title or one.scenario)
            cases.setdefault(key, {}).setdefault(one.proxy, {})[Place(number, one.repeat)] = one
    proxies = _proxies(shown)
    return Together(
        shown,
        proxies,
        tuple(
            Case(key, titles[key], {proxy.name: measured[proxy.name] for proxy in proxies if proxy.name in measured})
            for key, measured in cases.items()
        ),
    )


def disturbed(together: Together) -> str:
    """Where others had the machine meanwhile, which makes figures worth less, in a sentence; empty where nobody had."""
    found = [
        f"{case.name}, {proxy}: {middle.most * 100:.0f} %"
        for case in together.cases
        for proxy in case.measured
        if (middle := case.middle(proxy, "share_of_others")) is not None and middle.most > NOISY
    ]
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    few = "; ".join(found[:_NAMED]) + more
    return f"Others took up to so much of a core meanwhile: {few}. Run it again." if found else ""


def _proxies(runs: Iterable[Stored]) -> tuple[Proxy, ...]:
    """Each once, ours first, what is no proxy last; those that are measured and not named are known by their name."""
    found: dict[str, list[Proxy]] = {}
    for run in runs:
        for proxy in (*run.proxies, *(Proxy(name=one.proxy, version="") for one in run.measured)):
            found.setdefault(proxy.name, []).append(proxy)
    one_each = [
        Proxy(
            name=name,
            version=" and ".join(dict.fromkeys(one.version for one in same if one.version)),
            about=next((one.about for one in same if one.about), ""),
            lacks=tuple(dict.fromkeys(lack for one in same for lack in one.lacks)),
        )
        for name, same in found.items()
    ]
    last = (DIRECT, CONTROL)
    return tuple(
        sorted(one_each, key=lambda one: last.index(one.name) + 1 if one.name in last else -(one.name == OURS))
    )


def _summed(about: str, verdicts: Sequence[Verdict]) -> list[Judged]:
    """The same bar over several repeats: all that was measured, and how often it holds."""
    same: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        same.setdefault((verdict.what, verdict.bar), []).append(verdict)
    return [
        Judged(
            about,
            msgspec.structs.replace(
                several[0],
                measured=" · ".join(dict.fromkeys(one.measured for one in several)),
                holds=all(one.holds for one in several),
                reached=all(one.reached for one in several),
            ),
            sum(one.holds for one in several),
            len(several),
        )
        for several in same.values()
    ]


def _cleaned(run: Stored) -> Stored:
    return msgspec.convert(_texts_cleaned(msgspec.to_builtins(run)), Stored)


def _texts_cleaned(value: Any) -> Any:
    """Everything in it, keys as well; a histogram is no text for people."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): one if name == "histograms" else _texts_cleaned(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_texts_cleaned(one) for one in value]
    return value
