"""What was seen of a scenario, as figures: of each second, and of any while. Pure.

A request belongs to the second in which it was due, whenever its answer came. Metrics of a while, by the names of
`bench.scenarios.structs.Metric`:

failed                5xx, resets and silence: a client-visible error of a request that had no byte of an answer yet
broken                answers that broke off after their first byte, which nothing can hide
refused               the gateway's own 429 and 503
answered              the share of requests that were answered whole
ttft_p50_ms, …        from when a request was due to its first event, or to the whole of an answer that is no stream
share                 of what was answered, the share of one backend
attempts              requests that one backend got
attempts_per_request  requests that all backends got, over those that clients made
told_s                the longest `retry-after` of a refusal, in seconds
untold                refusals without one
"""

import math
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

import msgspec

from bench.load.connection import Asked

_REFUSALS = (b"429", b"503")


class Became(Enum):
    """What became of a request, for its client."""

    ANSWERED = "answered"
    REFUSED = "refused"
    FAILED = "failed"
    BROKEN = "broken"


class Request(msgspec.Struct, frozen=True):
    """One request of a client. Times count from the scenario's start. `told`: the `retry-after` of a refusal."""

    client: str
    due: float
    ttft: float | None
    became: Became
    wrong: str
    backend: str
    told: float | None


class Arrival(msgspec.Struct, frozen=True):
    """A request at a backend."""

    at: float
    backend: str


class Played(msgspec.Struct, frozen=True):
    """A scenario as it went. `took`: seconds of the clock, warm-up and end included."""

    requests: list[Request]
    arrivals: list[Arrival]
    took: float


class Second(msgspec.Struct, frozen=True):
    """One second. TTFT is in milliseconds, None where no answer had begun. `by` counts what each backend answered."""

    at: int
    asked: int
    answered: int
    refused: int
    failed: int
    broken: int
    attempts: int
    ttft_p50: float | None
    ttft_p90: float | None
    ttft_p99: float | None
    by: dict[str, int]


def request_of(asked: Asked, client: str, start: float) -> Request:
    """An entry of the load's account. `start` is the monotonic time at which the scenario began."""
    fields = dict(_fields(asked.head))
    backend = fields.get(b"x-penstock-backend", b"").decode("latin-1")
    return Request(
        client,
        asked.due - start,
        None if asked.first is None else asked.first - asked.due,
        _became(asked, backend),
        asked.wrong,
        backend,
        _told(fields),
    )


def _became(asked: Asked, backend: str) -> Became:
    if not asked.wrong:
        return Became.ANSWERED
    status = asked.head[9:12]
    if status in _REFUSALS and not backend:
        return Became.REFUSED
    return Became.BROKEN if status == b"200" else Became.FAILED


def _fields(head: bytes) -> Iterable[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.lower(), value.strip()


def _told(fields: dict[bytes, bytes]) -> float | None:
    """Seconds; the header with milliseconds is the more exact one."""
    for name, unit in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        if name in fields:
            return float(fields[name]) * unit
    return None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` (0 to 1) of all are at or below; None without any."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def seconds(played: Played, duration: float) -> list[Second]:
    """Every second of the scenario."""
    return [_second(played, at) for at in range(math.ceil(duration))]


def _second(played: Played, at: int) -> Second:
    requests = [one for one in played.requests if at <= one.due < at + 1]
    ttft = _ttft(requests)
    by: dict[str, int] = {}
    for one in requests:
        if one.became is Became.ANSWERED:
            by[one.backend] = by.get(one.backend, 0) + 1
    return Second(
        at=at,
        asked=len(requests),
        answered=_count(requests, Became.ANSWERED),
        refused=_count(requests, Became.REFUSED),
        failed=_count(requests, Became.FAILED),
        broken=_count(requests, Became.BROKEN),
        attempts=sum(at <= arrival.at < at + 1 for arrival in played.arrivals),
        ttft_p50=percentile(ttft, 0.5),
        ttft_p90=percentile(ttft, 0.9),
        ttft_p99=percentile(ttft, 0.99),
        by=by,
    )


def measured(
    played: Played, metric: str, since: float, until: float, *, backend: str | None = None, client: str | None = None
) -> float | None:
    """A metric over a while; None where there is nothing to measure it by."""
    requests = [one for one in played.requests if since <= one.due < until and client in (None, one.client)]
    arrivals = [one for one in played.arrivals if since <= one.at < until and backend in (None, one.backend)]
    return _METRICS[metric](requests, arrivals, backend)


def _ttft(requests: Iterable[Request]) -> list[float]:
    """In milliseconds."""
    return [one.ttft * 1000 for one in requests if one.ttft is not None]


def _count(requests: Iterable[Request], became: Became) -> int:
    return sum(one.became is became for one in requests)


_Metric = Callable[[list[Request], list[Arrival], str | None], float | None]


def _counting(became: Became) -> _Metric:
    return lambda requests, _arrivals, _backend: float(_count(requests, became))


def _percentile(share: float) -> _Metric:
    return lambda requests, _arrivals, _backend: percentile(_ttft(requests), share)


def _share(requests: list[Request], _arrivals: list[Arrival], backend: str | None) -> float | None:
    answered = [one.backend for one in requests if one.became is Became.ANSWERED]
    return answered.count(backend or "") / len(answered) if answered else None


def _told_at_most(requests: list[Request], _arrivals: list[Arrival], _backend: str | None) -> float:
    return max((one.told or 0.0 for one in requests if one.became is Became.REFUSED), default=0.0)


def _untold(requests: list[Request], _arrivals: list[Arrival], _backend: str | None) -> float:
    return float(sum(one.became is Became.REFUSED and one.told is None for one in requests))


_METRICS: dict[str, _Metric] = {
    "failed": _counting(Became.FAILED),
    "broken": _counting(Became.BROKEN),
    "refused": _counting(Became.REFUSED),
    "answered": lambda requests, _a, _b: _count(requests, Became.ANSWERED) / len(requests) if requests else None,
    "ttft_p50_ms": _percentile(0.5),
    "ttft_p90_ms": _percentile(0.9),
    "ttft_p99_ms": _percentile(0.99),
    "share": _share,
    "attempts": lambda _requests, arrivals, _backend: float(len(arrivals)),
    "attempts_per_request": lambda requests, arrivals, _b: len(arrivals) / len(requests) if requests else None,
    "told_s": _told_at_most,
    "untold": _untold,
}
