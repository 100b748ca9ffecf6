"""Deployments added up over workers, as tables: what people see, and what each worker is told of the others."""

import pytest

from proxy.messages import DeploymentsSeen, DeploymentsTold
from proxy.record.metrics import FIRST_BYTE_BUCKETS
from proxy.routing.shared import DeploymentSeen, DeploymentTold
from proxy.supervisor.backends.deployments import Deployments, Figures, LastError
from proxy.supervisor.backends.overrides import Overrides, Weighing

SWC, FRC = ("swc", "gpt-4o"), ("frc", "gpt-4o")
NOW = 5_000.0
NOTHING = (0,) * (len(FIRST_BYTE_BUCKETS) + 1)


def seen(key: tuple[str, str] = SWC, *, ttfb: tuple[int, ...] = NOTHING, **told: object) -> DeploymentsSeen:
    counts: dict[str, object] = {"in_flight": 0, "requests": 0, "tokens": 0, "failed": 0, "throttled": 0, "ewma": 0.0}
    return DeploymentsSeen((DeploymentSeen(*key, ttfb=ttfb, **(counts | told)),))  # type: ignore[arg-type]


@pytest.fixture
def made() -> Deployments:
    return Deployments([SWC, FRC])


def told(made: Deployments, worker: int, now: float = NOW, overrides: Overrides | None = None) -> dict[str, object]:
    """What a worker is told, by backend; empty if nothing."""
    message = made.told(worker, overrides or Overrides(), now)
    return {} if message is None else {each.backend: each for each in message.deployments}


def test_figures_are_of_all_workers(made: Deployments) -> None:
    made.seen(0, seen(in_flight=3, requests=10, tokens=900, failed=1), NOW)
    made.seen(1, seen(in_flight=2, requests=10, tokens=100, throttled=4), NOW + 1)
    figures = made.figures(SWC, NOW + 2)
    assert (figures.in_flight, figures.tokens, figures.requests_per_second) == (5, 1000, 2.0)
    assert (figures.error_share, figures.throttled_share) == (0.05, 0.2)
    assert made.figures(FRC, NOW + 2) == Figures()
    later = made.figures(SWC, NOW + 90)
    assert (later.in_flight, later.tokens, later.error_share) == (5, 0, None)


def test_what_a_backend_reports_is_the_newest_and_forgotten_after_a_minute(made: Deployments) -> None:
    made.seen(0, seen(remaining_tokens=500, utilisation=0.5), NOW)
    made.seen(1, seen(remaining_tokens=300), NOW + 1)
    figures = made.figures(SWC, NOW + 2)
    assert (figures.remaining_tokens, figures.remaining_requests, figures.utilisation) == (300, None, 0.5)
    assert made.figures(SWC, NOW + 60.5).utilisation is None
    assert made.figures(SWC, NOW + 60.5).remaining_tokens == 300
    assert made.figures(SWC, NOW + 61).remaining_tokens is None


def test_first_bytes(made: Deployments) -> None:
    counts = list(NOTHING)
    counts[FIRST_BYTE_BUCKETS.index(0.1)] = 100
    made.seen(0, seen(ttfb=tuple(counts)), NOW)
    percentiles = made.figures(SWC, NOW).first_byte
    assert percentiles is not None
    assert 0.05 < percentiles.p50 < percentiles.p90 < percentiles.p99 <= 0.1


def test_errors_are_few_clean_and_the_same_in_a_row_is_one(made: Deployments) -> None:
    for second, word in enumerate(("a", "a", "b\x1b[31m\nc", "d", "e", "f", "g" * 900)):
        made.seen(0, seen(failed=2, last_error=word), NOW + second)
    made.seen(0, seen(requests=3), NOW + 9)
    errors = made.figures(SWC, NOW + 10).errors
    assert [error.text for error in errors] == ["g" * 200, "f", "e", "d", "b [31m c"]
    assert errors[-1] == LastError("b [31m c", 2, NOW + 2)
    made.seen(0, seen(throttled=1, last_error="g" * 900), NOW + 11)
    assert made.figures(SWC, NOW + 11).errors[0] == LastError("g" * 200, 3, NOW + 11)


def test_a_worker_is_told_of_the_others_and_only_what_has_changed(made: Deployments) -> None:
    assert told(made, 0) == {}
    made.seen(0, seen(in_flight=3, tokens=900), NOW)
    made.seen(1, seen(in_flight=2, tokens=100), NOW)
    assert told(made, 0) == {"swc": DeploymentTold(*SWC, in_flight=2, tokens=100)}
    assert told(made, 1) == {"swc": DeploymentTold(*SWC, in_flight=3, tokens=900)}
    assert told(made, 0) == told(made, 1) == {}
    made.seen(0, seen(in_flight=3), NOW + 30)
    assert told(made, 1, NOW + 30) == {}
    assert told(made, 1, NOW + 61) == {"swc": DeploymentTold(*SWC, in_flight=3)}


