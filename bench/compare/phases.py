"""The phases of a comparison: what is measured, of whom, how often. Data; how is in `bench.compare.measure`."""

from collections.abc import Callable
from enum import Enum

import msgspec

from bench.compare.measure import (
    Case,
    Found,
    Scene,
    added_latency,
    events,
    first_events,
    handshakes,
    lasting_events,
    memory,
    plain_at_a_rate,
    plain_queued,
    plain_requests,
    soak,
)

_FIRST = 0.01
_PACE = 0.025
_SLOW = 0.5  # s between events where only memory is looked at
_SETTLE = 3.0


class Besides(Enum):
    """Who is measured beside Penstock."""

    PEERS = "the peers"
    PEERS_AND_DIRECT = "the peers, and no proxy at all"
    PEERS_AND_CONTROL = "the peers, and the bare control program"
    NOBODY = "nobody: it is compared with itself"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """`once`: too long to be repeated; `peers_once`: too long to be repeated for others than Penstock."""

    title: str
    cases: tuple[Case, ...]
    besides: Besides = Besides.PEERS
    once: bool = False
    peers_once: bool = False


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much.

    seconds, soak_seconds  of each measurement, of a soak
    events_per_second      of all streams together, where streams grow in number
    growth                 the counts of streams that are looked at there
    held                   the streams of which memory is looked at
    """

    seconds: float = 6.0
    soak_seconds: float = 60.0
    events_per_second: float = 16_000.0
    growth: tuple[int, ...] = (50, 200, 400, 1000, 4000)
    held: int = 4000


QUICK = Sizes(seconds=2.0, soak_seconds=15.0, growth=(400, 1000), held=1000)
"""Enough to see that all of it works and about where it stands."""

DEFAULT = ("plain", "queued", "events", "handshake", "latency", "growth", "memory", "workers")
"""What the bars are about."""


def phases(sizes: Sizes) -> dict[str, Phase]:
    """All that can be measured, by the name it is asked for."""
    seconds = sizes.seconds

    def streaming(measure: Callable[[Scene, Case], Found], streams: int, between: float) -> Case:
        return Case(measure=measure, seconds=seconds, streams=streams, first=_FIRST, between=between)

    def working(case: Case, workers: int) -> Case:
        return msgspec.structs.replace(case, workers=workers, spread=True)

    return {
        "plain": Phase(
            title="plain requests, 16 connections, as fast as it goes",
            cases=(Case(measure=plain_requests, seconds=seconds),),
        ),
        "queued": Phase(title="the same, requests always queued", cases=(Case(measure=plain_queued, seconds=seconds),)),
        "events": Phase(title="400 streams, an event each 25 ms", cases=(streaming(events, 400, _PACE),)),
        "handshake": Phase(
            title="full TLS handshakes with a client certificate",
            cases=(Case(measure=handshakes, seconds=seconds),),
        ),
        "latency": Phase(
            title="plain requests at half of what the proxy's core can carry",
            cases=(Case(measure=added_latency, seconds=seconds),),
        ),
        "growth": Phase(
            title=f"{sizes.events_per_second:,.0f} events a second over ever more streams",
            cases=tuple(
                streaming(lasting_events, streams, streams / sizes.events_per_second) for streams in sizes.growth
            ),
            peers_once=True,
        ),
        "memory": Phase(
            title=f"memory with {sizes.held:,} streams open",
            cases=(Case(measure=memory, seconds=_SETTLE, streams=sizes.held, first=_FIRST, between=_SLOW),),
            besides=Besides.PEERS_AND_CONTROL,
            once=True,
        ),
        "workers": Phase(
            title="one worker and two, on both cores, each with as much to do",
            cases=(
                *(working(Case(measure=plain_at_a_rate, seconds=seconds), workers) for workers in (1, 2)),
                *(working(streaming(lasting_events, 100 * workers, _PACE), workers) for workers in (1, 2)),
            ),
            besides=Besides.NOBODY,
        ),
        "ttft": Phase(
            title="time to the first event, 200 streams",
            cases=(Case(measure=first_events, seconds=seconds, streams=200, first=0.05, between=_PACE),),
            besides=Besides.PEERS_AND_DIRECT,
        ),
        "soak1000": Phase(
            title="1,000 streams, an event each 50 ms, for a while",
            cases=(Case(measure=soak, seconds=sizes.soak_seconds, streams=1000, first=_FIRST, between=0.05),),
            besides=Besides.PEERS_AND_DIRECT,
            once=True,
        ),
    }


KNOWN = tuple(phases(Sizes()))
