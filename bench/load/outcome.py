"""What a job came to: all results, rates, what the generator itself has cost, and every second of it. Pure."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from bench.load.histogram import Histogram
from bench.load.results import HISTOGRAMS, Moments, Results, Tallies, Tally
from bench.report.stored import Second

GRACE = 30.0
"""Seconds that answers may still take when a job's time is over."""
PART = 0.25
"""Of a second that is not over at the end, from which on it is one of those that are shown."""
_COARSE_AFTER = 60  # s after which few answers come to what was due in a second


class Told(msgspec.Struct, frozen=True):
    """A request that is over, of whom and of which mix; the rest is as in `bench.load.connection.Asked`."""

    client: str
    mix: int
    due: float
    first: float | None
    over: float
    wrong: str
    head: bytes
    left: bool


Hears = Callable[[Told], None]
"""Hears of every request that is over."""
Watch = Callable[[Second], None]
"""Hears of each second when it is over: what happened in it, whenever that was due."""


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """What the generator cost, all its processes together: all of it by request, and all of it by event."""

    cpu_seconds: float
    cpu_share: float
    cpu_us_per_request: float
    cpu_us_per_event: float
    processes: int = 1


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What came each second, over all of the measured time."""

    asked: float
    answers: float
    events: float
    tokens: float
    handshakes: float


class Outcome:
    """`seconds` is the measured time, which rates and costs are of. `results` hold also what came of its requests
    afterwards; `unfinished` of them had no end when it was no longer waited for. `timeline` has requests by the second
    in which they were due, events and everything else by that in which they came;
    `tallies` has requests by `Moments`: the number of one, and the client.
    """

    def __init__(self, seconds: float, results: Results, unfinished: int, rates: Rates, own: Own) -> None:
        self.seconds = seconds
        self.results = results
        self.unfinished = unfinished
        self.rates = rates
        self.own = own
        self.timeline: tuple[Second, ...] = ()
        self.tallies: Tallies = {}

    def figures(self) -> dict[str, float]:
        """By name, the unit at its end; of what was not seen, nothing."""
        results = self.results
        found = {f"{name}_per_second": float(rate) for name, rate in msgspec.structs.asdict(self.rates).items()}
        for name in HISTOGRAMS:
            for figure, value in results.histogram(name).summary().items():
                if figure != "count" and results.histogram(name).count:
                    found[f"{name}_{figure}"] = value
        for name in ("answers", "events", "tokens", "handshakes", "asked", "refused", "broken", "left", "turned_out"):
            found[name] = getattr(results, name)
        return found | {
            "errors": results.failed,
            "unfinished": self.unfinished,
            **{f"generator_{name}": value for name, value in msgspec.structs.asdict(self.own).items()},
        }

    def histograms(self) -> dict[str, str]:
        """Those that have something to show, in microseconds: HdrHistogram's compressed V2 encoding, base64."""
        there = {name: self.results.histogram(name) for name in HISTOGRAMS}
        return {name: histogram.encoded() for name, histogram in there.items() if histogram.count}


class Timeline:
    """Seconds as they fill. Memory: a few numbers a moment, and a histogram that is coarse once it is a minute old."""

    def __init__(self, moments: Moments) -> None:
        self.due: dict[int, tuple[Tally, Histogram]] = {}
        self._happened: list[Second] = []
        self._moments = moments

    def add(self, tallies: Mapping[int, tuple[Tally, Histogram]]) -> None:
        for place, (tally, ttft) in tallies.items():
            own, own_ttft = self.due.setdefault(place, (Tally(), Histogram()))
            own.add(tally)
            own_ttft.merge(ttft)

    def happened(self, second: Second) -> None:
        """A second is over."""
        self._happened.append(second)
        for place in self._moments.within(second.at - _COARSE_AFTER):
            if place in self.due:
                tally, ttft = self.due[place]
                self.due[place] = tally, ttft.coarse()

    def seconds(self) -> tuple[Second, ...]:
        """All of them; requests of a last sliver of one are those of the second before."""
        there = {second.at: second for second in self._happened}
        last = max(there, default=0)
        sliver = range(self._moments.within(last).stop, max(self.due, default=0) + 1)
        return tuple(
            self._second(there.get(at) or Second(at=at), sliver if at == last else range(0)) for at in range(last + 1)
        )

    def _second(self, happened: Second, sliver: range) -> Second:
        tally, ttft = Tally(), Histogram()
        for place in (*self._moments.within(happened.at), *sliver):
            if place in self.due:
                tally.add(self.due[place][0])
                ttft.merge(self.due[place][1])
        p50, p99 = _percentiles(ttft)
        return msgspec.structs.replace(
            happened,
            asked=tally.asked,
            answered=tally.answered,
            refused=tally.refused,
            failed=tally.failed,
            broken=tally.broken,
            ttft_p50=p50,
            ttft_p99=p99,
            more=happened.more | {"left": float(tally.left)},
        )


