"""Every fault, as a client without illusions sees it."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from bench.mock.answers import chat_answer, chat_stream
from bench.mock.client import ControlFailed
from bench.mock.process import MockProcess
from tests.bench.mock.raw import MESSAGES, Client, chat

STREAM: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 8, "stream": True}
EVENTS = chat_stream(STREAM, "gpt-4o")


def client(mock: MockProcess, root: Path, name: str = "swc") -> Client:
    return Client(mock.urls[name], root)


def begun(one: Client, events: int) -> None:
    """So many whole events of the stream come, and they are right."""
    status, _ = one.head()
    assert status == 200
    assert [one.chunk() for _ in range(events)] == EVENTS[:events]


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({"retry_after": 3}, {"retry-after": "3"}),
        ({"retry_after_ms": 250}, {"retry-after-ms": "250"}),
        ({"retry_after": 1, "retry_after_ms": 250}, {"retry-after": "1", "retry-after-ms": "250"}),
        ({}, {}),
    ],
)
def test_throttle_carries_the_headers_that_were_asked_for(
    mock: MockProcess, root: Path, given: dict[str, Any], headers: dict[str, str]
) -> None:
    mock.fault("throttle", **given)
    with client(mock, root) as one:
        response = one.ask(chat())
    assert (response.status, response.code) == (429, "429")
    assert {name: value for name, value in response.headers.items() if name.startswith("retry")} == headers


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "401"),
        (403, "AuthenticationTypeDisabled"),
        (404, "DeploymentNotFound"),
        (408, "RequestTimeout"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ],
)
def test_error_has_azures_code(mock: MockProcess, root: Path, status: int, code: str) -> None:
    mock.fault("error", status=status, times=1)
    with client(mock, root) as one:
        response = one.ask(chat())
        assert (response.status, response.code) == (status, code)
        assert one.ask(chat()).status == 200, "the fault was for one request, the connection lives"


def test_a_refused_prompt_names_its_categories(mock: MockProcess, root: Path) -> None:
    mock.fault("error", status=400, code="content_filter")
    with client(mock, root) as one:
        error = json.loads(one.ask(chat()).body)["error"]
    assert error["code"] == "content_filter"
    assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert error["innererror"]["content_filter_result"]["violence"]["filtered"] is True


def test_reset_before_the_head(mock: MockProcess, root: Path) -> None:
    mock.fault("reset")
    with client(mock, root) as one, pytest.raises(ConnectionResetError):
        one.ask(chat())


def test_close_without_close_notify_before_the_head(mock: MockProcess, root: Path) -> None:
    mock.fault("close")
    with client(mock, root) as one, pytest.raises(ssl.SSLEOFError):
        one.ask(chat())


def test_hang_before_the_head(mock: MockProcess, root: Path) -> None:
    mock.fault("hang")
    with client(mock, root) as one:
        one.send(chat())
        assert one.silent()
    (entry,) = mock.await_received(lambda found: found[-1]["ended"] is not None)
    assert (entry["ended"], entry["status"]) == ("client_gone", None)


def test_late_is_whole(mock: MockProcess, root: Path) -> None:
    mock.fault("late", delay=0.3)
    with client(mock, root) as one:
        one.send(chat(**STREAM))
        assert one.silent(0.1)
        assert one.response().body == b"".join(EVENTS)


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize(
    ("kind", "end"),
    [("reset_stream", ConnectionResetError), ("close_stream", ssl.SSLEOFError), ("end_stream", AssertionError)],
)
def test_a_stream_breaks_after_so_many_events(
    mock: MockProcess, root: Path, kind: str, end: type[BaseException], after: int
) -> None:
    mock.fault(kind, after=after)
    with client(mock, root) as one:
        one.send(chat(**STREAM))
        begun(one, after)
        with pytest.raises(end):
            one.chunk()
    (entry,) = mock.await_received(lambda found: found[-1]["ended"] is not None)
    assert (entry["ended"], entry["events"], entry["gone_after"]) == ("fault", after, None)


def test_hang_in_the_middle_of_a_stream(mock: MockProcess, root: Path) -> None:
    mock.fault("hang_stream", after=2)
    with client(mock, root) as one:
        one.send(chat(**STREAM))
        begun(one, 2)
        assert one.silent()
    (entry,) = mock.await_received(lambda found: found[-1]["ended"] is not None)
    assert (entry["ended"], entry["events"]) == ("client_gone", 2)


@pytest.mark.parametrize(
    ("kind", "end"),
    [("reset_stream", ConnectionResetError), ("close_stream", ssl.SSLEOFError), ("end_stream", AssertionError)],
)
def test_an_answer_that_is_not_streamed_breaks_in_its_body(
    mock: MockProcess, root: Path, kind: str, end: type[BaseException]
) -> None:
    mock.fault(kind)
    whole = chat_answer({"messages": MESSAGES}, "gpt-4o")
    with client(mock, root) as one:
        one.send(chat())
        _, headers = one.head()
        assert int(headers["content-length"]) == len(whole)
        assert one.exactly(len(whole) // 2) == whole[: len(whole) // 2]
        with pytest.raises(end):
            one.exactly(1)


def test_slow_bytes_come_in_records_of_their_own_and_are_all_there(mock: MockProcess, root: Path) -> None:
    mock.fault("slow", piece=5, delay=0.0)
    body = STREAM | {"max_tokens": 3}
    with client(mock, root) as one:
        one.send(chat(**body))
        sizes = []
        while not one.buffer.endswith(b"0\r\n\r\n"):
            before = len(one.buffer)
            assert one.more()
            sizes.append(len(one.buffer) - before)
        assert one.response().body == b"".join(chat_stream(body, "gpt-4o"))
    assert set(sizes) <= set(range(1, 6))
    assert len(set(sizes)) > 1, "at arbitrary bytes"


def test_a_bad_event_is_a_whole_chunk_and_the_stream_goes_on(mock: MockProcess, root: Path) -> None:
    mock.fault("bad_event", after=2)
    with client(mock, root) as one:
        one.send(chat(**STREAM))
        begun(one, 2)
        with pytest.raises(ValueError):
            json.loads(one.chunk().removeprefix(b"data: "))
        assert [one.chunk() for _ in EVENTS[3:]] == EVENTS[3:]
        assert one.chunk() == b""


def test_a_bad_answer_is_half_a_json(mock: MockProcess, root: Path) -> None:
    mock.fault("bad_event")
    with client(mock, root) as one, pytest.raises(ValueError):
        json.loads(one.ask(chat()).body)


def test_malformed_is_no_chunk_and_then_silence(mock: MockProcess, root: Path) -> None:
    mock.fault("malformed", after=1)
    with client(mock, root) as one:
        one.send(chat(**STREAM))
        begun(one, 1)
        with pytest.raises(ValueError, match="base 16"):
            one.chunk()
        one.until(b"\0\r\n")
        assert one.silent()


def test_an_error_event_ends_the_stream_in_order(mock: MockProcess, root: Path) -> None:
    mock.fault("error_event", after=2)
    with client(mock, root) as one:
        one.send(chat(**STREAM))
        begun(one, 2)
        assert json.loads(one.chunk().removeprefix(b"data: "))["error"]["code"] == "500"
        assert one.chunk() == b""
        mock.clear()
        assert one.ask(chat()).status == 200


def test_stream_options_are_refused_by_name_and_only_if_sent(mock: MockProcess, root: Path) -> None:
    mock.fault("no_stream_options")
    with client(mock, root) as one:
        refused = one.ask(chat(**STREAM, stream_options={"include_usage": True}))
        assert refused.status == 400
        assert "stream_options" in json.loads(refused.body)["error"]["message"]
        assert one.ask(chat(**STREAM)).status == 200


def test_a_fault_is_for_its_instance_and_deployment(mock: MockProcess, root: Path) -> None:
    mock.fault("error", instance="swc", deployment="chunked", status=503)
    with client(mock, root) as swc, client(mock, root, "frc") as frc:
        assert swc.ask(chat("chunked")).status == 503
        assert swc.ask(chat()).status == 200
        assert frc.ask(chat()).status == 200


def test_a_share_of_requests(mock: MockProcess, root: Path) -> None:
    mock.fault("error", probability=0.5)
    with client(mock, root) as one:
        statuses = [one.ask(chat()).status for _ in range(200)]
    assert 50 < statuses.count(500) < 150


def test_faults_are_switched_off_by_what_they_are(mock: MockProcess, root: Path) -> None:
    mock.fault("error", instance="swc", status=500)
    mock.fault("throttle", instance="frc")
    assert [fault.kind.value for fault in mock.faults()] == ["error", "throttle"]
    mock.clear(instance="swc")
    assert [fault.kind.value for fault in mock.faults()] == ["throttle"]
    with client(mock, root) as one:
        assert one.ask(chat()).status == 200


@pytest.mark.parametrize(
    "fields", [{"kind": "no such kind"}, {"kind": "slow", "piece": 0}, {"kind": "reset", "probability": 2}, {"kid": 1}]
)
def test_a_fault_that_is_none_is_refused(mock: MockProcess, fields: dict[str, Any]) -> None:
    with pytest.raises(ControlFailed) as caught:
        mock._ask("PUT", "/faults", json.dumps(fields).encode())
    assert caught.value.status == 400
    assert mock.faults() == []


def test_an_instance_that_is_down_is_not_there_and_comes_back(mock: MockProcess, root: Path) -> None:
    with client(mock, root) as one:
        assert one.ask(chat()).status == 200
        mock.fault("down", instance="swc")
        with pytest.raises(OSError):
            one.ask(chat())
    with pytest.raises(ConnectionRefusedError):
        client(mock, root)
    with client(mock, root, "frc") as other:
        assert other.ask(chat()).status == 200
    mock.clear(instance="swc")
    with client(mock, root) as one:
        assert one.ask(chat()).status == 200
