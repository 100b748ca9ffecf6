"""What was seen of a scenario, as figures: of each second, and of any while. Pure.

A request belongs to the moment in which it was due, whenever its answer came; moments are as long as the scenario's
grain. Metrics of a while, by the names of `bench.scenarios.structs.Metric`; there is none where nothing was asked:

failed                5xx, resets and silence: a client-visible error of a request that had no byte of an answer yet
broken                answers that broke off after their first byte, which nothing can hide
refused               the gateway's own 429 and 503
answered              the share of requests that were answered whole, or that their clients left in mid-stream
ttft_p50_ms, …        from when a request was due to its first event, or to the whole of an answer that is no stream
share                 of what was answered, the share of one backend
attempts              requests that one backend got
attempts_per_request  requests that all backends got, over those that clients made
told_s                the longest `retry-after` of a refusal, in seconds
untold                refusals without one
asked_per_second, …        requests that were due, that were answered; events that came; handshakes that were done
open_least         connections that were open, when they were fewest
cpu_us_per_request    the gateway's processes', all together, over what was answered
cpu_us_per_event      the same over events
memory_mb             the most that they held (PSS), all together
memory_growth_mb      what the trend of that adds over the while; see `bench.scenarios.growth`
descriptors           the most that they had open
descriptor_growth     what the trend of that adds

and of the whole: wrong_bytes, answers with a byte that is not the backend's; late_…, events behind their stream's
schedule; handshake_…, from a connection's start to the end of its TLS handshake.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from bench.load.histogram import Histogram
from bench.load.results import Results, Tallies, Tally
from bench.report.stored import Second
from bench.scenarios.growth import growth
from bench.scenarios.vitals import Vitals

WRONG = frozenset(
    (
        *("wrong bytes", "wrong length", "cut short", "no framing", "head too long", "line too long"),
        *("bad chunk size", "bad chunk end", "bytes after the end"),
    )
)
"""What `bench.load.answer` calls an answer whose bytes are not the backend's, or that ends as if it were whole."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What there was at the end of a second of the clock, and what came in it. `late_p99`: milliseconds, of the events
    that came.
    """

    at: int
    events: int
    handshakes: int
    open: int
    late_p99: float | None
    vitals: dict[str, Vitals]

    @property
    def memory_mb(self) -> float:
        return sum(one.memory_mb for one in self.vitals.values())

    @property
    def descriptors(self) -> int:
        return sum(one.descriptors for one in self.vitals.values())

    @property
    def cpu_share(self) -> float:
        return sum(one.cpu_share for one in self.vitals.values())


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario as it went.

    grain     seconds of a moment
    results   counts and histograms of the whole
    tallies   of the requests due in a moment, by its number and who asked: a client that is told apart, or nobody
    attempts  by moment, what each backend got
    moments   by second
    clients   those that are told apart, and nobody
    took      seconds of the clock, warm-up and end included
    """

    grain: float
    results: Results
    tallies: Tallies
    attempts: dict[int, dict[str, int]]
    moments: Mapping[int, Moment]
    clients: Sequence[str]
    took: float


class While(msgspec.Struct, frozen=True):
    """A part of a scenario: of the requests due in it, of one client or all; of one backend, where that matters."""

    seconds: float
    tally: Tally
    ttft: Histogram
    attempts: dict[str, int]
    moments: Sequence[Moment]
    results: Results
    backend: str | None

    @property
    def cpu_us(self) -> float:
        """Of the gateway."""
        return sum(moment.cpu_share for moment in self.moments) * 1e6


def of_while(
    played: Played, since: float, until: float, *, backend: str | None = None, client: str | None = None
) -> While:
    first, last = round(since / played.grain), round(until / played.grain)
    tally, ttft = Tally(), Histogram()
    attempts: dict[str, int] = {}
    for number in range(first, last):
        for name in played.clients if client is None else (client,):
            if found := played.tallies.get((number, name)):
                tally.add(found[0])
                ttft.merge(found[1])
        for name, count in played.attempts.get(number, {}).items():
            attempts[name] = attempts.get(name, 0) + count
    moments = [played.moments[at] for at in range(math.ceil(since), math.ceil(until)) if at in played.moments]
    return While(until - since, tally, ttft, attempts, moments, played.results, backend)


def measured(
    played: Played, metric: str, since: float, until: float, *, backend: str | None = None, client: str | None = None
) -> float | None:
    """A metric over a while; None where there is nothing to measure it by."""
    return _METRICS[metric](of_while(played, since, until, backend=backend, client=client))


def wrong_bytes(results: Results) -> int:
    """Answers that were not what the backend had sent, byte for byte."""
    return sum(count for kind, count in results.errors.items() if kind in WRONG)


