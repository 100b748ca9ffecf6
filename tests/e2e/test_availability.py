"""Backends that throttle and fail, before two workers: what one worker finds holds for both."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bench.mock.process import MockProcess
from certs.pki import Pki
from tests.e2e.gateway import OTHER_KEY, Gateway, config_text, gateway, wait_for
from tests.e2e.test_failures import ask, newest, payload, split
from tests.e2e.test_hostile import request

BREAKER = """
[routing.breaker]
failures = 3
open_for = "1s"
open_at_most = "1s"
retry_after_at_most = "1s"
"""


@pytest.fixture
def two_workers(tmp_path: Path, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    mock.clear()
    mock.forget()
    with gateway(tmp_path, pki, mock, config_text(pki, mock, more=BREAKER)) as running:
        yield running
    mock.clear()


def test_what_one_worker_finds_holds_for_all(two_workers: Gateway, mock: MockProcess) -> None:
    """A breaker that opened, then a 429 of a day: both kept to by both workers, announced, and over when they are."""
    mock.fault("error", instance="swc", status=500)
    answered = [split(two_workers.raw(ask()))[0] for _ in range(20)]
    assert answered == [200] * 20
    assert 3 <= len(mock.received("swc")) <= 6  # three in a row open it, at one of two workers
    mock.clear()
    wait_for(lambda: b"backend: swc" in two_workers.raw(ask()))
    assert wait_for(lambda: "deployment swc/gpt-4o is used again" in two_workers.log)

    mock.fault("throttle", instance="swc", retry_after=86_400)
    mock.forget()
    wait_for(lambda: b"backend: frc" in two_workers.raw(ask()) and mock.received("swc"))
    wait_for(lambda: "throttled_long: deployment swc/gpt-4o asks to be left alone for 86400 s" in two_workers.log)
    mock.clear()
    wait_for(lambda: b"backend: swc" in two_workers.raw(ask()))
    wait_for(lambda: "throttled_long_over" in two_workers.log)
    assert len(mock.received("swc")) < 10
    assert two_workers.log.count("throttled_long: ") == 1


# One worker.

MORE = """
[routing.breaker]
failures = 1000
retry_after_at_most = "1s"
[routing.retries]
ratio = 0.0
at_least = 4
[routing.queue]
wait = "3s"
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, pki: Pki, mock: MockProcess) -> Iterator[Gateway]:
    text = config_text(pki, mock, more=MORE, listen='[listen.bounds]\nfirst_byte = "500ms"\nstream_idle = "500ms"')
    text = text.replace("tokens_per_minute = 1_000_000", 'priority = "batch"').replace("workers = 2", "workers = 1")
    with gateway(tmp_path_factory.mktemp("one"), pki, mock, text) as running:
        yield running


@pytest.fixture
def alone(one: Gateway, mock: MockProcess) -> Iterator[Gateway]:
    mock.clear()
    mock.forget()
    yield one
    mock.clear()


def timed(milliseconds: int, model: str = "gpt-4o") -> bytes:
    return ask(model=model).replace(
        b"Connection: close", b"x-penstock-timeout-ms: %d\r\nConnection: close" % milliseconds
    )


def test_what_is_throttled_for_a_moment_is_waited_for(alone: Gateway, mock: MockProcess) -> None:
    for name in ("swc", "frc"):
        mock.fault("throttle", instance=name, retry_after_ms=700, times=1)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: split(alone.raw(ask())), range(8)))
    assert [status for status, *_ in answers] == [200] * 8
    waited = [newest(alone, head)["queued_ms"] for _, head, _ in answers]
    assert max(filter(None, waited)) > 300
    metrics = wait_for(lambda: _with(alone, 'penstock_queue_total{outcome="released",priority="interactive"}'))
    assert 'penstock_queue_waiting{worker="0"} 0' in metrics


def test_what_is_throttled_for_long_is_not(alone: Gateway, mock: MockProcess) -> None:
    mock.fault("throttle", instance="frc", retry_after_ms=900)
    data = timed(300).replace(b"test-key-of-the-first-client", OTHER_KEY.encode())
    status, head, _ = split(alone.raw(data))
    assert status == 429
    assert b"retry-after-ms: " in head
    assert newest(alone, head)["queued_ms"] is None


