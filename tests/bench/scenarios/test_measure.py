"""Figures and bars of a timeline that is made up."""

import pytest

from bench.load.connection import Asked, Plan
from bench.scenarios.bars import judge
from bench.scenarios.measure import Arrival, Became, Played, Request, measured, percentile, request_of, seconds
from bench.scenarios.structs import Backend, Bar, Event, Load, Scenario
from proxy.config.structs import Seconds

OK = b"HTTP/1.1 200 OK\r\nX-Penstock-Backend: swc\r\n"


@pytest.mark.parametrize(
    ("wrong", "head", "became", "told"),
    [
        ("", OK, Became.ANSWERED, None),
        ("wrong bytes", OK, Became.BROKEN, None),
        ("answering: closed", OK, Became.BROKEN, None),
        ("status 503", b"HTTP/1.1 503 x\r\nretry-after: 2", Became.REFUSED, 2.0),
        ("status 429", b"HTTP/1.1 429 x\r\nretry-after: 2\r\nretry-after-ms: 1500", Became.REFUSED, 1.5),
        ("status 503", b"HTTP/1.1 503 x\r\nx-penstock-backend: swc", Became.FAILED, None),
        ("status 502", b"HTTP/1.1 502 x", Became.FAILED, None),
        ("connecting: ECONNREFUSED", b"", Became.FAILED, None),
        ("never answered", b"", Became.FAILED, None),
    ],
)
def test_what_became_of_a_request(wrong: str, head: bytes, became: Became, told: float | None) -> None:
    request = request_of(Asked(Plan(), 101.0, 101.5, 102.0, wrong, head), "turbines", 100.0)
    assert (request.became, request.told, request.due, request.ttft) == (became, told, 1.0, 0.5)
    assert request.backend == ("swc" if b"ackend: swc" in head else "")


def request(due: float, became: Became = Became.ANSWERED, **more: object) -> Request:
    given: dict[str, object] = {"client": "a", "ttft": 0.05, "wrong": "", "backend": "swc", "told": None}
    return Request(due=due, became=became, **given | more)  # type: ignore[arg-type]


PLAYED = Played(
    requests=[
        *(request(n / 10) for n in range(10)),
        *(request(1 + n / 10, backend="frc", ttft=0.1) for n in range(8)),
        request(1.8, Became.REFUSED, told=1.5, backend="", ttft=None),
        request(1.9, Became.FAILED, backend="", ttft=None, client="b"),
    ],
    arrivals=[Arrival(0.5, "swc"), Arrival(1.5, "frc"), Arrival(1.6, "frc")],
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
    ],
)
def test_metrics_of_a_while(metric: str, value: float) -> None:
    of = "swc" if metric in ("share", "attempts") else None
    assert measured(PLAYED, metric, 1.0, 2.0, backend=of) == pytest.approx(value)


def test_metrics_of_one_client_and_of_nothing() -> None:
    assert measured(PLAYED, "failed", 0.0, 2.0, client="a") == 0
    assert measured(PLAYED, "failed", 0.0, 2.0, client="b") == 1
    assert measured(PLAYED, "ttft_p99_ms", 5.0, 6.0) is None


def test_seconds_add_up() -> None:
    first, second = seconds(PLAYED, 2.0)
    assert (first.answered, first.by, first.attempts) == (10, {"swc": 10}, 1)
    assert (second.asked, second.answered, second.refused, second.failed) == (10, 8, 1, 1)
    assert second.by == {"frc": 8}
    assert second.ttft_p99 == pytest.approx(100.0)


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([], 0.5) is None


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
    (finding,) = judge(scenario, PLAYED)
    return finding.holds, finding.measured, finding.bar


def test_bars() -> None:
    after = {"since": Seconds(1.0)}
    assert judged(metric="failed", at_most=0.0) == (False, "1", "≤ 0")
    assert judged(metric="failed", at_most=0.0, client="a") == (True, "0", "≤ 0")
    assert judged(metric="share", backend="frc", at_least=0.9, **after) == (True, "100.0 %", "≥ 90.0 %")
    assert judged(metric="ttft_p99_ms", times_before=1.2, **after)[0] is False
    assert judged(metric="ttft_p99_ms", times_before=1.2, slack=50.0, **after) == (
        True,
        "100.0 ms",
        "≤ 100.0 ms (before: 50.0 ms)",
    )
    assert judged(metric="attempts_per_request", at_most=1.1) == (True, "0.15", "≤ 1.1")
