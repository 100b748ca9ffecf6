"""What clients are told: refusals in Azure's shape, and a backend's head made the client's."""

import json

import pytest

from proxy import answer
from proxy.policy.operations import Target, parse_target
from proxy.refusal import Reason, Refused


def parsed(head: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """The status line and the headers of a head."""
    assert head.endswith(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    pairs = [line.split(b": ", 1) for line in lines]
    headers = dict(pairs)
    assert len(headers) == len(pairs)
    return first, headers


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_has_the_shape_of_azures_errors(reason: Reason) -> None:
    head, body = answer.refusal(Refused(reason, "the exact fact"), "a1-7", close=False)
    first, headers = parsed(head)
    assert first.startswith(b"HTTP/1.1 %d " % reason.terms.status)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == b"%d" % len(body)
    assert headers[b"x-request-id"] == b"a1-7"
    assert json.loads(body) == {"error": {"code": reason.terms.code, "message": reason.terms.message}}
    assert b"the exact fact" not in head + body
    if reason.terms.status == 401:
        assert headers[b"www-authenticate"].startswith(b'Bearer realm="penstock"')
    assert (b"allow" in headers) == (reason.terms.status == 405)
    assert (headers.get(b"x-should-retry") == b"false") == (not reason.terms.retry)
    assert b"connection" not in headers


def test_every_reason_has_a_phrase_of_its_own() -> None:
    for reason in Reason:
        first, _ = parsed(answer.refusal(Refused(reason), "x", close=False)[0])
        assert first.split(b" ", 2)[2]


@pytest.mark.parametrize(
    ("wait", "seconds", "milliseconds", "retry"),
    [
        (0.0, b"1", b"1", True),
        (0.0004, b"1", b"1", True),
        (0.25, b"1", b"250", True),
        (1.001, b"2", b"1001", True),
        (60.0, b"60", b"60000", True),
        (60.5, b"61", b"60500", False),
        (86_400.0, b"86400", b"86400000", False),
    ],
)
def test_the_wait_is_rounded_up_and_a_long_one_is_no_reason_to_hold_the_request(
    wait: float, seconds: bytes, milliseconds: bytes, retry: bool
) -> None:
    _, headers = parsed(answer.refusal(Refused(Reason.TOKENS_PER_MINUTE, retry_after=wait), "x", close=False)[0])
    assert (headers[b"retry-after"], headers[b"retry-after-ms"]) == (seconds, milliseconds)
    assert (b"x-should-retry" not in headers) == retry


def test_without_a_wait_none_is_told() -> None:
    _, headers = parsed(answer.refusal(Refused(Reason.OVERLOADED), "x", close=False)[0])
    assert b"retry-after" not in headers
    assert b"retry-after-ms" not in headers


def test_a_connection_that_ends_says_so() -> None:
    _, headers = parsed(answer.refusal(Refused(Reason.BAD_FRAMING), "x", close=True)[0])
    assert headers[b"connection"] == b"close"


@pytest.mark.parametrize(("rule", "allowed"), [("models", b"GET, HEAD"), ("chat.completions", b"POST")])
def test_the_method_that_is_allowed(rule: str, allowed: bytes) -> None:
    _, headers = parsed(answer.refusal(Refused(Reason.METHOD_NOT_ALLOWED, rule), "x", close=False)[0])
    assert headers[b"allow"] == allowed


def test_a_message_of_its_own_replaces_the_reasons() -> None:
    _, body = answer.refusal(Refused(Reason.NO_BACKEND, message='Say "when".'), "x", close=False)
    assert json.loads(body)["error"]["message"] == 'Say "when".'


def target(raw: bytes) -> Target:
    return parse_target(b"GET", raw, frozenset())


def test_models_as_each_surface_lists_them() -> None:
    listed = json.loads(answer.listing(target(b"/openai/v1/models"), ["gpt-4o", "o3"]))
    assert listed["object"] == "list"
    assert [(model["id"], model["object"]) for model in listed["data"]] == [("gpt-4o", "model"), ("o3", "model")]
    dated = json.loads(answer.listing(target(b"/openai/deployments?api-version=2024-10-21"), ["gpt-4o"]))
    assert [(one["id"], one["model"], one["object"]) for one in dated["data"]] == [("gpt-4o", "gpt-4o", "deployment")]
    assert json.loads(answer.listing(target(b"/openai/v1/models"), []))["data"] == []


@pytest.mark.parametrize(
    ("remaining", "lines"),
    [
        ((None, 0, None, 0), []),
        ((60, 59, None, 0), ["x-ratelimit-limit-requests: 60", "x-ratelimit-remaining-requests: 59"]),
        ((None, 0, 1000, 7), ["x-ratelimit-limit-tokens: 1000", "x-ratelimit-remaining-tokens: 7"]),
        (
            (1, 0, 2, 0),
            [
                "x-ratelimit-limit-requests: 1",
                "x-ratelimit-remaining-requests: 0",
                "x-ratelimit-limit-tokens: 2",
                "x-ratelimit-remaining-tokens: 0",
            ],
        ),
    ],
)
def test_limits_are_the_clients_own(remaining: tuple[int | None, int, int | None, int], lines: list[str]) -> None:
    assert b"\r\n".join(answer.limits(remaining)).decode().splitlines() == lines
