"""What an instance answers, byte for byte, over both forms of address and in every framing; and what it refuses."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.mock import answers
from bench.mock.process import MockProcess
from tests.bench.mock.conftest import KEY
from tests.bench.mock.raw import CHAT, MESSAGES, Client, chat, request

BODY: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 5, "seed": 7}
STREAM = BODY | {"stream": True, "stream_options": {"include_usage": True}}
FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n--b--\r\n'


@pytest.fixture
def swc(mock: MockProcess, root: Path) -> Any:
    with Client(mock.urls["swc"], root) as client:
        yield client


def in_deployment(operation: str) -> str:
    return f"/openai/deployments/gpt-4o/{operation}?api-version=2024-10-21"


@pytest.mark.parametrize(
    ("target", "body", "expected", "kind"),
    [
        (in_deployment("chat/completions"), BODY, answers.chat_answer(BODY, "gpt-4o"), "application/json"),
        ("/openai/v1/chat/completions", BODY, answers.chat_answer(BODY, "gpt-4o"), "application/json"),
        (in_deployment("completions"), {"prompt": "a"}, answers.completions_answer({"prompt": "a"}, "gpt-4o"), None),
        (in_deployment("embeddings"), {"input": ["a", "b"]}, None, None),
        ("/openai/v1/responses", {"input": "a"}, None, None),
        ("/openai/responses?api-version=2025-04-01-preview", {"input": "a"}, None, None),
        (in_deployment("images/generations"), {"prompt": "a"}, answers.images_answer({"prompt": "a"}), None),
        (in_deployment("audio/speech"), {"input": "abc"}, answers.speech_answer({"input": "abc"}), "audio/mpeg"),
        (in_deployment("audio/transcriptions"), FORM, answers.transcription_answer(len(FORM)), None),
        ("/openai/v1/audio/transcriptions", FORM, answers.transcription_answer(len(FORM)), None),
    ],
)
def test_operations(
    swc: Client, target: str, body: dict[str, Any] | bytes, expected: bytes | None, kind: str | None
) -> None:
    if isinstance(body, dict) and "/deployments/" not in target:
        body = body | {"model": "gpt-4o"}
        expected = expected and answers.chat_answer(body, "gpt-4o")
    response = swc.ask(request(target, body))
    assert response.status == 200
    assert response.headers["content-type"] == kind or kind is None
    assert int(response.headers["content-length"]) == len(response.body)
    assert expected in (None, response.body)


def test_models(swc: Client) -> None:
    for target in ("/openai/v1/models", "/openai/models?api-version=2024-10-21"):
        listed = json.loads(swc.ask(request(target, method="GET")).body)
        assert "gpt-4o" in [model["id"] for model in listed["data"]]


def test_a_stream_is_exactly_its_events_each_a_chunk(swc: Client) -> None:
    events = answers.chat_stream(STREAM, "gpt-4o")
    for _ in range(2):  # rendered, and from memory
        response = swc.ask(chat(**STREAM))
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.body == b"".join(events)
        assert response.sizes == [len(event) for event in events]


@pytest.mark.parametrize("deployment", ["gpt-4o", "paced", "chunked", "close"])
def test_framings_carry_the_same_bytes(mock: MockProcess, root: Path, deployment: str) -> None:
    for body, expected in (
        (BODY, answers.chat_answer(BODY, deployment)),
        (STREAM, b"".join(answers.chat_stream(STREAM, deployment))),
    ):
        with Client(mock.urls["swc"], root) as client:
            response = client.ask(chat(deployment, **body))
            assert response.body == expected
            assert ("content-length" in response.headers) == (deployment in ("gpt-4o", "paced") and body is BODY)
            assert (response.headers.get("connection") == "close") == (deployment == "close")


def test_heads_say_what_azures_say(swc: Client) -> None:
    headers = swc.ask(request(CHAT.format("gpt-4o"), BODY, x_ms_client_request_id="mine")).headers
    assert headers["x-ms-region"] == "Sweden Central"
    assert headers["x-ms-client-request-id"] == "mine"
    assert headers["x-ms-deployment-name"] == "gpt-4o"
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers["apim-request-id"])
    assert headers["apim-request-id"] == headers["x-request-id"]
    assert int(headers["x-ratelimit-remaining-tokens"]) >= 0
    assert int(headers["x-ratelimit-remaining-requests"]) >= 0
    assert headers["azure-openai-deployment-utilization"].endswith("%")
    again = swc.ask(chat(**BODY)).headers
    assert again["apim-request-id"] != headers["apim-request-id"]
    assert "x-ms-client-request-id" not in again


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (request(CHAT.format("gpt-4o"), BODY, api_key="wrong"), 401, "401"),
        (request(CHAT.format("gpt-4o"), BODY, api_key="", authorization="Bearer unknown"), 401, "401"),
        (request(CHAT.format("gpt-4o"), BODY, api_key="", authorization=f"Bearer {KEY}"), 401, "401"),
        (request(CHAT.format("missing"), BODY), 404, "DeploymentNotFound"),
        (request("/openai/v1/chat/completions", BODY | {"model": "missing"}), 404, "DeploymentNotFound"),
        (request("/openai/v1/chat/completions", BODY), 404, "DeploymentNotFound"),
        (request("/openai/deployments/gpt-4o/chat/completions", BODY), 404, "404"),
        (request("/openai/deployments/gpt-4o/responses?api-version=2024-10-21", BODY), 404, "404"),
        (request("/openai/models", method="GET"), 404, "404"),
        (request("/elsewhere", BODY), 404, "404"),
        (request("//[", BODY), 404, "404"),
        (request(CHAT.format("gpt-4o"), method="GET"), 404, "404"),
        (request(CHAT.format("gpt-4o"), b"no JSON"), 400, "BadRequest"),
        (request(CHAT.format("gpt-4o"), b"[]"), 400, "BadRequest"),
    ],
)
def test_what_is_refused(swc: Client, data: bytes, status: int, code: str) -> None:
    response = swc.ask(data)
    assert (response.status, response.code) == (status, code)
    assert swc.ask(chat()).status == 200, "the connection lives"


@pytest.mark.parametrize(
    ("version", "status"),
    [("2024-06-01", 400), ("2024-08-01-preview", 400), ("2024-09-01-preview", 200), ("2024-10-21", 200)],
)
def test_older_versions_refuse_stream_options(swc: Client, version: str, status: int) -> None:
    target = CHAT.format("gpt-4o").replace("2024-10-21", version)
    assert swc.ask(request(target, STREAM)).status == status
    assert swc.ask(request(target, BODY)).status == 200


def test_tokens_a_minute_are_charged_by_estimate_then_refused(swc: Client) -> None:
    body = {"messages": MESSAGES, "max_tokens": 40}
    charge = answers.prompt_tokens(body) + 40
    first = swc.ask(chat("small", **body))
    assert first.status == 200
    assert int(first.headers["x-ratelimit-remaining-tokens"]) == 100 - charge
    refused = swc.ask(chat("small", **body))
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert 0 < int(refused.headers["retry-after-ms"]) <= 60_000


def test_a_full_deployment_refuses_by_the_millisecond(mock: MockProcess, root: Path) -> None:
    with Client(mock.urls["swc"], root) as one, Client(mock.urls["swc"], root) as other:
        one.send(chat("one-at-a-time", stream=True))
        status, headers = one.head()
        assert (status, headers["azure-openai-deployment-utilization"]) == (200, "100.0%")
        refused = other.ask(chat("one-at-a-time", max_tokens=1))
        assert refused.status == 429
        assert int(refused.headers["retry-after-ms"]) < 1000
    with Client(mock.urls["swc"], root) as client:
        mock.await_received(lambda found: found[0]["ended"] == "client_gone")
        assert client.ask(chat("one-at-a-time", max_tokens=1)).status == 200


def test_requests_on_one_connection_are_answered_in_order(swc: Client) -> None:
    bodies: list[dict[str, Any]] = [BODY | {"seed": seed, "stream": bool(seed % 2)} for seed in range(20)]
    swc.send(b"".join(chat(**body) for body in bodies))
    for body in bodies:
        expected = (
            b"".join(answers.chat_stream(body, "gpt-4o")) if body["stream"] else answers.chat_answer(body, "gpt-4o")
        )
        assert swc.response().body == expected


def test_a_body_may_come_in_chunks_and_after_100_continue(swc: Client) -> None:
    raw = json.dumps(BODY).encode()
    head = f"POST {CHAT.format('gpt-4o')} HTTP/1.1\r\nhost: localhost\r\napi-key: {KEY}\r\n"
    swc.send(f"{head}expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    assert swc.head() == (100, {})
    for byte in raw:
        swc.send(b"1\r\n%c\r\n" % byte)
    swc.send(b"0\r\n\r\n")
    assert swc.response().body == answers.chat_answer(BODY, "gpt-4o")


def test_a_head_is_answered_without_a_body(swc: Client) -> None:
    assert swc.ask(request("/openai/v1/models", method="HEAD")).status == 200
    assert swc.ask(chat(**BODY)).status == 200


def test_what_is_no_http_is_refused_and_closed(swc: Client) -> None:
    swc.send(b"no HTTP at all\r\n\r\n")
    assert swc.head()[0] == 400
    swc.rest()


def test_a_form_of_many_megabytes_is_read_whole(mock: MockProcess, swc: Client) -> None:
    form = FORM + b"x" * (9 << 20)
    response = swc.ask(request("/openai/v1/audio/transcriptions", form))
    assert response.body == answers.transcription_answer(len(form))
    (entry,) = mock.received()
    assert (entry["body_bytes"], entry["body_sha256"]) == (len(form), hashlib.sha256(form).hexdigest())


def test_what_was_received_is_told(mock: MockProcess, swc: Client, root: Path) -> None:
    swc.ask(request(CHAT.format("gpt-4o"), STREAM, X_Mine="Yes"))
    with Client(mock.urls["frc"], root) as frc:
        frc.ask(chat(**BODY))
    first, second = mock.received()
    assert (first["instance"], first["deployment"], first["method"]) == ("swc", "gpt-4o", "POST")
    assert first["target"] == CHAT.format("gpt-4o")
    assert ("x-mine", "Yes") in [tuple(field) for field in first["headers"]]
    assert json.loads(first["body"]) == STREAM
    assert (first["status"], first["ended"], first["gone_after"]) == (200, "complete", None)
    assert first["events"] == len(answers.chat_stream(STREAM, "gpt-4o"))
    assert first["at"] <= second["at"]
    assert mock.received(instance="frc") == [second]
    assert mock.received(since=second["at"]) == [second]
    assert mock.received(last=1) == [second]
    assert mock.received(deployment="other") == []
    mock.forget()
    assert mock.received() == []


@pytest.mark.parametrize("deployment", ["endless", "one-at-a-time"])
def test_a_client_that_leaves_is_noticed_at_once(mock: MockProcess, root: Path, deployment: str) -> None:
    with Client(mock.urls["swc"], root) as client:
        client.send(chat(deployment, stream=True))
        client.head()
        for _ in range(5):
            client.chunk()
    (entry,) = mock.await_received(lambda found: found[-1]["ended"] is not None)
    assert entry["ended"] == "client_gone"
    assert entry["gone_after"] is not None
    assert 5 <= entry["events"] < 1000


def test_a_client_that_does_not_read_gets_all_of_it_later(mock: MockProcess, root: Path) -> None:
    body: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 60_000, "stream": True}
    expected = answers.chat_stream(body, "gpt-4o")
    with Client(mock.urls["swc"], root) as client:
        client.send(chat(**body))
        before = -1
        while (now := mock.stats()["events"]) != before:  # until the sockets are full
            before = now
            assert client.silent(0.05) is False or now > 0
            client.sock.setblocking(True)
            client.sock.settimeout(10)
        response = client.response()
    assert response.body == b"".join(expected)


def test_stats_count(mock: MockProcess, swc: Client) -> None:
    before = mock.stats()
    swc.ask(chat(**STREAM))
    after = mock.stats()
    assert after["events"] - before["events"] == len(answers.chat_stream(STREAM, "gpt-4o"))
    assert after["accepted"] > before["accepted"]  # the control connection itself
    assert after["handshakes"] == before["handshakes"]
    assert after["open"] >= 2
