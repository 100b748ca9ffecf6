"""A worker's counts, between one report to the supervisor and the next.

`count` is called once for each finished request and costs about as much as one system call: requests that are alike
share a cell, and only `drain` tells from it what each metric has gained. `drain` hands over what has come together
since the last time (deltas of counters and histograms, values of gauges) and forgets it; the supervisor adds it up.
Nothing here does I/O, knows the time or awaits. Label values are bounded: see `proxy.record.metrics`.
"""

from bisect import bisect_left
from collections.abc import Collection

from proxy.messages import Tallies
from proxy.record.metrics import (
    AUTHENTICATION_DELAYS,
    AUTHENTICATION_FAILURES,
    BACKEND_ATTEMPTS,
    CONNECTIONS_ACTIVE,
    DEPLOYMENTS_SKIPPED,
    DURATION,
    FIRST_BYTE,
    HANDSHAKES,
    HEDGED_TOKENS,
    JOURNAL_OVERFLOW,
    LABEL_OVERFLOW,
    METRICS,
    OTHER,
    QUEUE,
    QUEUE_WAITING,
    REFUSALS,
    REQUESTS,
    REQUESTS_ACTIVE,
    RETRIES_DENIED,
    STREAMS_ACTIVE,
    TOKENS,
    LabelSets,
    Metric,
)
from proxy.record.record import End, Record

_COUNTERS = (
    REQUESTS,
    TOKENS,
    REFUSALS,
    BACKEND_ATTEMPTS,
    HEDGED_TOKENS,
    DEPLOYMENTS_SKIPPED,
    RETRIES_DENIED,
    QUEUE,
    HANDSHAKES,
    JOURNAL_OVERFLOW,
    LABEL_OVERFLOW,
    AUTHENTICATION_FAILURES,
    AUTHENTICATION_DELAYS,
)
_HISTOGRAMS = (FIRST_BYTE, DURATION)

Labels = tuple[str, ...]


class _Counter:
    """Deltas by label set."""

    def __init__(self, metric: Metric) -> None:
        self.sets = LabelSets(metric)
        self._deltas: dict[Labels, float] = {}

    def add(self, labels: Labels, amount: float = 1) -> None:
        try:
            self._deltas[labels] += amount
        except KeyError:  # the first one since the last drain
            admitted = self.sets.admit(labels)
            self._deltas[admitted] = self._deltas.get(admitted, 0) + amount

    def drain(self) -> list[tuple[Labels, float]]:
        drained = list(self._deltas.items())
        self._deltas = {}
        return drained


class _Histogram:
    """Deltas by label set: a count for each bucket (the infinite one last), and the sum."""

    def __init__(self, metric: Metric) -> None:
        self.sets = LabelSets(metric)
        self._buckets = metric.buckets
        self.bounds_ms = tuple(bound * 1000 for bound in metric.buckets)
        self._cells: dict[Labels, list[float]] = {}  # the buckets' counts, then the sum

    def empty(self) -> list[float]:
        """The buckets' counts, then the sum."""
        return [0] * (len(self._buckets) + 1) + [0.0]

    def add(self, labels: Labels, observed: list[float]) -> None:
        """What came together in a list that was `empty`."""
        admitted = self.sets.admit(labels)
        before = self._cells.get(admitted)
        self._cells[admitted] = observed if before is None else [a + b for a, b in zip(before, observed, strict=True)]

    def drain(self) -> list[tuple[Labels, list[int], float]]:
        drained = [(labels, [int(n) for n in cell[:-1]], cell[-1]) for labels, cell in self._cells.items()]
        self._cells = {}
        return drained


class _Cell:
    """What requests that are alike have come to. Histograms as `_Histogram.empty`."""

    __slots__ = ("cached", "completion", "duration", "first_byte", "prompt", "reasoning", "requests")

    def __init__(self, first_byte: list[float], duration: list[float]) -> None:
        self.requests = 0
        self.prompt = self.completion = self.cached = self.reasoning = 0
        self.first_byte = first_byte
        self.duration = duration


_Alike = tuple[str | None, str | None, str | None, str | None, int | None, End, str | None, bool]
"""Client, tenant, operation, model, status, end, backend, and whether its tokens are estimated."""
_CELLS = 1024


def _observe(cell: list[float], bounds: tuple[float, ...], milliseconds: float) -> None:
    cell[bisect_left(bounds, milliseconds)] += 1
    cell[-1] += milliseconds / 1000


