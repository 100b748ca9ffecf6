"""The metrics of the whole gateway, added up in the supervisor, in Prometheus' text format 0.0.4.

Workers report what they counted (`merge`), the supervisor sets its own, `render` prints all. Written here and not taken
from prometheus_client, whose renderer needs 7 µs a line: 30 ms at two hundred label sets, on a loop that must answer
the workers within 20 ms. Its parser judges this output in the tests. Nothing here does I/O.
"""

from collections.abc import Iterable, Mapping
from math import isfinite, isnan

from proxy.messages import Tallies
from proxy.record.metrics import CONFIG_RELOADS, LABEL_OVERFLOW, METRICS, Kind, LabelSets, Metric
from proxy.record.record import Record
from proxy.record.tally import Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]


class _Distribution:
    """A histogram's observations under one label set; `counts` are by bucket, not cumulative."""

    def __init__(self, metric: Metric) -> None:
        self.counts = [0] * (len(metric.buckets) + 1)
        self.sum = 0.0


class Metrics:
    """Every metric of the table. What is not in it, or has other labels, is a `KeyError` or `ValueError` here."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = {
            name: {} for name, metric in METRICS.items() if metric.kind is not Kind.HISTOGRAM
        }
        self._distributions: dict[str, dict[Labels, _Distribution]] = {
            name: {} for name, metric in METRICS.items() if metric.kind is Kind.HISTOGRAM
        }
        self._sets = {name: LabelSets(metric) for name, metric in METRICS.items()}
        self._by_worker: dict[int, dict[str, float]] = {}
        self._own = Tally()

    def merge(self, worker: int, tallies: Tallies) -> None:
        """Add what a worker counted, and take its gauges in place of its earlier ones."""
        self._add_all(tallies)
        self._by_worker[worker] = {name: value for name, values in tallies.gauges.items() for _, value in values}

    def worker_gone(self, worker: int) -> None:
        """What was open in a worker is so no more; what it counted stays."""
        self._by_worker.pop(worker, None)

    def count_usage(self, record: Record) -> None:
        """Usage that became known after the worker had counted the request: its model served, so it is configured."""
        self._own.know(() if record.model is None else (record.model,))
        self._own.count_usage(record)
        self._add_all(self._own.drain())

    def count_lost(self, record: Record) -> None:
        """A request, and its usage as far as known, that a lost worker has not counted."""
        self._own.know(() if record.backend is None or record.model is None else (record.model,))
        self._own.count(record)
        self._add_all(self._own.drain())

    def reloaded(self, *, ok: bool) -> None:
        """The configuration was loaded again, or could not be."""
        self.add(CONFIG_RELOADS, ("ok" if ok else "failed",))

    def of_worker(self, worker: int) -> Mapping[str, float]:
        """A worker's gauges by metric, as it last told them; empty if it has not."""
        return self._by_worker.get(worker, {})

    def add(self, name: str, labels: Labels = (), amount: float = 1) -> None:
        """Add to a counter."""
        values = self._values[name]
        admitted = self._admit(name, labels)
        values[admitted] = values.get(admitted, 0) + amount

    def set(self, name: str, value: float, labels: Labels = ()) -> None:
        """Set a gauge, or a counter whose total is kept elsewhere."""
        self._values[name][self._admit(name, labels)] = value

    def replace(self, name: str, values: Mapping[Labels, float]) -> None:
        """Set all of a gauge: label sets that are not in `values` are gone."""
        self._values[name].clear()
        self._sets[name] = LabelSets(METRICS[name])
        for labels, value in values.items():
            self.set(name, value, labels)

    def render(self) -> bytes:
        """All metrics that have a value, in the table's order."""
        lines: list[str] = []
        for name, metric in METRICS.items():
            if metric.kind is Kind.HISTOGRAM:
                samples = _histogram_lines(name, metric, self._distributions[name])
            else:
                samples = _value_lines(name, metric, self._all_values(name, metric))
            if samples:
                lines.append(f"# HELP {name} {_escape_help(metric.help)}")
                lines.append(f"# TYPE {name} {metric.kind.value}")
                lines += samples
        lines.append("")
        return "\n".join(lines).encode()

    def _add_all(self, tallies: Tallies) -> None:
        for name, deltas in tallies.counters.items():
            for labels, amount in deltas:
                self.add(name, labels, amount)
        for name, cells in tallies.histograms.items():
            for labels, counts, total in cells:
                self._observe(name, labels, counts, total)

    def _all_values(self, name: str, metric: Metric) -> Iterable[tuple[Labels, float]]:
        if metric.labels == ("worker",):
            return [
                ((str(worker),), gauges[name]) for worker, gauges in sorted(self._by_worker.items()) if name in gauges
            ]
        return self._values[name].items()

    def _observe(self, name: str, labels: Labels, counts: list[int], total: float) -> None:
        admitted = self._admit(name, labels)
        distribution = self._distributions[name].get(admitted)
        if distribution is None:
            distribution = self._distributions[name][admitted] = _Distribution(METRICS[name])
        distribution.counts = [have + more for have, more in zip(distribution.counts, counts, strict=True)]
        distribution.sum += total

    def _admit(self, name: str, labels: Labels) -> Labels:
        if len(labels) != len(METRICS[name].labels):
            raise ValueError(f"{name} has the labels {METRICS[name].labels}")
        sets = self._sets[name]
        admitted = sets.admit(labels)
        if sets.overflow:
            sets.overflow = 0
            self.add(LABEL_OVERFLOW, (name,))
        return admitted


def _value_lines(name: str, metric: Metric, values: Iterable[tuple[Labels, float]]) -> list[str]:
    return [f"{name}{_braced(_pairs(metric.labels, labels))} {_number(value)}" for labels, value in values]


def _histogram_lines(name: str, metric: Metric, distributions: Mapping[Labels, _Distribution]) -> list[str]:
    lines = []
    bounds = [*(_number(bound) for bound in metric.buckets), "+Inf"]
    for labels, distribution in distributions.items():
        pairs = _pairs(metric.labels, labels)
        bucket = f"{name}_bucket{{{pairs}{',' if pairs else ''}le="
        total = 0
        for bound, count in zip(bounds, distribution.counts, strict=True):
            total += count
            lines.append(f'{bucket}"{bound}"}} {total}')
        lines.append(f"{name}_sum{_braced(pairs)} {_number(distribution.sum)}")
        lines.append(f"{name}_count{_braced(pairs)} {total}")
    return lines


def _pairs(names: Labels, values: Labels) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in zip(names, values, strict=True))


def _braced(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _escape(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        value = value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if not isfinite(value):
        return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)
