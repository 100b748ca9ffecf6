"""What the relay finds in passing is what decoding every event would find."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.metering.event import delta_text, has_usage
from proxy.metering.usage import is_usage_only

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def padded(value: Any) -> str:
    return json.dumps(value)


def wide(value: Any) -> str:
    return json.dumps(value, separators=(" ,\t", "\t: "))


def sse(*events: Any, form: Callable[[Any], str] = compact) -> bytearray:
    return bytearray("".join(f"data: {form(event)}\n\n" for event in events).encode())


def chat(*deltas: dict[str, Any], **members: Any) -> dict[str, Any]:
    choices = [
        {"content_filter_results": {"hate": {"filtered": False}}, "delta": delta, "finish_reason": None, "index": index}
        for index, delta in enumerate(deltas)
    ]
    return {"choices": choices, "id": "chatcmpl-1", "object": "chat.completion.chunk", **members}


def call(arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}


def response(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": kind, "item_id": "msg_1", "output_index": 0, **members, "sequence_number": 4}


def text_of(operation: str, buf: bytearray) -> str:
    raw = delta_text(operation, buf, 0, len(buf))
    assert type(raw) is bytes
    return str(json.loads(b'"' + raw + b'"'))


CASES: list[tuple[str, list[Any], str]] = [
    ("chat.completions", [chat({"content": " token"}, usage=None)], " token"),
    ("chat.completions", [chat({"content": "a"}), chat({"content": "b"}), chat({"content": "c"})], "abc"),
    ("chat.completions", [chat({"content": "a"}, {"content": "b"})], "ab"),
    ("chat.completions", [chat({"content": 'say "hi" \\'})], 'say "hi" \\'),
    ("chat.completions", [chat({"content": "\\"})], "\\"),
    ("chat.completions", [chat({"content": '"content":"no"'})], '"content":"no"'),
    ("chat.completions", [chat({"content": "é\u2028日"})], "é\u2028日"),
    ("chat.completions", [chat({"content": "", "refusal": None, "role": "assistant"})], ""),
    ("chat.completions", [chat({"role": "assistant", "content": "a"})], "a"),
    ("chat.completions", [chat({"content": "a", "refusal": "b"})], "ab"),
    ("chat.completions", [chat({"content": None, "refusal": "no"})], "no"),
    ("chat.completions", [chat(call('{"a":1}'))], '{"a":1}'),
    ("chat.completions", [chat({"content": "a"}), chat(call('{"a":'))], 'a{"a":'),
    ("chat.completions", [chat({"content": "a"}, call("b"))], "ab"),
    ("chat.completions", [chat({"content": "a"}), chat({})], "a"),
    ("chat.completions", [chat({}), chat({"content": "a"})], "a"),
    ("chat.completions", [chat({})], ""),
    ("chat.completions", [{"choices": [], "usage": USAGE}], ""),
    ("completions", [{"choices": [{"text": "a b", "index": 0}]}, {"choices": [{"text": "c"}]}], "a bc"),
    ("responses", [response("response.output_text.delta", delta="hi")], "hi"),
    ("responses", [response("response.function_call_arguments.delta", delta='{"x":')], '{"x":'),
    ("responses", [response("response.reasoning_summary_text.delta", delta="so")], "so"),
    ("responses", [response("response.output_text.delta", delta=c) for c in 'a"\\b'], 'a"\\b'),
    ("responses", [response("response.output_text.done", text="hi")], ""),
    ("responses", [{"type": "response.completed", "response": {"output": [{"text": "hi"}], "usage": {}}}], ""),
    ("audio.transcriptions", [{"type": "transcript.text.delta", "delta": "hi"}], "hi"),
    ("embeddings", [{"content": "hi", "delta": "hi", "text": "hi"}], ""),
]


@pytest.mark.parametrize("form", [compact, padded, wide])
@pytest.mark.parametrize(("operation", "events", "expected"), CASES)
def test_the_text_of_deltas(operation: str, events: list[Any], expected: str, form: Callable[[Any], str]) -> None:
    assert text_of(operation, sse(*events, form=form)) == expected


def test_the_text_is_as_it_was_sent_still_escaped() -> None:
    buf = sse(chat({"content": 'é\n"'}))
    assert delta_text("chat.completions", buf, 0, len(buf)) == rb"\u00e9\n\""


def test_only_the_range_is_read() -> None:
    first, second, third = sse(chat({"content": "a"})), sse(chat({"content": "b"})), sse(chat({"content": "c"}))
    buf = first + second + third
    start, end = len(first), len(first) + len(second)
    assert delta_text("chat.completions", buf, start, end) == b"b"
    usage = sse({"usage": USAGE})
    buf = usage + first + usage
    assert has_usage(buf, len(usage), len(usage) + len(first)) == -1


@given(st.lists(st.text(), min_size=1, max_size=5), st.sampled_from([compact, padded, wide]))
def test_any_text_comes_out_as_it_went_in(texts: list[str], form: Callable[[Any], str]) -> None:
    events = [chat({"content": text}) for text in texts]
    assert text_of("chat.completions", sse(*events, form=form)) == "".join(texts)
    deltas = [response("response.output_text.delta", delta=text) for text in texts]
    assert text_of("responses", sse(*deltas, form=form)) == "".join(texts)


@given(st.text(), st.sampled_from([compact, padded]))
def test_an_event_cut_anywhere_gives_what_there_is_of_it(text: str, form: Callable[[Any], str]) -> None:
    buf = sse(chat({"content": text}), form=form)
    whole = delta_text("chat.completions", buf, 0, len(buf))
    for end in range(len(buf)):
        assert whole.startswith(delta_text("chat.completions", buf, 0, end))
        has_usage(buf, 0, end)


@given(st.binary(max_size=80).map(bytearray), st.sampled_from(["chat.completions", "completions", "responses"]))
def test_bytes_of_any_kind_do_no_harm(buf: bytearray, operation: str) -> None:
    delta_text(operation, buf, 0, len(buf))
    has_usage(buf, 0, len(buf))
    is_usage_only(buf)


@pytest.mark.parametrize("form", [compact, padded, wide])
@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([chat({"content": "a"}, usage=None)], False),
        ([chat({"content": "a"})], False),
        ([{"choices": [], "usage": USAGE}], True),
        ([chat({"content": "a"}, usage=None), {"choices": [], "usage": USAGE}], True),
        ([{"choices": [], "usage": USAGE}, chat({}, usage=None)], True),
        ([chat({"content": "usage"})], False),
        ([chat({"content": '"usage":{"prompt_tokens":1}'})], False),
        ([chat({"content": '"usage'})], False),
        ([{"type": "response.completed", "response": {"usage": USAGE}}], True),
    ],
)
def test_whether_a_range_has_usage(events: list[Any], found: bool, form: Callable[[Any], str]) -> None:
    buf = sse(*events, form=form)
    at = has_usage(buf, 0, len(buf))
    assert (at >= 0) == found
    if found:
        assert json.JSONDecoder().raw_decode(buf[at:].decode())[0] == USAGE


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (compact({"choices": [], "usage": USAGE}), True),
        (padded({"id": "x", "choices": [], "usage": USAGE}), True),
        (compact({"choices": [], "usage": None, "prompt_filter_results": []}), False),
        (compact({"choices": [{"delta": {}}], "usage": USAGE}), False),
        (compact({"choices": []}), False),
        (compact({"usage": USAGE}), False),
        (compact({"choices": None, "usage": USAGE}), False),
        (compact({"choices": [], "usage": []}), False),
        ("[DONE]", False),
        ("", False),
        ("[" * 10_000, False),
    ],
)
def test_the_event_that_only_brings_usage(data: str, expected: bool) -> None:
    assert is_usage_only(data.encode()) is expected
