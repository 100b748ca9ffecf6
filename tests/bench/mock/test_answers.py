"""Answers are pure, consistent with themselves, and of Azure's shape."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.mock import answers
from bench.mock.answers import Body

BODIES = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=50)}), max_size=3
        )
    },
    optional={
        "max_tokens": st.integers(0, 40),
        "max_completion_tokens": st.integers(0, 40),
        "n": st.integers(1, 3),
        "seed": st.integers(0, 1 << 31),
        "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
    },
)


def parsed(events: list[bytes]) -> list[Any]:
    found = []
    for event in events:
        assert event.startswith(b"data: ")
        assert event.endswith(b"\n\n")
        assert event.count(b"\n") == 2
        found.append(None if event == answers.DONE else json.loads(event[6:]))
    return found


@given(BODIES)
def test_a_streamed_chat_says_what_the_whole_one_says(body: Body) -> None:
    events = answers.chat_stream(body, "d")
    assert events == answers.chat_stream(json.loads(json.dumps(body)), "d")
    *chunks, done = parsed(events)
    assert done is None
    whole = json.loads(answers.chat_answer(body, "d"))
    said = [""] * answers.choices(body)
    for chunk in chunks:
        for choice in chunk["choices"]:
            said[choice["index"]] += choice["delta"].get("content") or ""
    assert said == [choice["message"]["content"] for choice in whole["choices"]]
    assert {chunk["id"] for chunk in chunks[1:]} == {whole["id"]}
    assert chunks[0]["choices"] == []
    assert (chunks[0]["id"], chunks[0]["model"]) == ("", "")
    assert chunks[0]["prompt_filter_results"]
    if answers.wants_usage(body):
        assert [chunk["usage"] for chunk in chunks[1:-1]] == [None] * (len(chunks) - 2)
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"] == whole["usage"]
    else:
        assert all("usage" not in chunk for chunk in chunks)


@given(BODIES)
def test_usage_adds_up(body: Body) -> None:
    usage = json.loads(answers.chat_answer(body, "d"))["usage"]
    events = [event for event in answers.chat_stream(body, "d") if b'"delta":{"content":"' in event]
    opening = answers.choices(body)
    assert usage["completion_tokens"] == len(events) - opening == answers.completion_tokens(body) * opening
    assert usage["prompt_tokens"] == max(1, len(answers.dump(body["messages"] or "")) // 4)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"max_completion_tokens": 3, "max_tokens": 4}, 3),
        ({"max_tokens": 4}, 4),
        ({"max_output_tokens": 5}, 5),
        ({"max_tokens": "4"}, 9),
        ({"max_tokens": -1}, 0),
        ({"max_tokens": 10**9}, answers.AT_MOST),
        ({}, 9),
    ],
)
def test_how_many_tokens(body: Body, count: int) -> None:
    assert answers.completion_tokens(body, default=9) == count


@given(st.integers(0, 1000))
def test_text_is_its_words(count: int) -> None:
    assert answers.text(count) == "".join(map(answers.word, range(count)))


def test_content_events_have_azures_size() -> None:
    events = [event for event in answers.chat_stream({"max_tokens": 8}, "gpt-4o") if b"content_filter" in event]
    assert all(400 <= len(event) <= 480 for event in events[2:-1])
    assert any(not event.isascii() for event in events), "there is UTF-8 to split"


def test_events_that_are_equal_are_one_object() -> None:
    assert len({id(event) for event in answers.chat_stream({"max_tokens": 1000}, "d")}) < 20


@given(BODIES)
def test_responses_are_numbered_named_and_without_done(body: Body) -> None:
    events = answers.responses_stream(body, "d")
    for number, event in enumerate(events):
        name, data = event.removesuffix(b"\n\n").split(b"\n")
        value = json.loads(data.removeprefix(b"data: "))
        assert name.decode() == f"event: {value['type']}"
        assert value["sequence_number"] == number
    last = json.loads(events[-1].split(b"data: ")[1])["response"]
    assert last == json.loads(answers.responses_answer(body, "d"))
    assert last["usage"]["output_tokens"] == answers.completion_tokens(body)


@given(BODIES)
def test_completions_streamed_and_whole(body: Body) -> None:
    *chunks, done = parsed(answers.completions_stream(body, "d"))
    assert done is None
    said = [""] * answers.choices(body)
    for chunk in chunks:
        for choice in chunk["choices"]:
            said[choice["index"]] += choice["text"]
    whole = json.loads(answers.completions_answer(body, "d"))
    assert said == [choice["text"] for choice in whole["choices"]]


@pytest.mark.parametrize(("given", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2]], 2), (None, 1)])
def test_an_embedding_for_each_input(given: Any, count: int) -> None:
    answer = json.loads(answers.embeddings_answer({"input": given}, "d"))
    assert [one["index"] for one in answer["data"]] == list(range(count))
    assert "completion_tokens" not in answer["usage"]


@pytest.mark.parametrize(
    "choice",
    [None, "auto", "none", {"function": None}, {"type": "allowed_tools"}, {"function": {"name": "f"}}, "required"],
)
@pytest.mark.parametrize("tools", [None, [], ["odd"], [{"function": {"name": "f"}}]])
def test_tools_of_every_shape_are_survived(tools: Any, choice: Any) -> None:
    body = {"tools": tools, "tool_choice": choice, "max_tokens": 2}
    whole = json.loads(answers.chat_answer(body, "d"))["choices"][0]
    assert (whole["finish_reason"] == "tool_calls") == ("tool_calls" in whole["message"])
    parsed(answers.chat_stream(body, "d"))