def test_utilisation_is_told_to_others_while_it_is_news(made: Deployments) -> None:
    for second in (0, 1):
        made.seen(0, seen(utilisation=0.9), NOW + second)
        assert told(made, 0, NOW + second) == {}
        assert told(made, 1, NOW + second) == {"swc": DeploymentTold(*SWC, utilisation=0.9)}
    assert told(made, 1, NOW + 3) == {"swc": DeploymentTold(*SWC)}, "it is not repeated, and stands no longer"
    assert told(made, 1, NOW + 4) == {}
    assert made.figures(SWC, NOW + 4).utilisation == 0.9


def test_a_worker_that_begins_is_told_all_and_those_that_ended_count_on(made: Deployments) -> None:
    overrides = Overrides()
    overrides.drain([FRC], NOW)
    made.seen(0, seen(in_flight=3, tokens=900), NOW)
    made.seen(1, seen(in_flight=2, tokens=100), NOW)
    told(made, 1, overrides=overrides)
    made.worker_gone(1)
    told(made, 1, overrides=overrides)  # nobody is there to hear it
    message = made.anew(1, overrides, NOW + 1)
    assert message == DeploymentsTold(
        (DeploymentTold(*SWC, in_flight=3, tokens=1000), DeploymentTold(*FRC, drained=True))
    )
    assert made.figures(SWC, NOW + 1).in_flight == 3


def test_more_was_estimated_than_used(made: Deployments) -> None:
    made.seen(0, seen(tokens=-50), NOW)
    assert told(made, 1) == {}
    assert made.figures(SWC, NOW).tokens == 0


def test_what_people_set_is_told_and_taken_back(made: Deployments) -> None:
    overrides = Overrides()
    overrides.drain([SWC], NOW)
    overrides.weigh(FRC, 1.0, 5.0, 0.0, NOW)
    assert told(made, 0, overrides=overrides) == {
        "swc": DeploymentTold(*SWC, drained=True),
        "frc": DeploymentTold(*FRC, weight=5.0),
    }
    overrides.undrain([SWC])
    overrides.weigh(FRC, 1.0, None, 0.0, NOW)
    assert told(made, 0, overrides=overrides) == {"swc": DeploymentTold(*SWC), "frc": DeploymentTold(*FRC)}


def test_a_reload_forgets_what_is_configured_no_more(made: Deployments) -> None:
    overrides = Overrides()
    overrides.drain([SWC, FRC], NOW)
    overrides.hold([FRC], NOW + 60)
    overrides.weigh(FRC, 1.0, 5.0, 0.0, NOW)
    made.seen(0, seen(in_flight=1), NOW)
    told(made, 0, overrides=overrides)
    made.reconfigure([SWC])
    overrides.reconfigure([SWC])
    made.seen(0, seen(FRC, in_flight=1), NOW)
    assert (overrides.drained, overrides.held, overrides.weights) == ({SWC: NOW}, {}, {})
    made.reconfigure([SWC, FRC])
    assert told(made, 0, overrides=overrides) == {}
    assert made.figures(SWC, NOW).in_flight == 1


@pytest.mark.parametrize(
    ("now", "weight"),
    [(NOW - 5, 1.0), (NOW, 1.0), (NOW + 15, 2.0), (NOW + 30, 3.0), (NOW + 59, 4.933), (NOW + 99, 5.0)],
)
def test_a_weight_gets_to_its_goal_in_a_straight_line(now: float, weight: float) -> None:
    assert Weighing(1.0, 5.0, NOW, NOW + 60).at(now) == weight


def test_another_goal_starts_from_where_the_weight_is() -> None:
    overrides = Overrides()
    assert overrides.weight(SWC, NOW) is None
    overrides.weigh(SWC, 1.0, 3.0, 10.0, NOW)
    assert overrides.weight(SWC, NOW + 5) == 2.0
    overrides.weigh(SWC, 1.0, 0.0, 10.0, NOW + 5)
    assert overrides.weight(SWC, NOW + 10) == 1.0
    assert overrides.weight(SWC, NOW + 15) == 0.0


def test_a_breaker_is_held_open_until_its_time_is_over() -> None:
    overrides = Overrides()
    overrides.drain([SWC], NOW)
    overrides.drain([SWC], NOW + 9)
    assert overrides.drained == {SWC: NOW}, "it is drained since the first time"
    overrides.hold([SWC], NOW + 60)
    assert overrides.held_until(SWC, NOW + 59) == NOW + 60
    assert overrides.held_until(SWC, NOW + 60) is None
    overrides.let_go([SWC])
    assert overrides.held_until(SWC, NOW) is None
