"""When things break: backends that die, throttle, hang or talk nonsense; clients that leave; what the record says."""

import json
import time
from typing import Any

import pytest

from bench.mock import answers
from bench.mock.process import MockProcess
from proxy.metering.tokenizer import DEFAULT, count
from proxy.wire.chunks import ChunkDecoder
from tests.e2e.gateway import OTHER_KEY, Gateway, wait_for
from tests.e2e.test_hostile import request


def ask(tokens: int = 6, model: str = "gpt-4o", *, stream: bool = False, **more: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": tokens, "stream": stream}
    return request(b"Connection: close", body=json.dumps(body | more).encode())


def split(answer: bytes) -> tuple[int, bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head[9:12]), head.lower(), body


def payload(body: bytes) -> tuple[bytes, bool]:
    decoder = ChunkDecoder()
    ranges, _ = decoder.feed(body, 0, len(body))
    return b"".join(body[a:b] for a, b in ranges), decoder.complete


def spoken(words: int) -> int:
    """What the tokenizer makes of so many of the mock's words."""
    return count(DEFAULT, "".join(map(answers.word, range(words))))


def newest(gateway: Gateway, head: bytes) -> dict[str, Any]:
    return gateway.record_of(head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0].decode())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "reset"}, "reset_before_head"),
        ({"kind": "error", "status": 500}, "backend_error"),
        ({"kind": "error", "status": 503}, "backend_error"),
        ({"kind": "error", "status": 408}, "backend_error"),
        ({"kind": "throttle", "retry_after_ms": 40}, "throttled"),
        ({"kind": "throttle"}, "throttled"),
        ({"kind": "error", "status": 401, "code": "401"}, "credential_rejected"),
        ({"kind": "error", "status": 403, "code": "403"}, "misconfigured"),
        ({"kind": "error", "status": 404, "code": "DeploymentNotFound"}, "misconfigured"),
    ],
)
def test_the_next_backend_answers_unseen(
    fresh: Gateway, mock: MockProcess, fault: dict[str, Any], reason: str, stream: bool
) -> None:
    mock.fault(instance="swc", **fault)
    status, head, _ = split(fresh.raw(ask(stream=stream)))
    assert status == 200
    assert b"x-penstock-backend: frc" in head
    assert b"x-penstock-region: francecentral" in head
    record = newest(fresh, head)
    assert [(a["backend"], a["reason"]) for a in record["attempts"]] == [("swc", reason), ("frc", "ok")]
    assert (record["end"], record["backend"], record["tokens"]["completion"]) == ("complete", "frc", 6)


def test_a_backend_that_is_not_there(fresh: Gateway, mock: MockProcess) -> None:
    mock.fault("reset", instance="swc")
    for _ in range(6):
        assert split(fresh.raw(ask()))[0] == 200
    state = wait_for(lambda: next((d for d in _deployments(fresh) if d["state"] != "closed"), None))
    assert (state["backend"], state["deployment"], state["state"]) == ("swc", "gpt-4o", "open")
    mock.clear()
    wait_for(lambda: b"backend: swc" in fresh.raw(ask()))
    assert "is open" in fresh.log


def _deployments(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.api("GET", "/api/status").json()["deployments"]
    return found


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "content_filter"), (404, "404"), (413, "x"), (422, "x"), (400, "context_length_exceeded")],
)
def test_the_clients_own_mistakes_are_passed_on(calm: Gateway, mock: MockProcess, status: int, code: str) -> None:
    mock.fault("error", status=status, code=code)
    got, head, body = split(calm.raw(ask()))
    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    record = newest(calm, head)
    assert [a["reason"] for a in record["attempts"]] == ["client_error"]
    assert (record["decision"], record["end"], record["status"]) == ("allowed", "complete", status)


def test_all_throttled_gives_the_soonest_honest_wait(fresh: Gateway, mock: MockProcess) -> None:
    mock.fault("throttle", instance="swc", retry_after=30)
    mock.fault("throttle", instance="frc", retry_after_ms=4000)
    status, head, body = split(fresh.raw(ask()))
    assert status == 429
    assert json.loads(body)["error"]["code"] == "429"
    wait = int(head.partition(b"retry-after-ms: ")[2].partition(b"\r\n")[0])
    assert 3500 < wait <= 4000
    assert b"retry-after: 4\r\n" in head
    assert len(mock.received()) == 2
    mock.clear()
    assert split(fresh.raw(ask()))[0] == 429
    assert len(mock.received()) == 2, "a throttled deployment is left in peace"


def test_all_misconfigured_is_a_502(fresh: Gateway, mock: MockProcess) -> None:
    mock.fault("error", status=401)
    status, head, _ = split(fresh.raw(ask()))
    assert status == 502
    record = newest(fresh, head)
    assert (record["reason"], record["decision"]) == ("backends_misconfigured", "allowed")


def test_the_last_5xx_is_passed_on(fresh: Gateway, mock: MockProcess) -> None:
    mock.fault("error", status=503, code="ServiceUnavailable")
    status, head, body = split(fresh.raw(ask()))
    assert status in (502, 503)
    assert json.loads(body)["error"]["code"] in ("ServiceUnavailable", "BadGateway")
    assert newest(fresh, head)["end"] == "backend_failed"