def test_a_deadline_cuts_the_wait_for_the_first_byte(alone: Gateway, mock: MockProcess) -> None:
    mock.fault("hang")
    status, head, body = split(alone.raw(timed(150, "slow")))
    assert (status, json.loads(body)["error"]["code"]) == (504, "GatewayTimeout")
    assert b"x-should-retry: false" in head
    record = newest(alone, head)
    assert (record["reason"], record["end"]) == ("deadline", "timeout")
    assert [attempt["reason"] for attempt in record["attempts"]] == ["deadline"]


@pytest.mark.parametrize(
    ("fault", "stream", "reason", "end"),
    [
        ({"kind": "hang"}, True, "first_byte_timeout", "timeout"),
        ({"kind": "hang_stream", "after": 2}, True, "idle_timeout", "timeout"),
    ],
)
def test_time_outs_are_told_apart(
    alone: Gateway, mock: MockProcess, fault: dict[str, Any], stream: bool, reason: str, end: str
) -> None:
    mock.fault(**fault)
    _, head, _ = split(alone.raw(ask(model="chunky", stream=stream)))
    record = newest(alone, head)
    assert ([attempt["reason"] for attempt in record["attempts"]], record["end"]) == ([reason], end)
    wait_for(lambda: _with(alone, f'deployment="chunky",outcome="{reason}"}}'))


def test_the_retry_budget_is_kept_to(alone: Gateway, mock: MockProcess) -> None:
    mock.fault("error", instance="swc", status=500)
    rules = []
    for _ in range(12):
        status, head, _ = split(alone.raw(ask(model="embed")))
        rules.append((status, newest(alone, head)["rule"]))
    assert rules.count((500, "retry budget")) >= 6
    assert len(mock.received("frc")) <= 4
    wait_for(lambda: _counted(alone, "penstock_retries_denied_total") >= 6)


def test_a_backend_without_a_credential_takes_nothing_from_the_others(
    tmp_path: Path, pki: Pki, mock: MockProcess
) -> None:
    """Nobody was asked there, so that another one is asked is no retry."""
    mock.clear()
    (tmp_path / "secret").write_text("of-no-use")
    out = f"""
[credentials.out]
kind = "client_secret"
tenant_id = "t"
client_id = "c"
secret = {{ file = "{tmp_path / "secret"}" }}
authority = "https://localhost:1"
"""
    text = config_text(pki, mock, more=MORE + out).replace("workers = 2", "workers = 1")
    text = text.replace(
        'region = "swedencentral"\ncredential = "gateway"', 'region = "swedencentral"\ncredential = "out"'
    )
    with gateway(tmp_path, pki, mock, text) as running:
        answers = [split(running.raw(ask())) for _ in range(8)]
        assert [status for status, _, _ in answers] == [200] * 8
        record = newest(running, answers[-1][1])
        assert [(a["backend"], a["reason"]) for a in record["attempts"]] == [("swc", "no_credential"), ("frc", "ok")]


def test_a_broken_response_ends_with_an_error_event_of_its_own_kind(alone: Gateway, mock: MockProcess) -> None:
    mock.fault("reset_stream", after=2)
    body = json.dumps({"model": "gpt-4o", "input": "hi", "stream": True}).encode()
    _, _, body = split(alone.raw(request(b"Connection: close", body=body, target=b"/openai/v1/responses")))
    last = payload(body)[0].removesuffix(b"\n\n").split(b"\n\n")[-1]
    kind, data = last.split(b"\n")
    assert kind == b"event: error"
    told = json.loads(data.removeprefix(b"data: "))
    assert (told["type"], told["code"]) == ("error", "BackendFailed")


def _counted(running: Gateway, metric: str) -> int:
    return int(running.api("GET", "/metrics").text.partition(f"\n{metric} ")[2].partition("\n")[0] or 0)


def _with(running: Gateway, text: str) -> str | None:
    shown = running.api("GET", "/metrics").text
    return shown if text in shown else None


def test_a_backend_without_traffic_that_is_out_is_found_out_and_found_back(
    tmp_path: Path, pki: Pki, mock: MockProcess
) -> None:
    mock.clear()
    text = config_text(pki, mock).replace('every = "0s"', 'every = "300ms"')
    with gateway(tmp_path, pki, mock, text) as running:
        mock.fault("error", instance="frc", status=503)
        wait_for(lambda: "backend_unreachable: backend frc has no traffic" in running.log)
        found = running.api("GET", "/api/status").json()["deployments"]
        frc = next(each for each in found if each["backend"] == "frc")
        assert (frc["state"], frc["reason"]) == ("open", "health_probe")
        mock.clear()
        wait_for(lambda: "backend_answers: backend frc answers again" in running.log)