class Spent(NamedTuple):
    """What was counted, up to a moment."""

    answers: int
    events: int
    tokens: int
    handshakes: int
    asked: int
    cpu: float


class Account:
    """Adds up what comes from the processes of a job, from `began` (monotonic) on."""

    def __init__(self, began: float, processes: int = 1, moments: Moments | None = None) -> None:
        self.began = began
        self.results = Results()
        self._processes = processes
        self._moments = moments or Moments()
        self._timeline = Timeline(self._moments)
        self._cpu = 0.0
        self._window: tuple[float, Spent] | None = None

    def add(self, results: Results, cpu: float) -> None:
        """What was counted since the last time, and the seconds of CPU that it took."""
        self._timeline.add(results.tallies)
        results.tallies = {}
        self.results.merge(results)
        self._cpu += cpu

    def second(self, at: int, results: Results, clients: int, cpu: float) -> Second:
        """A second is over, in which all this was counted; `add` takes it as well, and after this."""
        ttft = Histogram()
        for _, times in results.tallies.values():
            ttft.merge(times)
        p50, p99 = _percentiles(ttft)
        more = {"tokens": results.tokens, "left": results.left, "handshakes": results.handshakes, "open": clients}
        second = Second(
            at=at,
            asked=results.asked,
            answered=results.answers,
            refused=results.refused,
            failed=max(0, results.failed - results.refused - results.broken),
            broken=results.broken,
            events=results.events,
            ttft_p50=p50,
            ttft_p99=p99,
            late_p99=_percentiles(results.late)[1],
            more={name: float(value) for name, value in more.items()} | {"generator_cpu_share": cpu},
        )
        self._timeline.happened(second)
        return second

    def over(self, now: float) -> None:
        """The measured time is over; what still comes is counted, and changes no rate."""
        if self._window is None:
            self._window = now - self.began, self._spent()

    def outcome(self, now: float, unfinished: int) -> Outcome:
        seconds, spent = self._window or (now - self.began, self._spent())
        outcome = Outcome(
            seconds, self.results, unfinished, _rates(spent, seconds), _own(spent, seconds, self._processes)
        )
        outcome.timeline = self._timeline.seconds()
        outcome.tallies = {self._moments.of(place): found for place, found in self._timeline.due.items()}
        return outcome

    def _spent(self) -> Spent:
        results = self.results
        return Spent(results.answers, results.events, results.tokens, results.handshakes, results.asked, self._cpu)


def _rates(spent: Spent, seconds: float) -> Rates:
    return Rates(**{name: round(getattr(spent, name) / max(seconds, 1e-9), 3) for name in Rates.__struct_fields__})


def _own(spent: Spent, seconds: float, processes: int) -> Own:
    requests = spent.answers or spent.handshakes or spent.asked
    return Own(
        cpu_seconds=round(spent.cpu, 4),
        cpu_share=round(spent.cpu / max(seconds, 1e-9), 3),
        cpu_us_per_request=round(spent.cpu / max(1, requests) * 1e6, 2),
        cpu_us_per_event=round(spent.cpu / max(1, spent.events) * 1e6, 2) if spent.events else 0.0,
        processes=processes,
    )


def _percentiles(times: Histogram) -> tuple[float | None, float | None]:
    """p50 and p99 in milliseconds, if there are any."""
    if not times.count:
        return None, None
    return times.percentile(0.5) * 1000, times.percentile(0.99) * 1000