def seconds(played: Played, duration: float) -> list[Second]:
    """Every second of the scenario."""
    whiles = (of_while(played, at, min(at + 1, duration)) for at in range(math.ceil(duration)))
    return [_second(at, one, played.moments.get(at)) for at, one in enumerate(whiles)]


def _second(at: int, one: While, moment: Moment | None) -> Second:
    tally = one.tally
    more: dict[str, float] = {"attempts": sum(one.attempts.values())}
    more |= {f"backend_{name}": count for name, count in tally.by.items() if name}
    ninety = _ms(one.ttft, 0.9)
    if ninety is not None:
        more["ttft_p90_ms"] = ninety
    if moment is not None:
        more |= {
            "connections": moment.open,
            "cpu_share": moment.cpu_share,
            "memory_mb": moment.memory_mb,
            "descriptors": moment.descriptors,
        }
        for name, vitals in moment.vitals.items():
            more |= {
                f"{name}_cpu_share": vitals.cpu_share,
                f"{name}_memory_mb": vitals.memory_mb,
                f"{name}_descriptors": vitals.descriptors,
            }
    return Second(
        at=at,
        asked=tally.asked,
        answered=tally.answered + tally.left,
        refused=tally.refused,
        failed=tally.failed,
        broken=tally.broken,
        events=moment.events if moment else 0,
        ttft_p50=_ms(one.ttft, 0.5),
        ttft_p99=_ms(one.ttft, 0.99),
        late_p99=moment.late_p99 if moment else None,
        more=more,
    )


def _ms(histogram: Histogram, share: float) -> float | None:
    return histogram.percentile(share) * 1000 if histogram.count else None


_Metric = Callable[[While], float | None]


def _ttft(share: float) -> _Metric:
    return lambda one: _ms(one.ttft, share)


def _whole(histogram: str, share: float) -> _Metric:
    return lambda one: _ms(one.results.histogram(histogram), share)


def _count(of: Callable[[Tally], float]) -> _Metric:
    """Where nothing was asked, nothing went wrong either, and that says nothing."""
    return lambda one: float(of(one.tally)) if one.tally.asked else None


def _anything(results: Results) -> bool:
    """Whether any answer came that could have been wrong."""
    return bool(results.answers or results.events or results.failed)


def _over(count: float, of: float) -> float | None:
    return count / of if of else None


def _grows(value: Callable[[Moment], float]) -> _Metric:
    return lambda one: growth([float(moment.at) for moment in one.moments], [value(moment) for moment in one.moments])


def _most(value: Callable[[Moment], float]) -> _Metric:
    return lambda one: max((value(moment) for moment in one.moments), default=None)


def _events(moments: Iterable[Moment]) -> int:
    return sum(moment.events for moment in moments)


_METRICS: Mapping[str, _Metric] = {
    "failed": _count(lambda tally: tally.failed),
    "broken": _count(lambda tally: tally.broken),
    "refused": _count(lambda tally: tally.refused),
    "answered": lambda one: _over(one.tally.answered + one.tally.left, one.tally.over),
    "ttft_p50_ms": _ttft(0.5),
    "ttft_p90_ms": _ttft(0.9),
    "ttft_p99_ms": _ttft(0.99),
    "share": lambda one: _over(one.tally.by.get(one.backend or "", 0), sum(one.tally.by.values())),
    "attempts": lambda one: float(one.attempts.get(one.backend or "", 0)),
    "attempts_per_request": lambda one: _over(sum(one.attempts.values()), one.tally.asked),
    "told_s": _count(lambda tally: tally.told),
    "untold": _count(lambda tally: tally.untold),
    "asked_per_second": lambda one: one.tally.asked / one.seconds,
    "answered_per_second": lambda one: one.tally.answered / one.seconds,
    "events_per_second": lambda one: _events(one.moments) / one.seconds,
    "handshakes_per_second": lambda one: sum(moment.handshakes for moment in one.moments) / one.seconds,
    "open_least": lambda one: min((moment.open for moment in one.moments), default=None),
    "cpu_us_per_request": lambda one: _over(one.cpu_us, one.tally.answered),
    "cpu_us_per_event": lambda one: _over(one.cpu_us, _events(one.moments)),
    "memory_mb": _most(lambda moment: moment.memory_mb),
    "memory_growth_mb": _grows(lambda moment: moment.memory_mb),
    "descriptors": _most(lambda moment: float(moment.descriptors)),
    "descriptor_growth": _grows(lambda moment: float(moment.descriptors)),
    "wrong_bytes": lambda one: float(wrong_bytes(one.results)) if _anything(one.results) else None,
    "late_p50_ms": _whole("late", 0.5),
    "late_p99_ms": _whole("late", 0.99),
    "handshake_p50_ms": _whole("handshake", 0.5),
    "handshake_p99_ms": _whole("handshake", 0.99),
}
