"""Scenarios can be compared, as far as other proxies can know what they are about."""

from pathlib import Path

import pytest

from bench.compare.scenario import costs_of, phase_of
from bench.failure import BenchError
from bench.scenarios.scenario import FAILURES, LOADS, known, load
from certs.pki import Pki, build


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


@pytest.mark.parametrize("name", sorted(set(known(LOADS)) - {"soak"}))
def test_loads_can_be_compared(name: str, pki: Pki) -> None:
    (case,) = phase_of(name, None).cases
    assert case.seconds > 0
    assert case.mock is not None
    assert case.mock(pki).instances


@pytest.mark.parametrize(
    ("name", "counted"),
    [
        *(("chat-400", "event"), ("slow-readers", "event"), ("plain-saturation", "request")),
        *(("embeddings-bursts", "request"), ("mixed-regional-failure", "request"), ("handshake-storm", "")),
    ],
)
def test_costs_are_of_the_same_for_every_proxy(name: str, counted: str) -> None:
    assert costs_of(load(name)) == counted


def test_it_can_take_less_time_than_it_says() -> None:
    assert phase_of("chat-200", 3.0).cases[0].seconds == 3.0
    assert phase_of("chat-200", 3.0).cases[0].streams == 200
    assert phase_of("plain-saturation", 3.0).cases[0].streams == 0


def test_what_is_done_to_the_gateway_itself_is_refused() -> None:
    with pytest.raises(BenchError, match="play it with `run`"):
        phase_of(str(known(FAILURES)["reload-and-kill"]), None)


def test_a_scenario_that_is_not_there_is_a_clear_error() -> None:
    with pytest.raises(BenchError, match=r"chat-200"):
        phase_of("chat-201", None)
    with pytest.raises(BenchError):
        phase_of(str(Path("nowhere.toml")), None)
