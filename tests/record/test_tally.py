"""What a worker counts is what its records say, nothing is counted twice, and no client can make metrics grow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.messages import Tallies, decode_upward, encode
from proxy.record import metrics
from proxy.record.metrics import METRICS, Kind
from proxy.record.record import End, Record, Tokens
from proxy.record.tally import Tally
from proxy.refusal import Reason


def answered(**changes: object) -> Record:
    record = Record(
        client="turbine-7",
        tenant="power",
        operation="chat.completions",
        model="gpt-4o",
        decision="allowed",
        status=200,
        backend="swc-std",
        tokens=Tokens(prompt=12, completion=34, total=46, cached=8, reasoning=5),
        ttfb_ms=80.0,
        duration_ms=1200.0,
        end=End.COMPLETE,
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def tally() -> Tally:
    fresh = Tally()
    fresh.know({"gpt-4o", "gpt-4o-mini"})
    return fresh


def counted(*records: Record) -> Tallies:
    fresh = tally()
    for record in records:
        fresh.count(record)
    return fresh.drain()


def test_an_answered_request_is_counted_by_all_that_names_it() -> None:
    tallies = counted(answered())
    assert tallies.counters == {
        metrics.REQUESTS: [(("turbine-7", "power", "chat.completions", "gpt-4o", "200", "complete"), 1)],
        metrics.TOKENS: [
            (("turbine-7", "power", "gpt-4o", "prompt", "false"), 12),
            (("turbine-7", "power", "gpt-4o", "completion", "false"), 34),
            (("turbine-7", "power", "gpt-4o", "cached", "false"), 8),
            (("turbine-7", "power", "gpt-4o", "reasoning", "false"), 5),
        ],
    }
    where = ("chat.completions", "gpt-4o", "swc-std")
    assert [(labels, sum(counts), total) for labels, counts, total in tallies.histograms[metrics.FIRST_BYTE]] == [
        (where, 1, 0.08)
    ]
    assert [(labels, sum(counts), total) for labels, counts, total in tallies.histograms[metrics.DURATION]] == [
        (where, 1, 1.2)
    ]


def test_a_refused_request_is_counted_with_its_reason_even_if_nobody_is_known() -> None:
    tallies = counted(Record(decision="refused", reason=Reason.UNKNOWN_KEY.value, status=401))
    assert tallies.counters == {
        metrics.REQUESTS: [(("", "", "", "", "401", "refused"), 1)],
        metrics.REFUSALS: [(("unknown_key", ""), 1)],
        metrics.AUTHENTICATION_FAILURES: [(("unknown_key",), 1)],
    }
    assert tallies.histograms == {}


@pytest.mark.parametrize(
    ("model", "label"),
    [("gpt-4o", "gpt-4o"), ("gpt-4o-mini", "gpt-4o-mini"), ('x"\n', "other"), ("", "other"), (None, "")],
)
def test_a_model_that_is_not_configured_never_becomes_a_label(model: str | None, label: str) -> None:
    tallies = counted(answered(model=model))
    assert {labels[3] for labels, _ in tallies.counters[metrics.REQUESTS]} == {label}
    assert {labels[2] for labels, _ in tallies.counters[metrics.TOKENS]} == {label}
    assert {labels[1] for labels, _, _ in tallies.histograms[metrics.DURATION]} == {label}


def test_models_are_those_of_the_last_snapshot() -> None:
    fresh = tally()
    fresh.know({"gpt-5"})
    fresh.count(answered(model="gpt-5"))
    fresh.count(answered(model="gpt-4o"))
    assert [labels[3] for labels, _ in fresh.drain().counters[metrics.REQUESTS]] == ["gpt-5", "other"]


def test_a_new_snapshot_renames_nothing_that_was_counted_before() -> None:
    fresh = tally()
    fresh.count(answered())
    fresh.count(answered(model="gpt-5"))
    fresh.know({"gpt-5"})
    assert [labels[3] for labels, _ in fresh.drain().counters[metrics.REQUESTS]] == ["gpt-4o", "other"]


def test_usage_that_comes_later_is_counted_on_its_own_and_as_estimated() -> None:
    fresh = tally()
    record = answered(end=End.CLIENT_GONE, tokens=None)
    fresh.count(record)
    assert metrics.TOKENS not in fresh.drain().counters
    record.tokens = Tokens(prompt=7, completion=3, total=10, estimated=True)
    fresh.count_usage(record)
    assert fresh.drain().counters == {
        metrics.TOKENS: [
            (("turbine-7", "power", "gpt-4o", "prompt", "true"), 7),
            (("turbine-7", "power", "gpt-4o", "completion", "true"), 3),
        ]
    }


@pytest.mark.parametrize("end", list(End))
def test_every_end_is_a_label(end: End) -> None:
    assert counted(answered(end=end)).counters[metrics.REQUESTS][0][0][-1] == end.value


@pytest.mark.parametrize(
    ("milliseconds", "bucket"),
    [(0.0, 0), (10.0, 0), (10.001, 1), (25.0, 1), (600_000.0, 14), (600_000.1, 15), (1e9, 15)],
)
def test_a_bucket_holds_its_upper_bound(milliseconds: float, bucket: int) -> None:
    [(_, counts, total)] = counted(answered(ttfb_ms=milliseconds)).histograms[metrics.FIRST_BYTE]
    assert [index for index, count in enumerate(counts) if count] == [bucket]
    assert total == milliseconds / 1000


def test_attempts_handshakes_and_overflow_are_counted() -> None:
    fresh = tally()
    fresh.attempt("swc-ptu", "swedencentral", "gpt-4o-ptu", "throttled")
    fresh.attempt("swc-ptu", "swedencentral", "gpt-4o-ptu", "throttled")
    fresh.attempt("swc-std", "swedencentral", "gpt-4o", "ok")
    fresh.handshakes("ok", 3)
    fresh.handshakes("timeout")
    fresh.journal_overflow()
    assert fresh.drain().counters == {
        metrics.BACKEND_ATTEMPTS: [
            (("swc-ptu", "swedencentral", "gpt-4o-ptu", "throttled"), 2),
            (("swc-std", "swedencentral", "gpt-4o", "ok"), 1),
        ],
        metrics.HANDSHAKES: [(("ok",), 3), (("timeout",), 1)],
        metrics.JOURNAL_OVERFLOW: [((), 1)],
    }


def test_a_drain_hands_over_once_and_gauges_stay() -> None:
    fresh = tally()
    fresh.gauge(connections=3, requests=2, streams=1)
    fresh.count(answered())
    first = fresh.drain()
    second = fresh.drain()
    assert first.counters
    assert second.counters == {}
    assert second.histograms == {}
    assert second.gauges == first.gauges
    assert second.gauges == {
        metrics.CONNECTIONS_ACTIVE: [((), 3)],
        metrics.REQUESTS_ACTIVE: [((), 2)],
        metrics.STREAMS_ACTIVE: [((), 1)],
        metrics.QUEUE_WAITING: [((), 0)],
    }


def test_label_sets_are_bounded_and_what_is_past_the_bound_is_still_counted() -> None:
    fresh = tally()
    clients = metrics.LABEL_SETS + 50
    for _ in range(2):
        for number in range(clients):
            fresh.count(answered(client=f"client-{number}", tokens=None, ttfb_ms=None, duration_ms=None))
    requests = fresh.drain().counters
    assert len(requests[metrics.REQUESTS]) == metrics.LABEL_SETS + 1
    assert dict(requests[metrics.REQUESTS])[("other",) * 6] == 100
    assert sum(amount for _, amount in requests[metrics.REQUESTS]) == 2 * clients
    assert requests[metrics.LABEL_OVERFLOW] == [((metrics.REQUESTS,), 100)]


def test_the_bound_outlives_a_drain() -> None:
    fresh = tally()
    for number in range(metrics.HISTOGRAM_LABEL_SETS):
        fresh.count(answered(backend=f"backend-{number}"))
    fresh.drain()
    fresh.count(answered(backend="backend-0"))
    fresh.count(answered(backend="one-too-many"))
    backends = [labels[2] for labels, _, _ in fresh.drain().histograms[metrics.DURATION]]
    assert backends == ["backend-0", "other"]


records = st.builds(
    answered,
    client=st.sampled_from([None, "a", "b"]),
    model=st.sampled_from([None, "gpt-4o", "no-such"]),
    status=st.sampled_from([None, 200, 429]),
    end=st.sampled_from(End),
    decision=st.sampled_from(["allowed", "refused"]),
    backend=st.sampled_from([None, "x", "y"]),
    ttfb_ms=st.none() | st.integers(0, 10**7),
    duration_ms=st.none() | st.integers(0, 10**7),
    tokens=st.none() | st.builds(Tokens, prompt=st.integers(0, 99), completion=st.integers(0, 99)),
)


@given(st.lists(st.one_of(records, st.none()), max_size=60))
def test_nothing_is_lost_or_counted_twice_however_often_it_is_drained(steps: list[Record | None]) -> None:
    """None: a drain in between."""
    fresh = tally()
    drained = []
    for step in steps:
        if step is None:
            drained.append(fresh.drain())
        else:
            fresh.count(step)
    drained.append(fresh.drain())
    finished = [step for step in steps if step is not None]

    def total(name: str) -> float:
        return sum(amount for tallies in drained for _, amount in tallies.counters.get(name, []))

    def observed(name: str) -> int:
        return sum(sum(counts) for tallies in drained for _, counts, _ in tallies.histograms.get(name, []))

    assert total(metrics.REQUESTS) == len(finished)
    assert total(metrics.REFUSALS) == sum(record.decision == "refused" for record in finished)
    assert total(metrics.TOKENS) == sum(r.tokens.prompt + r.tokens.completion for r in finished if r.tokens)
    assert observed(metrics.FIRST_BYTE) == sum(record.ttfb_ms is not None for record in finished)
    assert observed(metrics.DURATION) == sum(record.duration_ms is not None for record in finished)


@given(st.lists(records, max_size=20))
def test_tallies_arrive_as_they_were_sent_and_fit_the_table(finished: list[Record]) -> None:
    fresh = tally()
    fresh.gauge(connections=1, requests=1, streams=0)
    for record in finished:
        fresh.count(record)
    tallies = fresh.drain()
    assert decode_upward(encode(tallies)) == tallies
    for name, deltas in tallies.counters.items():
        assert METRICS[name].kind is Kind.COUNTER
        assert all(len(labels) == len(METRICS[name].labels) for labels, _ in deltas)
    for name, cells in tallies.histograms.items():
        assert METRICS[name].kind is Kind.HISTOGRAM
        assert all(len(counts) == len(METRICS[name].buckets) + 1 for _, counts, _ in cells)
    assert all(METRICS[name].labels == ("worker",) for name in tallies.gauges)


def test_the_table_keeps_to_the_rules_of_prometheus() -> None:
    for name, metric in METRICS.items():
        assert (metric.kind is Kind.COUNTER) == name.endswith("_total")
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert len(set(metric.labels)) == len(metric.labels)
        assert metric.help.endswith(".")
