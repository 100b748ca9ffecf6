"""The metrics' names are a contract, their labels are few, and no client can add to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.record.metrics import (
    DURATION_BUCKETS,
    FIRST_BYTE_BUCKETS,
    HISTOGRAM_LABEL_SETS,
    LABEL_SETS,
    METRICS,
    OTHER,
    Kind,
    LabelSets,
    Metric,
)


@pytest.mark.parametrize(
    ("name", "kind", "labels"),
    [
        ("penstock_requests_total", Kind.COUNTER, {"client", "tenant", "operation", "model", "status", "end"}),
        ("penstock_tokens_total", Kind.COUNTER, {"client", "tenant", "model", "kind", "estimated"}),
        ("penstock_time_to_first_byte_seconds", Kind.HISTOGRAM, {"operation", "model", "backend"}),
        ("penstock_request_duration_seconds", Kind.HISTOGRAM, {"operation", "model", "backend"}),
        ("penstock_streams_active", Kind.GAUGE, {"worker"}),
        ("penstock_refusals_total", Kind.COUNTER, {"reason", "client"}),
        ("penstock_backend_state", Kind.GAUGE, {"backend", "deployment"}),
        ("penstock_backend_attempts_total", Kind.COUNTER, {"backend", "region", "deployment", "outcome"}),
        ("penstock_certificate_expiry_seconds", Kind.GAUGE, {"certificate"}),
    ],
)
def test_the_names_of_the_contract(name: str, kind: Kind, labels: set[str]) -> None:
    """Design section 6. A label may be added, none taken away."""
    metric = METRICS[name]
    assert metric.kind is kind
    assert set(metric.labels) >= labels


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_is_bounded_and_named_as_the_others(name: str) -> None:
    metric = METRICS[name]
    assert name.startswith("penstock_")
    assert name.replace("_", "").isalnum()
    assert name == name.lower()
    assert "_ms" not in name
    assert len(metric.labels) <= 6
    assert metric.label_sets <= LABEL_SETS
    assert (metric.label_sets <= HISTOGRAM_LABEL_SETS) or metric.kind is not Kind.HISTOGRAM
    assert metric.help[0].isupper()
    assert "\n" not in metric.help


@pytest.mark.parametrize("name", METRICS)
def test_no_label_takes_what_a_client_makes_up(name: str) -> None:
    """Users, request identifiers, addresses and paths are in records, not in metrics."""
    assert not {"user", "source", "request_id", "trace_id", "path", "ip", "key", "token"} & set(METRICS[name].labels)


@pytest.mark.parametrize("buckets", [FIRST_BYTE_BUCKETS, DURATION_BUCKETS])
def test_buckets_reach_from_a_plain_request_to_the_longest_wait(buckets: tuple[float, ...]) -> None:
    assert list(buckets) == sorted(set(buckets))
    assert buckets[0] <= 0.01
    assert buckets[-1] >= 600


def test_label_sets_that_are_known_stay_known() -> None:
    sets = LabelSets(Metric(Kind.COUNTER, "Some.", ("a", "b"), label_sets=2))
    assert sets.admit(("1", "1")) == ("1", "1")
    assert sets.admit(("2", "2")) == ("2", "2")
    assert sets.admit(("3", "3")) == (OTHER, OTHER)
    assert sets.admit(("1", "1")) == ("1", "1")
    assert sets.admit(("3", "3")) == (OTHER, OTHER)
    assert sets.overflow == 2


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 30).map(str)), max_size=100))
def test_there_are_never_more_than_the_bound_and_other(bound: int, asked: list[tuple[str]]) -> None:
    sets = LabelSets(Metric(Kind.COUNTER, "Some.", ("a",), label_sets=bound))
    admitted = [sets.admit(labels) for labels in asked]
    assert len(set(admitted) - {(OTHER,)}) <= bound
    assert admitted.count((OTHER,)) == sets.overflow
    assert all(got in (labels, (OTHER,)) for got, labels in zip(admitted, asked, strict=True))
