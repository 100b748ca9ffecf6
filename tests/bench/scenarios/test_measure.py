"""Figures and bars of a scenario that is made up."""

import msgspec
import pytest

from bench.load.histogram import Histogram
from bench.load.results import Results, Tally
from bench.scenarios.bars import judge
from bench.scenarios.measure import Moment, Played, measured, seconds
from bench.scenarios.structs import Backend, Bar, Event, Load, Scenario
from bench.scenarios.vitals import Vitals
from proxy.config.structs import Seconds


def histogram(*values: float) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def results() -> Results:
    made = Results()
    made.errors.update({"status 503": 1, "closed": 1, "wrong bytes": 2})
    made.late.add(0.004)
    return made


TALLIES = {
    **{(moment, "a"): (Tally(asked=1, answered=1, by={"swc": 1}), histogram(0.05)) for moment in range(10)},
    **{(moment, "a"): (Tally(asked=1, answered=1, by={"frc": 1}), histogram(0.1)) for moment in range(10, 18)},
    (18, "a"): (Tally(asked=1, refused=1, told=1.5), histogram()),
    (19, "b"): (Tally(asked=1, failed=1), histogram()),
}
"""Two seconds in moments of a tenth, with a request each: ten answered by one backend, then others by another."""


def moment(at: int, memory: float) -> Moment:
    vitals = {"worker_1": Vitals(0.5, memory, 10 + at), "supervisor": Vitals(0.1, 40.0, 20)}
    return Moment(at=at, events=100, handshakes=2, open=5 + at, late_p99=None, vitals=vitals)


PLAYED = Played(
    grain=0.1,
    results=results(),
    tallies=TALLIES,
    attempts={5: {"swc": 1, "frc": 0}, 15: {"frc": 1}, 16: {"frc": 1}},
    moments={0: moment(0, 60.0), 1: moment(1, 61.0)},
    clients=("", "a", "b"),
    took=2.0,
)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("failed", 1.0),
        ("broken", 0.0),
        ("refused", 1.0),
        ("answered", 0.8),
        ("ttft_p50_ms", 100.0),
        ("share", 0.0),
        ("attempts", 0.0),
        ("attempts_per_request", 0.2),
        ("told_s", 1.5),
        ("untold", 0.0),
        ("asked_per_second", 10.0),
        ("events_per_second", 100.0),
        ("open_least", 6.0),
        ("cpu_us_per_event", 6000.0),
        ("cpu_us_per_request", 75000.0),
        ("memory_mb", 101.0),
        ("descriptors", 31.0),
        ("wrong_bytes", 2.0),
        ("late_p99_ms", 4.0),
    ],
)
def test_metrics_of_a_while(metric: str, value: float) -> None:
    of = "swc" if metric in ("share", "attempts") else None
    assert measured(PLAYED, metric, 1.0, 2.0, backend=of) == pytest.approx(value, rel=0.02)


def test_a_while_begins_and_ends_within_a_second() -> None:
    assert measured(PLAYED, "asked_per_second", 0.5, 1.9) == pytest.approx(10.0)
    assert measured(PLAYED, "failed", 0.5, 1.9) == 0
    assert measured(PLAYED, "share", 0.5, 1.5, backend="swc") == pytest.approx(0.5)


def test_metrics_of_one_client_and_of_nothing() -> None:
    assert measured(PLAYED, "failed", 0.0, 2.0, client="a") == 0
    assert measured(PLAYED, "failed", 0.0, 2.0, client="b") == 1
    assert measured(PLAYED, "ttft_p99_ms", 5.0, 6.0) is None
    assert measured(PLAYED, "memory_growth_mb", 1.0, 2.0) is None
    assert measured(PLAYED, "memory_growth_mb", 0.0, 2.0) == pytest.approx(1.0)
    assert measured(PLAYED, "descriptor_growth", 0.0, 2.0) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", ["failed", "broken", "refused", "untold", "told_s", "answered", "wrong_bytes"])
def test_nothing_went_wrong_only_where_something_was_asked(metric: str) -> None:
    nothing = msgspec.structs.replace(PLAYED, results=Results(), tallies={}, attempts={})
    assert measured(nothing, metric, 0.0, 2.0) is None


def test_seconds_add_up() -> None:
    first, second = seconds(PLAYED, 2.0)
    assert (first.answered, first.events, first.more["backend_swc"], first.more["attempts"]) == (10, 100, 10, 1)
    assert (second.asked, second.answered, second.refused, second.failed) == (10, 8, 1, 1)
    assert second.more["backend_frc"] == 8
    assert second.more["worker_1_memory_mb"] == 61.0
    assert second.more["memory_mb"] == 101.0
    assert second.ttft_p99 == pytest.approx(100.0, rel=0.02)


def judged(**bar: object) -> tuple[bool, str, str]:
    scenario = Scenario(
        title="t",
        story="s",
        duration=Seconds(2.0),
        backends=(Backend(name="swc", region="r"), Backend(name="frc", region="r")),
        load=(Load(rate=10.0),),
        events=(Event(at=Seconds(1.0), fault="reset"),),
        bars=(Bar(says="x", **bar),),  # type: ignore[arg-type]
    )
    (verdict,) = judge(scenario, PLAYED)
    return verdict.holds, verdict.measured, verdict.bar


def test_bars() -> None:
    after = {"since": Seconds(1.0)}
    assert judged(metric="failed", at_most=0.0) == (False, "1", "≤ 0")
    assert judged(metric="failed", at_most=0.0, client="a") == (True, "0", "≤ 0")
    assert judged(metric="share", backend="frc", at_least=0.9, **after) == (True, "100.0 %", "≥ 90.0 %")
    assert judged(metric="ttft_p99_ms", times_before=1.2, **after)[0] is False
    holds, _, demanded = judged(metric="ttft_p99_ms", times_before=1.2, slack=55.0, **after)
    assert holds
    assert demanded.startswith("≤ 10")
    assert "(before: 5" in demanded
    assert judged(metric="attempts_per_request", at_most=1.1) == (True, "0.15", "≤ 1.1")
    assert judged(metric="memory_mb", at_most=1.0) == (False, "101.0 MB", "≤ 1.0 MB")
    assert judged(metric="ttft_p50_ms", client="b", at_most=1.0)[1] == "nothing to measure"
