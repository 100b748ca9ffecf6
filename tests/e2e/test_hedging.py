"""A second deployment is asked when the first keeps a stream waiting: the client sees the faster answer, whole."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, newest, payload, split

LATE = 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    more = '[routing.hedging]\nafter = "150ms"\nratio = 1.0\n[routing.breaker]\nfailures = 1000'
    text = config_text(pki, mock, more=more).replace("workers = 2", "workers = 1")
    mock.clear()
    with gateway(tmp_path_factory.mktemp("hedging"), pki, mock, text) as started:
        yield started


@pytest.fixture
def hedging(running: Gateway, mock: MockProcess) -> Iterator[Gateway]:
    mock.clear()
    mock.forget()
    yield running
    mock.clear()


def attempts(record: dict[str, Any]) -> dict[str, str]:
    return {attempt["backend"]: attempt["reason"] for attempt in record["attempts"]}


def metric(gateway: Gateway, name: str, labels: str) -> float:
    lines = gateway.api("GET", "/metrics").text.splitlines()
    return float(next((line.rpartition(" ")[2] for line in lines if line.startswith(name) and labels in line), "0"))


def test_the_faster_answer_is_the_clients_and_the_other_is_given_up(hedging: Gateway, mock: MockProcess) -> None:
    before = metric(hedging, "penstock_backend_hedged_tokens_total", 'backend="swc"')
    mock.fault("late", instance="swc", delay=LATE)
    status, head, body = split(hedging.raw(ask(stream=True)))
    assert status == 200
    assert b"x-penstock-backend: frc" in head
    assert payload(body)[1]
    record = newest(hedging, head)
    assert attempts(record) == {"swc": "hedge_lost", "frc": "ok"}
    assert (record["backend"], record["end"], record["tokens"]["completion"]) == ("frc", "complete", 6)
    gone = wait_for(lambda: next((r for r in mock.received("swc") if r["gone_after"] is not None), None))
    assert gone["gone_after"] is not None
    assert gone["gone_after"] < LATE / 2
    wait_for(lambda: metric(hedging, "penstock_backend_hedged_tokens_total", 'backend="swc"') > before)
    states = hedging.api("GET", "/api/status").json()["deployments"]
    assert {state["state"] for state in states if state["deployment"] == "gpt-4o"} == {"closed"}


@pytest.mark.parametrize("late", ["swc", "frc"])
def test_a_first_that_is_slow_may_still_win(hedging: Gateway, mock: MockProcess, late: str) -> None:
    mock.fault("late", instance="swc", delay=0.6)
    mock.fault("late", instance="frc", delay=LATE if late == "frc" else 3.0)
    status, head, body = split(hedging.raw(ask(stream=True)))
    assert (status, payload(body)[1]) == (200, True)
    assert attempts(newest(hedging, head)) == {"swc": "ok", "frc": "hedge_lost"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "throttle", "retry_after_ms": 1}, "throttled"),
        ({"kind": "error", "status": 500}, "backend_error"),
        ({"kind": "reset"}, "reset_before_head"),
    ],
)
def test_a_second_that_fails_leaves_the_first_to_answer(
    hedging: Gateway, mock: MockProcess, fault: dict[str, Any], reason: str
) -> None:
    mock.fault("late", instance="swc", delay=1.0)
    mock.fault(instance="frc", **fault)
    status, head, body = split(hedging.raw(ask(stream=True)))
    assert (status, payload(body)[1]) == (200, True)
    assert attempts(newest(hedging, head)) == {"swc": "ok", "frc": reason}


def test_a_first_that_fails_meanwhile_leaves_the_second_as_its_retry(hedging: Gateway, mock: MockProcess) -> None:
    mock.fault("error", instance="swc", status=500, delay=0.5)
    mock.fault("late", instance="frc", delay=1.5)
    status, head, body = split(hedging.raw(ask(stream=True)))
    assert (status, payload(body)[1]) == (200, True)
    assert attempts(newest(hedging, head)) == {"swc": "backend_error", "frc": "ok"}


def test_an_error_that_is_the_clients_waits_for_a_better_answer(hedging: Gateway, mock: MockProcess) -> None:
    mock.fault("late", instance="swc", delay=1.0)
    mock.fault("error", instance="frc", status=400, code="content_filter")
    status, head, body = split(hedging.raw(ask(stream=True)))
    assert (status, payload(body)[1]) == (200, True)
    assert newest(hedging, head)["backend"] == "swc"


def test_an_error_of_both_is_told_once(hedging: Gateway, mock: MockProcess) -> None:
    mock.fault("error", instance="swc", status=400, code="content_filter", delay=0.8)
    mock.fault("error", instance="frc", status=400, code="content_filter", delay=0.3)
    status, head, body = split(hedging.raw(ask(stream=True)))
    assert (status, json.loads(body)["error"]["code"]) == (400, "content_filter")
    assert sorted(attempts(newest(hedging, head)).values()) == ["client_error", "hedge_lost"]


def test_both_fail(hedging: Gateway, mock: MockProcess) -> None:
    mock.fault("reset", instance="swc", delay=0.6)
    mock.fault("reset", instance="frc", delay=0.6)
    status, head, _ = split(hedging.raw(ask(stream=True)))
    assert status in (502, 503)
    assert attempts(newest(hedging, head)) == {"swc": "reset_before_head", "frc": "reset_before_head"}


def test_a_client_that_leaves_ends_both(hedging: Gateway, mock: MockProcess) -> None:
    mock.fault("hang")
    with hedging.connect() as sock:
        sock.sendall(ask(stream=True))
        wait_for(lambda: len(mock.received()) == 2)
    wait_for(lambda: all(received["gone_after"] is not None for received in mock.received()))
    record = hedging.record(lambda r: r["end"] == "client_gone")
    assert attempts(record) == {"swc": "cancelled", "frc": "cancelled"}


def test_what_is_no_stream_is_not_hedged(hedging: Gateway, mock: MockProcess) -> None:
    mock.fault("late", instance="swc", delay=0.8)
    status, head, _ = split(hedging.raw(ask()))
    assert status == 200
    assert attempts(newest(hedging, head)) == {"swc": "ok"}
    assert mock.received("frc") == []


def test_many_at_once(hedging: Gateway, mock: MockProcess) -> None:
    """Connections that are used again after races carry the right answers."""
    mock.fault("late", instance="swc", delay=0.3, probability=0.5)
    data = ask(stream=True).replace(b"Connection: close\r\n", b"")
    with hedging.connect() as sock:
        for _ in range(12):
            sock.sendall(data)
            received = b""
            while not received.endswith(b"0\r\n\r\n"):
                received += sock.recv(65536)
            assert split(received)[0] == 200
            assert payload(split(received)[2])[1]
