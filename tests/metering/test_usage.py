"""The backend's own numbers: found wherever they are, believed only where they can be true, never an exception."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.usage import METERED, MOST, UsageTail, usage_of, usage_of_event
from proxy.record.record import Tokens

CHAT = {
    "prompt_tokens": 30,
    "completion_tokens": 300,
    "total_tokens": 330,
    "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 128, "accepted_prediction_tokens": 0},
}
RESPONSES = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 128},
    "total_tokens": 330,
}
FULL = Tokens(prompt=30, completion=300, total=330, cached=10, reasoning=128)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("usage"), inner, max_size=4)
    ),
    max_leaves=12,
)


def answer(usage: Any, **members: Any) -> bytes:
    return json.dumps({"id": "x", **members, "usage": usage, "object": "y"}).encode()


@pytest.mark.parametrize(
    ("operation", "body", "expected"),
    [
        ("chat.completions", answer(CHAT, choices=[{"message": {"content": "hi"}}]), FULL),
        ("completions", answer(CHAT, choices=[{"text": "hi"}]), FULL),
        ("responses", answer(RESPONSES, output=[]), FULL),
        ("embeddings", answer({"prompt_tokens": 8, "total_tokens": 8}), Tokens(prompt=8, total=8)),
        (
            "images.generations",
            answer(
                {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12, "input_tokens_details": {"text_tokens": 5}}
            ),
            Tokens(prompt=5, completion=7, total=12),
        ),
        (
            "audio.transcriptions",
            answer({"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}, text="hi"),
            Tokens(prompt=14, completion=45, total=59),
        ),
        ("audio.transcriptions", answer({"type": "duration", "seconds": 3}, text="hi"), None),
        ("audio.speech", answer(CHAT), None),
        ("models", answer(CHAT), None),
        ("chat.completions", b'{"error":{"code":"429","message":"slow down"}}', None),
        ("chat.completions", b"", None),
        ("chat.completions", b"[DONE]", None),
        ("chat.completions", b"[1]", None),
        ("chat.completions", b"\xff\xfe", None),
        ("chat.completions", b"[" * 100_000, None),
        ("chat.completions", answer(None), None),
    ],
)
def test_the_usage_of_an_answer(operation: str, body: bytes, expected: Tokens | None) -> None:
    assert usage_of(operation, body) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, Tokens(3, 4, 7)),
        ({"prompt_tokens": 3, "total_tokens": 7}, Tokens(3, 4, 7)),
        ({"completion_tokens": 4, "total_tokens": 7}, Tokens(3, 4, 7)),
        ({"total_tokens": 7}, Tokens(7, 0, 7)),
        ({"completion_tokens": 9, "total_tokens": 7}, Tokens(0, 9, 7)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Tokens()),
        ({"prompt_tokens": -3, "completion_tokens": 4}, Tokens(0, 4, 4)),
        ({"prompt_tokens": MOST + 1, "completion_tokens": 4}, Tokens(0, 4, 4)),
        ({"prompt_tokens": MOST, "completion_tokens": 4}, Tokens(MOST, 4, MOST + 4)),
        ({"prompt_tokens": 10**400, "completion_tokens": 4}, Tokens(0, 4, 4)),
        ({"prompt_tokens": "3", "completion_tokens": 4}, Tokens(0, 4, 4)),
        ({"prompt_tokens": True, "completion_tokens": 4}, Tokens(0, 4, 4)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": 5}, Tokens(3, 4, 7)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": None}, Tokens(3, 4, 7)),
        (
            {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": "9"}},
            Tokens(3, 4, 7),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 9}},
            Tokens(3, 4, 7, cached=3),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 9}},
            Tokens(3, 4, 7, reasoning=4),
        ),
        ({"prompt_tokens": -1, "completion_tokens": -1}, None),
        ({}, None),
        ([], None),
        ("", None),
        (7, None),
    ],
)
def test_what_is_missing_is_derived_and_what_is_absurd_is_not_believed(usage: Any, expected: Tokens | None) -> None:
    assert usage_of("chat.completions", answer(usage)) == expected


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_the_final_events_of_responses_have_usage(kind: str) -> None:
    event = json.dumps({"type": kind, "response": {"id": "r", "output": [], "usage": RESPONSES}}).encode()
    assert usage_of_event("responses", event) == FULL


@pytest.mark.parametrize(
    ("operation", "data", "expected"),
    [
        ("chat.completions", answer(CHAT, choices=[]), FULL),
        ("chat.completions", answer(None, choices=[{}]), None),
        ("completions", answer(CHAT, choices=[]), FULL),
        ("chat.completions", b"[DONE]", None),
        ("responses", json.dumps({"type": "response.created", "response": {"usage": RESPONSES}}).encode(), None),
        ("responses", json.dumps({"type": "response.completed", "response": {"usage": None}}).encode(), None),
        ("responses", json.dumps({"type": "response.completed", "response": 3}).encode(), None),
        ("responses", json.dumps({"type": "response.completed", "usage": RESPONSES}).encode(), None),
        ("responses", json.dumps({"type": ["response.completed"], "response": {"usage": RESPONSES}}).encode(), None),
        (
            "responses",
            json.dumps(
                {"type": "response.completed", "response": {"usage": {**RESPONSES, "x": 1}, "output": 1}}
            ).encode(),
            FULL,
        ),
        (
            "responses",
            json.dumps(
                {"type": "response.completed", "response": {"usage": {**RESPONSES, "input_tokens_details": []}}}
            ).encode(),
            Tokens(30, 300, 330, 0, 128),
        ),
        ("responses", b"{", None),
        (
            "audio.transcriptions",
            answer({"input_tokens": 2, "output_tokens": 3}, type="transcript.text.done"),
            Tokens(2, 3, 5),
        ),
    ],
)
def test_the_usage_of_an_event(operation: str, data: bytes, expected: Tokens | None) -> None:
    assert usage_of_event(operation, data) == expected


@given(st.sampled_from(sorted(METERED)), st.binary() | json_values.map(lambda v: answer(v)))
def test_nothing_that_a_backend_sends_raises(operation: str, body: bytes) -> None:
    for tokens in (usage_of(operation, body), usage_of_event(operation, body)):
        if tokens is not None:
            assert 0 <= tokens.cached <= tokens.prompt <= MOST
            assert 0 <= tokens.reasoning <= tokens.completion <= MOST
            assert tokens.total >= 0
            assert not tokens.estimated


# --- answers too large to keep -------------------------------------------------------------------------------------


class SmallTail(UsageTail):
    """The same with ends so short that small documents are longer."""

    HEAD = 160
    TAIL = 400


def tail_of(body: bytes, *cuts: int, kind: type[UsageTail] = UsageTail, operation: str = "responses") -> Tokens | None:
    tail = kind()
    at = 0
    for cut in sorted(cuts):
        tail.feed(memoryview(body)[at:cut])
        at = cut
    tail.feed(body[at:])
    return tail.usage(operation)


LARGE = [{"index": n, "embedding": [0.125, -0.5] * 20} for n in range(600)]
USAGE = json.dumps(RESPONSES)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (json.dumps({"data": LARGE, "usage": RESPONSES}), FULL),
        (json.dumps({"data": LARGE, "usage": RESPONSES}, indent=2) + "\n", FULL),
        (json.dumps({"usage": RESPONSES, "data": LARGE}), FULL),
        (json.dumps({"model": "m", "usage": RESPONSES, "data": LARGE}, indent=1), FULL),
        (
            json.dumps({"data": LARGE, "usage": RESPONSES, "tools": [{"parameters": {"usage": {"input_tokens": 1}}}]}),
            FULL,
        ),
        (json.dumps({"data": LARGE, "tools": [{"usage": {"input_tokens": 1}}]}), None),
        (json.dumps({"tools": [{"usage": {"input_tokens": 1}}], "data": LARGE}), None),
        (json.dumps({"tools": [{"usage": {"input_tokens": 1}}], "usage": RESPONSES, "data": LARGE}), FULL),
        (json.dumps({"data": LARGE, "text": f'{{"usage": {USAGE}}}'}), None),
        (json.dumps({"text": f'{{"usage": {USAGE}}}', "data": LARGE}), None),
        (json.dumps({"data": LARGE, 'a"usage': RESPONSES}), None),
        (json.dumps({"data": LARGE, 'a,"usage': RESPONSES}), None),
        (json.dumps({"data": LARGE, "a\\": "usage", "b": RESPONSES}), None),
        (json.dumps({"data": LARGE, "a": "usage"}), None),
        (json.dumps({"data": LARGE, "usage": None}), None),
        (json.dumps({"data": LARGE, "usage": {"type": "duration"}}), None),
        (json.dumps({"data": LARGE, "usage": RESPONSES})[:-1], None),
        (json.dumps([*LARGE, {"usage": RESPONSES}]), None),
        (json.dumps({"data": LARGE, "usage": {"input_tokens": 1}})[:-1] + f', "usage": {USAGE}}}', FULL),
        (json.dumps({"a": LARGE, "usage": RESPONSES, "b": LARGE}), None),  # between the ends: not found, not invented
        ("x" * 100_000, None),
    ],
)
def test_usage_is_found_at_either_end_of_a_large_answer(body: str, expected: Tokens | None) -> None:
    raw = body.encode()
    assert len(raw) > UsageTail.TAIL
    assert tail_of(raw) == expected
    assert tail_of(raw, *range(0, len(raw), 16 << 10)) == expected


def test_a_small_answer_is_read_whole() -> None:
    assert tail_of(answer(RESPONSES)) == FULL
    assert tail_of(b"") is None
    assert tail_of(answer(RESPONSES), operation="audio.speech") is None


@pytest.mark.parametrize("order", [("data", "usage"), ("usage", "data")])
def test_a_large_answer_may_come_in_two_at_any_byte(order: tuple[str, str]) -> None:
    members = {"data": LARGE[:6], "usage": {"input_tokens": 3, "output_tokens": 4}}
    body = json.dumps({key: members[key] for key in order}).encode()
    assert len(body) > SmallTail.TAIL
    for cut in range(len(body) + 1):
        assert tail_of(body, cut, kind=SmallTail) == Tokens(3, 4, 7)


@given(st.lists(st.binary(max_size=700), max_size=30))
def test_no_more_is_kept_than_the_two_ends(chunks: list[bytes]) -> None:
    tail = SmallTail()
    for chunk in chunks:
        tail.feed(chunk)
    whole = b"".join(chunks)
    assert tail._head == whole[: SmallTail.HEAD]
    assert tail._tail == whole[-SmallTail.TAIL :]


@given(
    st.dictionaries(st.text(max_size=6) | st.sampled_from(['"usage', "usage ", '\\"usage']), json_values, max_size=5),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_what_is_found_is_what_decoding_all_of_it_finds(
    members: dict[str, Any], place: int, with_usage: bool, indent: int | None
) -> None:
    items = [(key, value) for key, value in members.items() if key != "usage"]
    if with_usage:
        items.insert(place, ("usage", {"input_tokens": 3, "output_tokens": 4}))
    body = json.dumps({**dict(items), "pad": "x" * SmallTail.TAIL}, indent=indent).encode()
    behind = json.dumps({"pad": "x" * SmallTail.TAIL, **dict(items)}, indent=indent).encode()
    for document in (body, behind):
        assert tail_of(document, kind=SmallTail) in (usage_of("responses", document), None)
        if not with_usage:
            assert tail_of(document, kind=SmallTail) is None


@given(st.text(max_size=200), st.text(max_size=200))
def test_text_is_never_taken_for_usage(before: str, after: str) -> None:
    fake = f'{before}"usage": {USAGE}{after}'
    body = json.dumps({"id": fake, "pad": "x" * UsageTail.TAIL, "text": fake}, ensure_ascii=False).encode(
        "utf-8", "replace"
    )
    assert tail_of(body) is None
