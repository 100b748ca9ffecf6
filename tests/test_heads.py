"""Heads that come again: what is remembered must never be told from what would have been parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.structs import Bounds
from proxy.heads import Heads
from proxy.refusal import Refused
from proxy.view import FORWARDED_HEADERS
from proxy.wire.http1 import RequestHead

BOUNDS = Bounds()
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
FIELDS = (
    "method", "target", "minor", "headers", "once", "length", "chunked", "expects_continue", "keep_alive", "passed",
    "trace", "timeout", "media_type",
)  # fmt: skip


def raw(*lines: bytes, method: bytes = b"POST") -> bytes:
    return b"\r\n".join([method + b" /openai/v1/chat/completions HTTP/1.1", b"Host: a", *lines]) + b"\r\n\r\n"


def facts(head: RequestHead) -> dict[str, object]:
    """All that a request is judged by. The value of content-length stands in `length`, that of a trace in `trace`."""
    found = {name: getattr(head, name) for name in FIELDS}
    varying = (b"content-length", b"traceparent")
    found["headers"] = [(name, None if name in varying else value) for name, value in head.headers]
    found["once"] = {name: None if name in varying else value for name, value in head.once.items()}
    return found


def outcome(heads: Heads, head: bytes) -> object:
    try:
        return facts(heads.read(head, BOUNDS))
    except Refused as refused:
        return refused.reason, refused.rule


def test_what_follows_from_a_head() -> None:
    head = Heads(FORWARDED_HEADERS).read(
        raw(
            b"Content-Type: Application/JSON; charset=utf-8",
            b"api-key: secret",
            b"x-penstock-timeout-ms: 1500",
            b"traceparent: " + TRACE,
            b"Content-Length: 7",
        ),
        BOUNDS,
    )
    assert head.passed == b"content-type: Application/JSON; charset=utf-8\r\naccept-encoding: identity\r\n"
    assert (head.trace, head.timeout, head.media_type, head.length) == (TRACE, 1.5, b"application/json", 7)


def test_length_and_trace_are_each_requests_own() -> None:
    heads = Heads(FORWARDED_HEADERS)
    first = heads.read(raw(b"traceparent: " + TRACE, b"content-length: 7"), BOUNDS)
    other = TRACE.replace(b"4b", b"5c")
    second = heads.read(raw(b"traceparent: " + other, b"content-length: 1234"), BOUNDS)
    assert (first.length, first.trace) == (7, TRACE)
    assert (second.length, second.trace) == (1234, other)


@pytest.mark.parametrize("blank", [b"", b"\t", b"  "])
def test_a_trace_in_another_spelling_is_a_trace_too(blank: bytes) -> None:
    heads = Heads(FORWARDED_HEADERS)
    for _ in range(2):
        assert heads.read(raw(b"traceparent:" + blank + TRACE, b"content-length: 7"), BOUNDS).trace == TRACE


def test_what_one_request_lets_go_another_still_has() -> None:
    heads = Heads(FORWARDED_HEADERS)
    head = raw(b"content-length: 7", b"api-key: secret")
    first = heads.read(head, BOUNDS)
    first.headers, first.once = [], {}
    assert heads.read(head, BOUNDS).once[b"api-key"] == b"secret"


@pytest.mark.parametrize(
    ("again", "differs"),
    [
        (raw(b"content-length: 7", b"api-key: OTHER"), "once"),
        (raw(b"content-length: 7", b"api-key: secret", b"x: y"), "headers"),
        (raw(b"content-length: 7", b"api-key: secret", method=b"PUT"), "method"),
    ],
)
def test_any_other_byte_makes_another_head(again: bytes, differs: str) -> None:
    heads = Heads(FORWARDED_HEADERS)
    first = heads.read(raw(b"content-length: 7", b"api-key: secret"), BOUNDS)
    assert getattr(heads.read(again, BOUNDS), differs) != getattr(first, differs)


_LINES = st.lists(
    st.sampled_from(
        [b"content-length: 7", b"Content-Length: 12", b"content-length:7", b"content-length: 7 ", b"content-length: -1"]
        + [b"content-length: " + b"9" * 16, "content-length: ٣".encode(), b"transfer-encoding: chunked"]
        + [b"traceparent:" + TRACE, b"traceparent:  " + TRACE, b"traceparent:\t" + TRACE.replace(b"4b", b"5c")]
        + [b"traceparent: " + TRACE, b"Traceparent: " + TRACE, b"traceparent: " + TRACE + b"0", b"traceparent: x"]
        + [b"traceparent: " + TRACE[:54] + b"\x00", b"traceparent: " + TRACE[:54] + b"\n", b"api-key: a", b"api-key: b"]
        + [b"content-type: application/json", b"expect: 100-continue", b"connection: close", b"x-stainless-timeout: 3"]
        + [b"x: \r\ncontent-length: 5", b"x\x00: y", b"accept: a", b" folded"]
    ),
    max_size=5,
)


@given(st.lists(_LINES, min_size=1, max_size=6))
def test_remembered_or_not_a_head_is_the_same(requests: list[list[bytes]]) -> None:
    remembering = Heads(FORWARDED_HEADERS)
    for lines in requests:
        head = raw(*lines)
        assert outcome(remembering, head) == outcome(Heads(FORWARDED_HEADERS), head)


def test_heads_without_end_are_not_all_remembered() -> None:
    heads = Heads(FORWARDED_HEADERS)
    for number in range(2000):
        heads.read(raw(b"api-key: %d" % number, b"content-length: 1"), BOUNDS)
    heads.read(raw(b"x: " + b"y" * 8000, b"content-length: 1"), BOUNDS)
    assert len(heads._known) <= 512
    assert max(map(len, heads._known)) <= 4096
