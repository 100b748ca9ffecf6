"""What happens when, in a scenario. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from bench.scenarios.structs import Bar, Event, Scenario
from proxy.config.structs import Seconds


class Step(NamedTuple):
    """One thing to do at one time. `off`: the event's fault is over."""

    at: float
    event: Event
    off: bool

    @property
    def what(self) -> str:
        return f"{self.event.what}{' is over' if self.off else ''}"


class Band(NamedTuple):
    """From when to when a fault was there; a moment where it is none."""

    what: str
    since: float
    until: float


def steps(scenario: Scenario) -> list[Step]:
    """Everything that happens, in order."""
    found: list[Step] = []
    for event in scenario.events:
        for since, until in _spells(event, float(scenario.duration)):
            found.append(Step(since, event, off=False))
            if event.fault and until < scenario.duration:
                found.append(Step(until, event, off=True))
    return sorted(found, key=lambda step: step.at)


def bands(scenario: Scenario) -> list[Band]:
    """Every event as it is drawn."""
    end = float(scenario.duration)
    return [
        Band(event.what, since, until if event.fault else since)
        for event in scenario.events
        for since, until in _spells(event, end)
    ]


def _spells(event: Event, end: float) -> Iterator[tuple[float, float]]:
    until = end if event.until is None else float(event.until)
    if event.on is None or event.off is None:
        yield float(event.at), until
        return
    since = float(event.at)
    while since < until:
        yield since, min(since + event.on, until)
        since += event.on + event.off


def lasting(scenario: Scenario, duration: float) -> Scenario:
    """The same in a shorter or longer time: what happens, and what bars look at, comes as much sooner or later. Faults
    that come and go do so as fast as before: what recovers from them does not take less time either.
    """
    factor = duration / scenario.duration
    grain = msgspec.structs.replace(scenario, duration=Seconds(duration)).grain

    def placed(table: Event | Bar, names: tuple[str, ...]) -> dict[str, Seconds]:
        times = {name: getattr(table, name) for name in names}
        return {
            name: Seconds(min(duration, round(time * factor / grain) * grain))
            for name, time in times.items()
            if time is not None
        }

    return msgspec.structs.replace(
        scenario,
        duration=Seconds(duration),
        events=tuple(msgspec.structs.replace(event, **placed(event, ("at", "until"))) for event in scenario.events),
        bars=tuple(msgspec.structs.replace(bar, **placed(bar, ("since", "until"))) for bar in scenario.bars),
    )