def test_residency_is_a_rule(fresh: Gateway, mock: MockProcess) -> None:
    mock.fault("error", instance="frc", status=500)
    data = ask().replace(b"test-key-of-the-first-client", OTHER_KEY.encode())
    status, _, _ = split(fresh.raw(data))
    assert status in (500, 502)
    assert mock.received("swc") == []


@pytest.mark.parametrize("kind", ["reset_stream", "close_stream", "malformed", "end_stream"])
@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_backend_that_dies_in_mid_stream(fresh: Gateway, mock: MockProcess, kind: str, after: int) -> None:
    mock.fault(kind, after=after)
    status, head, body = split(fresh.raw(ask(stream=True)))
    assert status == 200
    text, complete = payload(body)
    assert not complete
    *events, last = text.removesuffix(b"\n\n").split(b"\n\n")
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "BackendFailed"
    whole = answers.chat_stream(
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 6, "stream_options": {"include_usage": True}},
        "gpt-4o",
    )
    assert [event + b"\n\n" for event in events] == whole[:after]
    record = newest(fresh, head)
    assert (record["end"], record["reason"]) == ("backend_failed", "broken_mid_answer")
    assert record["tokens"]["estimated"] is True
    assert record["tokens"]["completion"] == spoken(max(0, after - 2))
    assert record["attempts"][-1]["reason"] == "broken_mid_answer"


def test_bytes_that_dribble_in_come_out_whole(calm: Gateway, mock: MockProcess) -> None:
    mock.fault("slow", piece=5)
    for stream in (False, True):
        status, _, body = split(calm.raw(ask(stream=stream)))
        assert status == 200
        if stream:
            text, complete = payload(body)
            assert complete
            assert text.endswith(answers.DONE)
            assert b"prompt_tokens" not in text


def test_a_deployment_that_refuses_stream_options_is_asked_without(fresh: Gateway, mock: MockProcess) -> None:
    mock.fault("no_stream_options")
    for _ in range(2):
        status, head, body = split(fresh.raw(ask(stream=True)))
        assert status == 200
        assert payload(body)[1]
        record = newest(fresh, head)
        assert record["tokens"]["estimated"] is True
        assert record["tokens"]["completion"] == spoken(6)
    with_options = [r for r in mock.received() if "stream_options" in r["body"]]
    assert len(with_options) <= 2, "at most once a worker"


def test_a_client_that_leaves(calm: Gateway, mock: MockProcess) -> None:
    with calm.connect() as sock:
        sock.sendall(ask(200, "slow", stream=True))
        received = b""
        while received.count(b"data: ") < 5:
            received += sock.recv(65536)
        left = time.time()
    gone = wait_for(lambda: next((r for r in mock.received() if r["gone_after"] is not None), None))
    assert gone["gone_after"] is not None
    assert gone["at"] + gone["gone_after"] - left < 1.0
    record = calm.record(lambda r: r["model"] == "slow" and r["end"] == "client_gone")
    assert record["tokens"]["estimated"] is True
    assert 1 <= record["tokens"]["completion"] < 20
    assert record["attempts"][-1]["reason"] == "cancelled"


def test_a_client_that_leaves_before_the_first_byte(calm: Gateway, mock: MockProcess) -> None:
    mock.fault("hang")
    with calm.connect() as sock:
        sock.sendall(ask())
        wait_for(lambda: mock.received())
    gone = wait_for(lambda: next((r for r in mock.received() if r["gone_after"] is not None), None))
    assert gone["gone_after"] is not None
    assert gone["gone_after"] < 5
    assert calm.record(lambda r: r["end"] == "client_gone" and r["status"] is None)["decision"] == "allowed"


def test_a_client_that_does_not_read_holds_up_nobody(calm: Gateway) -> None:
    with calm.connect() as lazy:
        lazy.sendall(ask(20_000, stream=True))
        time.sleep(0.3)
        began = time.monotonic()
        for _ in range(5):
            assert split(calm.raw(ask()))[0] == 200
        assert time.monotonic() - began < 5


def test_certificates(calm: Gateway) -> None:
    data = ask().replace(b"api-key: test-key-of-the-first-client\r\n", b"")
    status, head, _ = split(calm.raw(data, certificate="turbine-7"))
    assert status == 200
    assert newest(calm, head)["credential"]["kind"] == "certificate"
    assert split(calm.raw(data, certificate="billing"))[0] == 401
    for bad in ("expired", "not-yet-valid", "wrong-eku", "untrusted", "self-signed", "no-intermediate"):
        assert not calm.raw(data, certificate=bad).startswith(b"HTTP/1.1 2"), bad


def test_upstream_the_gateway_shows_its_own_credential_alone(calm: Gateway, mock: MockProcess) -> None:
    calm.raw(ask())
    headers = dict(mock.received()[-1]["headers"])
    assert headers["authorization"].startswith("Bearer mock-token-")
    assert "api-key" not in headers
    assert "mock-token-" not in calm.log + json.dumps(calm.records())
