"""What Prometheus reads is what was counted: judged by Prometheus' own parser."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.admin.exposition import Metrics
from proxy.messages import Tallies
from proxy.record import metrics
from proxy.record.metrics import METRICS
from proxy.record.record import End, Record, Tokens
from proxy.record.tally import Tally

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(rendered: bytes) -> Samples:
    samples: Samples = {}
    for family in text_string_to_metric_families(rendered.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, "a sample is printed twice"
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def tallies(seconds: float = 0.02, **changes: str) -> Tallies:
    tally = Tally()
    tally.know({"gpt-4o"})
    tally.gauge(connections=4, requests=3, streams=2)
    record = Record(
        client="turbine-7",
        tenant="power",
        operation="chat.completions",
        model="gpt-4o",
        decision="allowed",
        status=200,
        backend="swc",
        tokens=Tokens(prompt=12, completion=34, total=46),
        ttfb_ms=seconds * 1000,
        duration_ms=seconds * 1000,
        end=End.COMPLETE,
    )
    for name, text in changes.items():
        setattr(record, name, text)
    tally.count(record)
    return tally.drain()


def test_nothing_counted_is_nothing_printed() -> None:
    assert Metrics().render() == b""


def test_workers_are_added_up() -> None:
    gateway = Metrics()
    for worker in (0, 1):
        for _ in range(3):
            gateway.merge(worker, tallies())
    samples = read(gateway.render())
    requests = {
        "client": "turbine-7", "tenant": "power", "operation": "chat.completions", "model": "gpt-4o",
        "status": "200", "end": "complete",
    }  # fmt: skip
    assert value(samples, metrics.REQUESTS, **requests) == 6
    assert value(
        samples, metrics.TOKENS, client="turbine-7", tenant="power", model="gpt-4o", kind="prompt", estimated="false"
    ) == 72  # fmt: skip


def test_buckets_are_cumulative_and_end_in_infinity() -> None:
    gateway = Metrics()
    for seconds in (0.005, 0.03, 0.03, 700.0):
        gateway.merge(0, tallies(seconds))
    samples = read(gateway.render())
    where = {"operation": "chat.completions", "model": "gpt-4o", "backend": "swc"}
    bounds = [*map(str, METRICS[metrics.FIRST_BYTE].buckets), "+Inf"]
    by_bound = {
        float(dict(labels)["le"]): count
        for (name, labels), count in samples.items()
        if name == f"{metrics.FIRST_BYTE}_bucket"
    }
    assert set(by_bound) == set(map(float, bounds))
    assert [by_bound[bound] for bound in (0.01, 0.025, 0.05, 600.0, math.inf)] == [1, 1, 3, 3, 4]
    assert value(samples, f"{metrics.FIRST_BYTE}_count", **where) == 4
    assert value(samples, f"{metrics.FIRST_BYTE}_sum", **where) == pytest.approx(700.065)


def test_gauges_are_by_worker_and_go_with_it_while_its_counts_stay() -> None:
    gateway = Metrics()
    gateway.merge(0, tallies())
    gateway.merge(1, tallies())
    assert gateway.of_worker(1) == {
        metrics.CONNECTIONS_ACTIVE: 4,
        metrics.REQUESTS_ACTIVE: 3,
        metrics.STREAMS_ACTIVE: 2,
        metrics.QUEUE_WAITING: 0,
    }
    gateway.worker_gone(1)
    samples = read(gateway.render())
    assert value(samples, metrics.STREAMS_ACTIVE, worker="0") == 2
    assert (metrics.STREAMS_ACTIVE, frozenset({("worker", "1")})) not in samples
    assert gateway.of_worker(1) == {}
    assert sum(amount for (name, _), amount in samples.items() if name == metrics.REQUESTS) == 2


def test_the_supervisors_own_metrics() -> None:
    gateway = Metrics()
    gateway.set(metrics.BUILD_INFO, 1, ("0.1.0",))
    gateway.set(metrics.AUDIT_RECORDS, 12)
    gateway.add(metrics.CONFIG_RELOADS, ("ok",))
    gateway.add(metrics.CONFIG_RELOADS, ("ok",))
    gateway.replace(metrics.BACKEND_STATE, {("swc", "gpt-4o"): 2, ("fra", "gpt-4o"): 0})
    gateway.replace(metrics.BACKEND_STATE, {("swc", "gpt-4o"): 1})
    gateway.set(metrics.CERTIFICATE_EXPIRY, -12.5, ("listen",))
    assert read(gateway.render()) == {
        (metrics.BUILD_INFO, frozenset({("version", "0.1.0")})): 1,
        (metrics.AUDIT_RECORDS, frozenset()): 12,
        (metrics.CONFIG_RELOADS, frozenset({("result", "ok")})): 2,
        (metrics.BACKEND_STATE, frozenset({("backend", "swc"), ("deployment", "gpt-4o")})): 1,
        (metrics.CERTIFICATE_EXPIRY, frozenset({("certificate", "listen")})): -12.5,
    }


def test_help_and_type_come_once_before_their_samples() -> None:
    gateway = Metrics()
    gateway.merge(0, tallies())
    gateway.merge(0, tallies(client="other-one"))
    lines = gateway.render().decode().splitlines()
    at = lines.index(f"# TYPE {metrics.REQUESTS} counter")
    assert lines[at - 1].startswith(f"# HELP {metrics.REQUESTS} ")
    assert all(line.startswith(metrics.REQUESTS + "{") for line in lines[at + 1 : at + 3])
    assert sum(line.startswith(f"# TYPE {metrics.REQUESTS} ") for line in lines) == 1


def test_label_sets_are_bounded_over_all_workers() -> None:
    gateway = Metrics()
    for number in range(metrics.LABEL_SETS + 20):
        gateway.add(metrics.REFUSALS, ("no_backend", f"client-{number}"))
    samples = read(gateway.render())
    assert value(samples, metrics.REFUSALS, reason="other", client="other") == 20
    assert value(samples, metrics.LABEL_OVERFLOW, metric=metrics.REFUSALS) == 20


@pytest.mark.parametrize("labels", [(), ("a",), ("a", "b", "c")])
def test_labels_that_are_not_the_tables_are_an_error(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=metrics.REFUSALS):
        Metrics().add(metrics.REFUSALS, labels)


def test_a_metric_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(KeyError):
        Metrics().add("penstock_surprise_total")


@given(st.text(), st.floats(allow_nan=False))
def test_any_text_and_any_number_come_back_as_they_were(text: str, number: float) -> None:
    text = text.encode("utf-8", "replace").decode()
    gateway = Metrics()
    gateway.set(metrics.CERTIFICATE_EXPIRY, number, (text,))
    assert read(gateway.render()) == {(metrics.CERTIFICATE_EXPIRY, frozenset({("certificate", text)})): number}


def test_a_value_that_is_no_number_is_printed_as_such() -> None:
    gateway = Metrics()
    gateway.set(metrics.CERTIFICATE_EXPIRY, math.nan, ("listen",))
    [number] = read(gateway.render()).values()
    assert math.isnan(number)


def test_usage_that_the_supervisor_counted_itself_is_added_and_no_request_with_it() -> None:
    gateway = Metrics()
    tokens = Tokens(prompt=7, completion=3, total=10, estimated=True)
    gateway.count_usage(Record(client="turbine-7", model="gpt-4o", backend="swc", tokens=tokens))
    samples = read(gateway.render())
    labels = {"client": "turbine-7", "tenant": "", "model": "gpt-4o", "estimated": "true"}
    assert {name for name, _ in samples} == {metrics.TOKENS}
    assert value(samples, metrics.TOKENS, kind="prompt", **labels) == 7
    assert value(samples, metrics.TOKENS, kind="completion", **labels) == 3


@pytest.mark.parametrize(("backend", "model"), [("swc", "gpt-4o"), (None, "other")])
def test_a_request_that_a_lost_worker_did_not_count_is_counted(backend: str | None, model: str) -> None:
    """A model is trusted as a label only where a backend was chosen for it."""
    gateway = Metrics()
    gateway.count_lost(Record(model="gpt-4o", backend=backend, decision="allowed", end=End.WORKER_LOST))
    [(_, labels)] = [key for key in read(gateway.render()) if key[0] == metrics.REQUESTS]
    assert {("end", "worker_lost"), ("model", model)} <= labels


def test_reloads_are_counted_by_result() -> None:
    gateway = Metrics()
    for ok in (True, False, True):
        gateway.reloaded(ok=ok)
    samples = read(gateway.render())
    assert value(samples, metrics.CONFIG_RELOADS, result="ok") == 2
    assert value(samples, metrics.CONFIG_RELOADS, result="failed") == 1