class Tally:
    """Counts of one worker."""

    def __init__(self) -> None:
        self._models: Collection[str] = ()
        self._cells: dict[_Alike, _Cell] = {}
        self._counters = {name: _Counter(METRICS[name]) for name in _COUNTERS}
        self._histograms = {name: _Histogram(METRICS[name]) for name in _HISTOGRAMS}
        self._requests = self._counters[REQUESTS]
        self._tokens = self._counters[TOKENS]
        self._first_byte = self._histograms[FIRST_BYTE]
        self._duration = self._histograms[DURATION]
        self._gauges: dict[str, float] = {}

    def know(self, models: Collection[str]) -> None:
        """The models of the configuration, told with each snapshot: any other name is untrusted, and `other`."""
        self._fold()  # by the names that were known when it was counted
        self._models = models

    def count(self, record: Record) -> None:
        """A request that has ended, and its usage, as the record tells it."""
        cell = self._request(record)
        tokens = record.tokens
        if tokens is not None:
            cell.prompt += tokens.prompt
            cell.completion += tokens.completion
            cell.cached += tokens.cached
            cell.reasoning += tokens.reasoning

    def count_request(self, record: Record) -> None:
        """A request that has ended, but for its usage: that is not known yet, and is counted by who finds it out."""
        self._request(record)

    def _request(self, record: Record) -> _Cell:
        tokens = record.tokens
        alike = (
            record.client,
            record.tenant,
            record.operation,
            record.model,
            record.status,
            record.end,
            record.backend,
            tokens is not None and tokens.estimated,
        )
        cell = self._cells.get(alike) or self._cell(alike)
        cell.requests += 1
        if record.ttfb_ms is not None:
            _observe(cell.first_byte, self._first_byte.bounds_ms, record.ttfb_ms)
        if record.duration_ms is not None:
            _observe(cell.duration, self._duration.bounds_ms, record.duration_ms)
        if record.decision == "refused":
            self._refused(record)
        return cell

    def _cell(self, alike: _Alike) -> _Cell:
        if len(self._cells) >= _CELLS:
            self._fold()
        cell = self._cells[alike] = _Cell(self._first_byte.empty(), self._duration.empty())
        return cell

    def _refused(self, record: Record) -> None:
        self._counters[REFUSALS].add((record.reason or "", record.client or ""))
        if record.status == 401:
            self._counters[AUTHENTICATION_FAILURES].add((record.reason or "",))

    def count_usage(self, record: Record) -> None:
        """The tokens of a request that was counted before, none if its usage is not known."""
        tokens = record.tokens
        if tokens is not None:
            who = (record.client or "", record.tenant or "", self._model(record.model))
            estimated = "true" if tokens.estimated else "false"
            self._used(who, estimated, tokens.prompt, tokens.completion, tokens.cached, tokens.reasoning)

    def _used(self, who: Labels, estimated: str, prompt: int, completion: int, cached: int, reasoning: int) -> None:
        add = self._tokens.add
        if prompt:
            add((*who, "prompt", estimated), prompt)
        if completion:
            add((*who, "completion", estimated), completion)
        if cached:
            add((*who, "cached", estimated), cached)
        if reasoning:
            add((*who, "reasoning", estimated), reasoning)

    def _fold(self) -> None:
        """Tell the metrics what the cells have come to, and begin anew."""
        cells, self._cells = self._cells, {}
        for (client, tenant, operation, model, status, end, backend, estimated), cell in cells.items():
            named = self._model(model)
            code = "" if status is None else str(status)
            self._requests.add((client or "", tenant or "", operation or "", named, code, end.value), cell.requests)
            where = (operation or "", named, backend or "")
            if any(cell.first_byte):
                self._first_byte.add(where, cell.first_byte)
            if any(cell.duration):
                self._duration.add(where, cell.duration)
            told = "true" if estimated else "false"
            who = (client or "", tenant or "", named)
            self._used(who, told, cell.prompt, cell.completion, cell.cached, cell.reasoning)

    def _model(self, name: str | None) -> str:
        if name is None:
            return ""
        return name if name in self._models else OTHER

    def attempt(self, backend: str, region: str, deployment: str, outcome: str) -> None:
        """One attempt at a backend that has had its outcome; told as it happens, retries one by one."""
        self._counters[BACKEND_ATTEMPTS].add((backend, region, deployment, outcome))

    def hedged(self, backend: str, region: str, deployment: str, tokens: int) -> None:
        """What an attempt cost whose answer nobody waits for any more."""
        self._counters[HEDGED_TOKENS].add((backend, region, deployment), tokens)

    def skipped(self, backend: str, deployment: str, reason: str) -> None:
        """A request goes past a deployment."""
        self._counters[DEPLOYMENTS_SKIPPED].add((backend, deployment, reason))

    def queued(self, outcome: str, priority: str) -> None:
        """A request has waited for a deployment to be available."""
        self._counters[QUEUE].add((outcome, priority))

    def retry_denied(self) -> None:
        """A further attempt that was not made: the retry budget is spent."""
        self._counters[RETRIES_DENIED].add(())

    def handshakes(self, result: str, count: int = 1) -> None:
        """TLS handshakes that ended with `result`."""
        self._counters[HANDSHAKES].add((result,), count)

    def slowed_down(self) -> None:
        """An answer that waits because its source has failed so often."""
        self._counters[AUTHENTICATION_DELAYS].add(())

    def journal_overflow(self) -> None:
        """A request for which the journal had no room."""
        self._counters[JOURNAL_OVERFLOW].add(())

    def gauge(self, *, connections: int, requests: int, streams: int, waiting: int = 0) -> None:
        """What is open and under way at present."""
        self._gauges = {
            CONNECTIONS_ACTIVE: connections,
            REQUESTS_ACTIVE: requests,
            STREAMS_ACTIVE: streams,
            QUEUE_WAITING: waiting,
        }

    def drain(self) -> Tallies:
        """What was counted since the last drain, and the gauges as last told."""
        self._fold()
        self._count_overflow()
        counters = {name: counter.drain() for name, counter in self._counters.items()}
        histograms = {name: histogram.drain() for name, histogram in self._histograms.items()}
        return Tallies(
            counters={name: deltas for name, deltas in counters.items() if deltas},
            histograms={name: deltas for name, deltas in histograms.items() if deltas},
            gauges={name: [((), value)] for name, value in self._gauges.items()},
        )

    def _count_overflow(self) -> None:
        sets = {name: counter.sets for name, counter in self._counters.items()}
        sets |= {name: histogram.sets for name, histogram in self._histograms.items()}
        for name, bounded in sets.items():
            if bounded.overflow:
                self._counters[LABEL_OVERFLOW].add((name,), bounded.overflow)
                bounded.overflow = 0
