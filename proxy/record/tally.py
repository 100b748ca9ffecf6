"""A worker's counts, between one report to the supervisor and the next.

`count` is called once for each finished request and costs about as much as one system call: plain dictionaries keyed
by tuples of label values. `drain` hands over what has come together since the last time (deltas of counters and
histograms, values of gauges) and forgets it; the supervisor adds it up. Nothing here does I/O, knows the time or
awaits. Label values are bounded: see `proxy.record.metrics`.
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
from proxy.record.record import Record

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
        self._cells: dict[Labels, list[float]] = {}  # the buckets' counts, then the sum

    def observe(self, labels: Labels, value: float) -> None:
        try:
            cell = self._cells[labels]
        except KeyError:  # the first one since the last drain
            cell = self._cells.setdefault(self.sets.admit(labels), [0] * (len(self._buckets) + 1) + [0.0])
        cell[bisect_left(self._buckets, value)] += 1
        cell[-1] += value

    def drain(self) -> list[tuple[Labels, list[int], float]]:
        drained = [(labels, [int(n) for n in cell[:-1]], cell[-1]) for labels, cell in self._cells.items()]
        self._cells = {}
        return drained


class Tally:
    """Counts of one worker."""

    def __init__(self) -> None:
        self._models: Collection[str] = ()
        self._counters = {name: _Counter(METRICS[name]) for name in _COUNTERS}
        self._histograms = {name: _Histogram(METRICS[name]) for name in _HISTOGRAMS}
        self._requests = self._counters[REQUESTS]
        self._tokens = self._counters[TOKENS]
        self._first_byte = self._histograms[FIRST_BYTE]
        self._duration = self._histograms[DURATION]
        self._gauges: dict[str, float] = {}

    def know(self, models: Collection[str]) -> None:
        """The models of the configuration, told with each snapshot: any other name is untrusted, and `other`."""
        self._models = models

    def count(self, record: Record) -> None:
        """A request that has ended, and its usage, as the record tells it."""
        self.count_request(record)
        if record.tokens is not None:
            self.count_usage(record)

    def count_request(self, record: Record) -> None:
        """A request that has ended, but for its usage: that is not known yet, and `count_usage` follows."""
        client = record.client or ""
        operation = record.operation or ""
        model = self._model(record.model)
        status = "" if record.status is None else str(record.status)
        self._requests.add((client, record.tenant or "", operation, model, status, record.end.value))
        if record.decision == "refused":
            self._counters[REFUSALS].add((record.reason or "", client))
            if record.status == 401:
                self._counters[AUTHENTICATION_FAILURES].add((record.reason or "",))
        where = (operation, model, record.backend or "")
        if record.ttfb_ms is not None:
            self._first_byte.observe(where, record.ttfb_ms / 1000)
        if record.duration_ms is not None:
            self._duration.observe(where, record.duration_ms / 1000)

    def count_usage(self, record: Record) -> None:
        """The tokens of a request, none if its usage is not known."""
        tokens = record.tokens
        if tokens is None:
            return
        client = record.client or ""
        tenant = record.tenant or ""
        model = self._model(record.model)
        estimated = "true" if tokens.estimated else "false"
        add = self._tokens.add
        if tokens.prompt:
            add((client, tenant, model, "prompt", estimated), tokens.prompt)
        if tokens.completion:
            add((client, tenant, model, "completion", estimated), tokens.completion)
        if tokens.cached:
            add((client, tenant, model, "cached", estimated), tokens.cached)
        if tokens.reasoning:
            add((client, tenant, model, "reasoning", estimated), tokens.reasoning)

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
