"""One answer's usage as its bytes go by: streamed or whole, cut anywhere, compressed or not, and bounded."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.meter import KEPT_TEXT, Meter, event_data
from proxy.record.record import Tokens

USAGE = {"prompt_tokens": 30, "completion_tokens": 300, "total_tokens": 330}
TOKENS = Tokens(prompt=30, completion=300, total=330)
CHAT = json.dumps({"id": "x", "choices": [{"message": {"content": "hi"}}], "usage": USAGE}).encode()


def event(data: object, end: str = "\n\n") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return f"data: {text}{end}".encode()


def delta(text: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], "usage": None})


def look(meter: Meter, events: bytes) -> bool:
    return meter.look(bytearray(events), 0, len(events))


# Streams.


def test_text_is_kept_and_counted_as_it_passes() -> None:
    meter = Meter("chat.completions")
    for text in ("Hello", ", ", "world"):
        assert not look(meter, delta(text))
    assert bytes(meter.text) == b"Hello, world"
    assert meter.seen == 12
    meter.finish()
    assert meter.usage is None


def test_text_beyond_the_bound_is_counted_and_not_kept() -> None:
    meter = Meter("chat.completions")
    piece = "x" * 1_000
    for _ in range(200):
        look(meter, delta(piece))
    assert meter.seen == 200_000
    assert KEPT_TEXT <= len(meter.text) < KEPT_TEXT + 1_000


@pytest.mark.parametrize(
    ("operation", "data", "tokens", "only"),
    [
        ("chat.completions", {"choices": [], "usage": USAGE}, TOKENS, True),
        ("completions", {"choices": [], "usage": USAGE}, TOKENS, True),
        ("chat.completions", {"choices": [{"delta": {}}], "usage": USAGE}, TOKENS, False),
        ("chat.completions", {"choices": [], "usage": None}, None, False),
        ("chat.completions", {"choices": [], "prompt_filter_results": []}, None, False),
        ("chat.completions", "[DONE]", None, False),
        ("chat.completions", "{broken", None, False),
        (
            "responses",
            {"type": "response.completed", "response": {"usage": {"input_tokens": 30, "output_tokens": 300}}},
            TOKENS,
            False,
        ),
        ("responses", {"type": "response.created", "response": {"usage": {"input_tokens": 1}}}, None, False),
        ("audio.speech", {"choices": [], "usage": USAGE}, None, False),
    ],
)
def test_usage_events(operation: str, data: object, tokens: Tokens | None, only: bool) -> None:
    """`only`: nothing but usage, so it may be taken out where the client had not asked for it."""
    meter = Meter(operation)
    assert meter.usage_event(event(data)) is only
    assert meter.usage == tokens


def test_an_event_may_have_usage_exactly_if_look_says_so() -> None:
    meter = Meter("chat.completions")
    assert look(meter, event({"choices": [], "usage": USAGE}))
    assert not look(meter, delta("usage"))
    assert not look(meter, delta('"usage":{'))
    assert look(meter, delta("x") + event({"choices": [], "usage": USAGE}))


def test_the_last_usage_counts_and_what_follows_does_not_undo_it() -> None:
    meter = Meter("chat.completions")
    meter.usage_event(event({"choices": [{}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}))
    meter.usage_event(event({"choices": [], "usage": USAGE}))
    meter.usage_event(event("[DONE]"))
    meter.finish()
    assert meter.usage == TOKENS


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data: {}\n\n", b"{}"),
        (b"data:{}\n\n", b"{}"),
        (b"data:  {}\n\n", b" {}"),
        (b"data: {}\r\n\r\n", b"{}"),
        (b"data: {}\r\r", b"{}"),
        (b"event: x\ndata: {}\n\n", b"{}"),
        (b"data: {}\nid: 7\n\n", b"{}"),
        (b": comment\ndata: {}\n\n", b"{}"),
        (b'data: {"a":\ndata: 1}\n\n', b'{"a":\n1}'),
        (b'data: {"a":\r\ndata: 1}\r\n\r\n', b'{"a":\n1}'),
        (b"database: {}\n\n", b""),
        (b"data\n\n", b""),
        (b": ping\n\n", b""),
        (b"\n", b""),
        (b"", b""),
        (b"data: \n\n", b""),
    ],
)
def test_the_data_of_an_event(raw: bytes, data: bytes) -> None:
    assert event_data(raw) == data


@given(st.binary(max_size=100))
def test_any_bytes_may_be_an_event(raw: bytes) -> None:
    for operation in ("chat.completions", "responses"):
        meter = Meter(operation)
        look(meter, raw)
        meter.usage_event(raw)
        meter.finish()


# Whole answers.


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_a_whole_answer_in_pieces_of_any_size(size: int) -> None:
    meter = Meter("chat.completions")
    for at in range(0, len(CHAT), size):
        assert meter.usage is None
        meter.payload(CHAT[at : at + size])
    meter.finish()
    assert meter.usage == TOKENS


@pytest.mark.parametrize("size", [16_384, 300_000])
def test_an_answer_too_large_to_keep_is_read_at_its_ends(size: int) -> None:
    vectors = [{"embedding": [0.125] * 1536, "index": n} for n in range(100)]
    body = json.dumps({"data": vectors, "usage": {"prompt_tokens": 8, "total_tokens": 8}}).encode()
    assert len(body) > 512 << 10
    meter = Meter("embeddings")
    for at in range(0, len(body), size):
        meter.payload(body[at : at + size])
        assert sum(map(len, meter._parts)) <= 256 << 10
    meter.finish()
    assert meter.usage == Tokens(prompt=8, total=8)


def test_an_answer_without_a_body_or_usage_has_none() -> None:
    for body in (b"", b"{}", b"not json", b'{"usage":null}', CHAT[:-5]):
        meter = Meter("chat.completions")
        meter.payload(body)
        meter.finish()
        assert meter.usage is None


# A backend that compresses though nobody asked.


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("size", [1, 10, 1 << 20])
def test_a_compressed_answer_is_read_from_a_copy(compress: object, size: int) -> None:
    assert callable(compress)
    body = compress(CHAT)
    meter = Meter("chat.completions", inflate=True)
    for at in range(0, len(body), size):
        meter.payload(body[at : at + size])
    meter.finish()
    assert meter.usage == TOKENS


@pytest.mark.parametrize("body", [CHAT, b"\x1f\x8b garbage", gzip.compress(CHAT)[:-20], gzip.compress(CHAT)[:12], b""])
def test_what_cannot_be_decoded_is_no_usage_and_no_error(body: bytes) -> None:
    meter = Meter("chat.completions", inflate=True)
    for _ in range(3):
        meter.payload(body)
    meter.finish()
    assert meter.usage in (None, TOKENS)


def test_a_bomb_is_decoded_only_so_far() -> None:
    bomb = zlib.compress(b" " * (64 << 20))
    meter = Meter("chat.completions", inflate=True)
    for at in range(0, len(bomb), 4_096):
        meter.payload(bomb[at : at + 4_096])
        assert meter._inflated <= 8 << 20
    meter.finish()
    assert meter.usage is None
